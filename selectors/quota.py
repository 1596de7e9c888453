"""Quality and diversity: correct samples in turns over modes, on the levels that the user names."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.samples import expand
from driftloop.generators.spec import Spec
from driftloop.selectors.policy import verdict
from driftloop.selectors.verify import failure, passes

Level = Literal["prompt", "strategy", "mode"]


@final
class Quota(Spec):
    """Keep correct samples round-robin over the groups of each level, outermost first.

    `levels: [mode]` is the flat quota; `[prompt, strategy, mode]` is the hierarchical one: every prompt gets its
    turn, within it every strategy, within that every mode. A quota on a fine level alone can empty a coarse one.
    `verified: false` takes wrong samples as well (diversity without a verifier).
    """

    kind: Literal["quota"] = "quota"
    levels: tuple[Level, ...] = Field(("mode",), min_length=1)
    verified: bool = True
    threshold: float = Field(1.0, ge=0, le=1)

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """See `Policy.select`."""
        allowed = passes(pool, self.threshold) if self.verified else pool["valid"].to_numpy()
        rows = expand(pool)
        rows = rows[allowed[rows]]
        best = rows[turns(pool[rows].select(self.levels), seed=seed) < budget]
        return verdict(
            pool,
            np.bincount(best, minlength=pool.height),
            failure(self.threshold if self.verified else 0, "quota"),
        )


def turns(groups: pl.DataFrame, *, seed: int) -> np.ndarray:
    """Each copy's place in the round-robin order over nested groups, shape (copies,); ties are broken at random.

    Args:
        groups: one row per copy, one column per level, outermost first.
        seed: of the tie-breaks.
    """
    names = groups.columns
    luck = np.random.default_rng(seed).permutation(groups.height)
    place = groups.with_columns(
        pl.Series("_turn", np.zeros(groups.height, np.int64)), pl.Series("_luck", luck)
    )
    for depth in range(len(names), -1, -1):
        order = pl.struct("_turn", "_luck").rank("ordinal").cast(pl.Int64) - 1
        place = place.with_columns(
            order.over(names[:depth]).alias("_turn") if depth else order.alias("_turn")
        )
    return place["_turn"].to_numpy()
