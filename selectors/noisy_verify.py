"""Outcome-only selection by a verifier that errs."""

from __future__ import annotations

from typing import Literal, final

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.spec import Spec
from driftloop.selectors.policy import verdict
from driftloop.selectors.uniform import draw
from driftloop.selectors.verify import passes


@final
class NoisyVerify(Spec):
    """Pass right samples at rate phi and wrong ones at rate psi, then keep passing ones at random up to the budget.

    Every copy is judged anew, by itself. What does not parse never passes. phi=1, psi=0 is `verify`.
    "Beyond Model Collapse" (arXiv 2406.07515): one round helps where the wrong share is below 1 / (1 + psi/phi).
    """

    kind: Literal["noisy_verify"] = "noisy_verify"
    phi: float = Field(0.9, ge=0, le=1, description="rate at which right samples pass")
    psi: float = Field(0.3, ge=0, le=1, description="rate at which wrong samples pass")
    threshold: float = Field(1.0, ge=0, le=1, description="quality from which a sample is right")

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """See `Policy.select`."""
        judging, choosing = np.random.default_rng(seed).spawn(2)
        rate = np.where(passes(pool, self.threshold), self.phi, self.psi) * pool["valid"].to_numpy()
        passing = judging.binomial(pool["count"].to_numpy().astype(np.int64), rate)
        kept = draw(passing, budget, seed=int(choosing.integers(2**63)))
        over = pl.Series(passing > kept)
        why = pl.when(~pl.col("valid")).then(pl.lit("invalid")).when(over).then(pl.lit("budget"))
        return verdict(pool, kept, why.otherwise(pl.lit("rejected")))
