"""Outcome-only selection: correct samples at random, wrong ones never."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.spec import Spec
from driftloop.selectors.policy import verdict
from driftloop.selectors.uniform import draw


@final
class Verify(Spec):
    """Keep samples whose quality reaches `threshold`, at random among equals (STaR, rejection sampling)."""

    kind: Literal["verify"] = "verify"
    threshold: float = Field(1.0, ge=0, le=1)

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """See `Policy.select`."""
        passing = np.where(passes(pool, self.threshold), pool["count"].to_numpy(), 0)
        return verdict(pool, draw(passing, budget, seed=seed), failure(self.threshold, "budget"))


def passes(pool: pl.DataFrame, threshold: float) -> np.ndarray:
    """Which rows are valid and reach the quality threshold, shape (rows,) bool."""
    return (pool["valid"] & (pool["quality"] >= threshold)).to_numpy()


def failure(threshold: float, otherwise: str) -> pl.Expr:
    """Why a copy was dropped: invalid, incorrect, or else `otherwise`."""
    return (
        pl.when(~pl.col("valid"))
        .then(pl.lit("invalid"))
        .when(pl.col("quality") < threshold)
        .then(pl.lit("incorrect"))
        .otherwise(pl.lit(otherwise))
    )
