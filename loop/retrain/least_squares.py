"""Retrainer `least_squares`: linear regression on the labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from driftloop.generators.spec import Spec
from driftloop.loop.retrain.contract import weights_of

if TYPE_CHECKING:
    from driftloop.generators.models.linear import LinearGenerator


class LeastSquares(Spec):
    """The next weights are ordinary (weighted) least squares on the data alone."""

    kind: Literal["least_squares"] = "least_squares"

    def fit(
        self, generator: LinearGenerator, data: pl.DataFrame, *, seed: int
    ) -> tuple[LinearGenerator, dict[str, float]]:
        """New weights from column `value`; `seed` changes nothing.

        Raises:
            ValueError: no weight in the data, or fewer different inputs than dimensions.
        """
        from driftloop.generators.models.linear import LinearGenerator

        weight, row = weights_of(data).to_numpy(), generator.find(data)
        inputs, dimensions = generator.design.shape
        total = np.bincount(
            row, weight, inputs
        )  # labels of one input count as their mean, as often as they are
        label = np.bincount(row, weight * data["value"].to_numpy(), inputs)[total > 0] / total[total > 0]
        root = np.sqrt(total[total > 0])
        weights, _, rank, _ = np.linalg.lstsq(
            generator.design[total > 0] * root[:, None], label * root, rcond=None
        )
        if rank < dimensions:
            raise ValueError(
                f"retrain: least_squares has {len(root)} inputs for {dimensions} weights; keep more, or lower dimensions"
            )
        fitted = LinearGenerator(generator.design, weights, generator.noise)
        report = {"tokens_trained": float(data["count"].sum()), "optimizer_steps": 0.0}
        return fitted, report | {"final_loss": -float(np.average(fitted.logprob(data), weights=weight))}
