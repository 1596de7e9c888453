"""`evaluate.load("<this folder>")`: how rarely words and pairs of words come back, and how well the texts compress."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from driftloop.evals import strings

NAMES = ("distinct1", "distinct2", "distinct3", "ead2", "compression_ratio")


class Lexical(evaluate.Metric):  # type: ignore[misc]
    """How rarely words and pairs of words come back, and how well the texts compress."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How rarely words and pairs of words come back, and how well the texts compress.",
            citation="arXiv 2202.13587, arXiv 2403.00553",
            inputs_description=strings.of_texts.__doc__,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: list[str], **settings: Any) -> dict[str, float]:
        return strings.of_texts(predictions, NAMES, **settings)
