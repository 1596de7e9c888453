"""Mass concentration: how much of everything the most frequent modes own, at equal sample size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl

from driftloop.evals.abundance import abundances, mode_draws
from driftloop.evals.estimate import Context, Estimate, Measure


def top_share(counts: np.ndarray, modes: int) -> float:
    """Share of the copies that the most frequent `modes` modes own."""
    ordered = np.sort(counts)
    return float(ordered[-modes:].sum() / ordered.sum())


def _top(modes_of: Callable[[np.ndarray], int]) -> Callable[[pl.DataFrame, Context], Estimate]:
    def compute(samples: pl.DataFrame, context: Context) -> Estimate:
        counts = abundances(samples)
        if not len(counts):
            return Estimate.missing()
        share, total = (
            float(np.mean([top_share(d, modes_of(d)) for d in mode_draws(samples, context)])),
            float(counts.sum()),
        )
        return Estimate.normal(share, math.sqrt(share * (1 - share) / total), min(context.n, int(total)))

    return compute


MEASURES: tuple[Measure, ...] = (
    Measure(
        "concentration/top1_share",
        "diversity",
        "share",
        "down",
        "How much does the most common answer own?",
        _top(lambda d: 1),
    ),
    Measure(
        "concentration/top10_share",
        "diversity",
        "share",
        "down",
        "How much do the ten most common answers own?",
        _top(lambda d: 10),
    ),
    Measure(
        "concentration/top1pct_share",
        "diversity",
        "share",
        "down",
        "How much does the most common hundredth of the answers own?",
        _top(lambda d: max(1, math.ceil(len(d) / 100))),
    ),
)
