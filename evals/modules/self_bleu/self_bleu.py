"""`evaluate.load("<this folder>")`: how well the other texts predict each text: exact self-BLEU."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from driftloop.evals import strings

NAMES = ("self_bleu",)


class SelfBleu(evaluate.Metric):  # type: ignore[misc]
    """How well the other texts predict each text: exact self-BLEU."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How well the other texts predict each text: exact self-BLEU.",
            citation="arXiv 1802.01886",
            inputs_description=strings.of_texts.__doc__,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: list[str], **settings: Any) -> dict[str, float]:
        return strings.of_texts(predictions, NAMES, **settings)
