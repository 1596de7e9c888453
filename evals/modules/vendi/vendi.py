"""`evaluate.load("<this folder>")`: how many texts effectively, if similar ones count as partly the same."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from driftloop.evals import strings

NAMES = ("vendi1", "vendi2")


class Vendi(evaluate.Metric):  # type: ignore[misc]
    """How many texts effectively, if similar ones count as partly the same."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How many texts effectively, if similar ones count as partly the same.",
            citation="arXiv 2210.02410, arXiv 2310.12952",
            inputs_description=strings.of_texts.__doc__,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: list[str], **settings: Any) -> dict[str, float]:
        return strings.of_texts(predictions, NAMES, **settings)
