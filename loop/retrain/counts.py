"""Retrainer `counts`: maximum likelihood of a table, which is the data's own frequencies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.spec import Spec
from driftloop.loop.retrain.contract import weights_of

if TYPE_CHECKING:
    from driftloop.generators.models.categorical import TabularGenerator


class Counts(Spec):
    """The next table is the weighted counts; prompts that the data does not mention keep what they had.

    With resampling alone this is the Wright-Fisher model: heterozygosity falls by 1 - 1/n a generation.
    """

    kind: Literal["counts"] = "counts"
    smoothing: float = Field(
        0.0, ge=0, description="added to the count of every string of a mentioned prompt"
    )

    def fit(
        self, generator: TabularGenerator, data: pl.DataFrame, *, seed: int
    ) -> tuple[TabularGenerator, dict[str, float]]:
        """A new table; `seed` changes nothing.

        Raises:
            ValueError: no weight in the data, or a string that the table does not know.
        """
        from driftloop.generators.models.categorical import TabularGenerator

        weight = weights_of(data).to_numpy()
        row = generator.strings.find(data)
        if (row < 0).any():
            odd = data.select("prompt", "response").row(int(np.argmin(row)))
            raise ValueError(
                f"retrain: counts met {odd}, which is no string of the world; select valid samples only"
            )
        weights = generator.weights.copy()
        for prompt in set(data["prompt"].to_list()):
            weights[generator.strings.rows[prompt]] = self.smoothing
        np.add.at(weights, row, weight)
        fitted = TabularGenerator(generator.strings, weights)
        report = {"tokens_trained": float(data["count"].sum()), "optimizer_steps": 0.0}
        return fitted, report | {"final_loss": -float(np.average(fitted.logs[row], weights=weight))}
