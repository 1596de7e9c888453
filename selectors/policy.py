"""The noun that selectors bring: a policy says how many copies of each sample are kept, and why the others are not."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import polars as pl


class Policy(Protocol):
    """A frozen `Spec` with a `kind`."""

    @property
    def kind(self) -> str:
        """Its name in a configuration."""
        ...

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """Add kept (u64), reason (str), weight (f64) to a scored pool.

        Args:
            pool: scored samples (`driftloop.generators.samples.SCORED`), multiplicities in `count`.
            budget: most copies that may be kept; fewer are kept only where fewer qualify.
            history: what earlier generations chose, oldest first.
            seed: of the policy's own stream.
        """
        ...


def verdict(pool: pl.DataFrame, kept: np.ndarray, reason: pl.Expr | str) -> pl.DataFrame:
    """The pool with the three columns of selection; `reason` holds for rows of which any copy was dropped."""
    why = pl.lit(reason) if isinstance(reason, str) else reason
    copies = pl.Series("kept", kept.astype(np.uint64))
    return pool.with_columns(
        copies,
        pl.when(pl.lit(copies) == pl.col("count")).then(pl.lit("kept")).otherwise(why).alias("reason"),
        pl.lit(1.0).alias("weight"),
    )
