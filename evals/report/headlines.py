"""The few numbers that verdicts and comparisons rest on: for each axis the first candidate that a run has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from driftloop.evals.report.glossary import Term, term
from driftloop.evals.report.records import Run

SUITES = ("accuracy_exact", "accuracy_greedy", "pass1", "nll_middle")
OWN_QUALITY = (
    ("model", "quality/correct_share"),
    ("model", "quality/mean"),
    ("model", "quality/valid_share"),
)
ALL_RIGHT = 0.99  # share of real data that an exact verifier calls right
DIVERSITY = (
    ("test", "diversity/hill1_per_prompt"),
    ("test", "diversity/exact_hill1"),
    ("model", "diversity/hill1"),
    ("model", "diversity/vendi1"),
    ("model", "diversity/distinct2"),
)
COMPLEXITY = (
    ("model", "complexity/structural_mean"),
    ("model", "complexity/description_bytes"),
    ("model", "complexity/tokens_mean"),
)


@dataclass(frozen=True)
class Headline:
    """One metric at one stage, and the scale on which changes of it are judged."""

    stage: str
    metric: str
    unit: str
    scale: Literal[
        "difference", "ratio"
    ]  # counts (Hill numbers) change by factors, shares and nats by differences

    @property
    def term(self) -> Term:
        """Its plain words."""
        return term(self.metric)

    @property
    def title(self) -> str:
        """Its plain name."""
        return self.term.title(self.metric)

    @property
    def axis(self) -> str:
        """`id`, `ood`, `quality`, `diversity` or `complexity`."""
        return self.metric.split("/")[0]

    @property
    def split(self) -> str:
        """The OOD axis (`targets` of `ood/targets/accuracy_exact`), or the axis itself."""
        return self.metric.removeprefix("ood/").rpartition("/")[0] if self.axis == "ood" else self.axis

    def judged(self, values: np.ndarray) -> np.ndarray:
        """Values on the scale on which they are compared; what has no logarithm is NaN."""
        if self.scale == "difference":
            return values
        return np.log(np.where(values > 0, values, np.nan))


def headlines(run: Run) -> tuple[Headline, ...]:
    """The headline metrics that a run has: ID, each OOD axis, own quality, diversity, complexity."""
    suites = [[("test", f"{split}/{name}") for name in SUITES] for split in ("id", *ood_splits(run))]
    found = [_first(run, tuple(options)) for options in [*suites, own_quality(run), DIVERSITY, COMPLEXITY]]
    return tuple(one for one in found if one is not None)


def own_quality(run: Run) -> tuple[tuple[str, str], ...]:
    """How samples are judged: the share that is right, or mean quality where it is a proxy (real data are not all right)."""
    real = run.metrics.filter((pl.col("stage") == "real") & (pl.col("metric") == "quality/correct_share"))[
        "value"
    ]
    return OWN_QUALITY[1:] if (real.to_numpy() < ALL_RIGHT).any() else OWN_QUALITY


def ood_splits(run: Run) -> tuple[str, ...]:
    """Named OOD axes in alphabetical order, as `ood/targets`."""
    metrics = run.metrics.filter(run.metrics["metric"].str.starts_with("ood/"))["metric"].unique().to_list()
    return tuple(sorted({metric.rpartition("/")[0] for metric in metrics}))


def _first(run: Run, options: tuple[tuple[str, str], ...]) -> Headline | None:
    for stage, metric in options:
        if run.has(stage, metric):
            unit = run.units[stage, metric]
            counts = metric.startswith("diversity/") and "distinct" not in metric
            return Headline(stage, metric, unit, "ratio" if counts else "difference")
    return None
