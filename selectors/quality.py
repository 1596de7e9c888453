"""Quality-only selection: correct first, then what the model is surest of."""

from __future__ import annotations

import math
from typing import Literal, final

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.samples import expand
from driftloop.generators.spec import Spec
from driftloop.selectors.policy import verdict
from driftloop.selectors.verify import failure, passes


@final
class Quality(Spec):
    """Keep the correct samples that score highest on strength·z + √(1 − strength²)·noise.

    z is the z-score, among the correct copies, of the model's own log-probability (`by: confidence`) or of the
    world's quality (`by: quality`, for worlds with a graded proxy). strength 0 is `verify`, 1 is pure ranking; the
    dial decides between slow drift and fixation.
    """

    kind: Literal["quality"] = "quality"
    strength: float = Field(0.5, ge=0, le=1)
    by: Literal["confidence", "quality"] = "confidence"
    threshold: float = Field(1.0, ge=0, le=1)

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """See `Policy.select`."""
        rows = expand(pool)
        rows = rows[passes(pool, self.threshold)[rows]]
        signal = pool["logprob" if self.by == "confidence" else "quality"].to_numpy()[rows]
        noise = np.random.default_rng(seed).standard_normal(len(rows))
        rank = self.strength * standardised(signal) + math.sqrt(1 - self.strength**2) * noise
        best = rows[np.argsort(-rank, kind="stable")[:budget]]
        return verdict(
            pool, np.bincount(best, minlength=pool.height), failure(self.threshold, "ranked_lower")
        )


def standardised(values: np.ndarray) -> np.ndarray:
    """(values − mean) / standard deviation, shape (n,); zeros where all values are equal."""
    if not len(values):
        return values
    spread = float(values.std())
    return (values - values.mean()) / spread if spread > 0 else np.zeros(len(values))
