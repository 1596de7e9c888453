"""Retrainer `moments`: the mean and variance of the numbers of each prompt."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from driftloop.generators.spec import Spec
from driftloop.loop.retrain.contract import weights_of

if TYPE_CHECKING:
    from driftloop.generators.models.gaussian import GaussianGenerator


class Moments(Spec):
    """The next normal distribution has the data's moments; prompts that the data does not mention keep theirs.

    The unbiased variance keeps its mean over loops, and yet nearly every loop's variance goes to 0.
    """

    kind: Literal["moments"] = "moments"
    unbiased: bool = True

    def fit(
        self, generator: GaussianGenerator, data: pl.DataFrame, *, seed: int
    ) -> tuple[GaussianGenerator, dict[str, float]]:
        """New moments from column `value`; `seed` changes nothing.

        Raises:
            ValueError: no weight in the data, or a prompt with weight for fewer than two numbers.
        """
        from driftloop.generators.models.gaussian import GaussianGenerator

        weight, row = weights_of(data).to_numpy(), generator.find(data["prompt"])
        value, prompts = data["value"].to_numpy(), len(generator.prompts)
        total = np.bincount(row, weight, prompts)
        seen = total > 0
        spare = total[seen] - self.unbiased
        if (spare <= 0).any():
            least = float(total[seen].min())
            raise ValueError(
                f"retrain: moments needs 2 numbers for a variance, a prompt has {least:g}; keep more"
            )
        mean, variance = generator.mean.copy(), generator.variance.copy()
        mean[seen] = np.bincount(row, weight * value, prompts)[seen] / total[seen]
        variance[seen] = np.bincount(row, weight * (value - mean[row]) ** 2, prompts)[seen] / spare
        fitted = GaussianGenerator(generator.prompts, mean, variance)
        report = {"tokens_trained": float(data["count"].sum()), "optimizer_steps": 0.0}
        return fitted, report | {"final_loss": -float(np.average(fitted.logprob(data), weights=weight))}
