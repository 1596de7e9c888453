"""Random selection: the control that every other policy is compared with."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import polars as pl

from driftloop.generators.spec import Spec
from driftloop.selectors.policy import verdict


@final
class Uniform(Spec):
    """Keep `budget` copies drawn without replacement, whatever their quality."""

    kind: Literal["uniform"] = "uniform"

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """See `Policy.select`."""
        return verdict(pool, draw(pool["count"].to_numpy(), budget, seed=seed), "budget")


def draw(counts: np.ndarray, budget: int, *, seed: int) -> np.ndarray:
    """How many copies of each row are among `budget` copies drawn without replacement, shape (rows,).

    Raises:
        ValueError: 10^9 copies or more, which numpy's hypergeometric sampler does not take.
    """
    total = int(counts.sum())
    if total <= budget:
        return counts
    if total >= 10**9:
        raise ValueError(
            f"cannot draw {budget} of {total} copies without replacement (limit 10^9); lower loop.pool"
        )
    rng = np.random.default_rng(seed)
    return rng.multivariate_hypergeometric(counts.astype(np.int64), budget, method="marginals")
