"""`evaluate.load("<this folder>")`: how many different texts effectively (Hill numbers), and how much was seen."""

from __future__ import annotations

from typing import Any

import datasets
import evaluate

from driftloop.evals import strings

NAMES = ("hill0", "hill1", "hill2", "hill1_chao_wang_jost", "good_turing_coverage")


class Hill(evaluate.Metric):  # type: ignore[misc]
    """How many different texts effectively (Hill numbers), and how much was seen."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="How many different texts effectively (Hill numbers), and how much was seen.",
            citation="Chao et al. 2014, Ecological Monographs 84",
            inputs_description=strings.of_texts.__doc__,
            features=datasets.Features({"predictions": datasets.Value("string")}),
        )

    def _compute(self, predictions: list[str], **settings: Any) -> dict[str, float]:
        return strings.of_texts(predictions, NAMES, **settings)
