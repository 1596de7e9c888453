"""Mass concentration: how much of everything the most frequent modes own, at equal sample size."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import polars as pl

from driftloop.evals.abundance import abundances, mode_draws
from driftloop.evals.estimate import Context, Estimate, Measure


def top_share(counts: np.ndarray, modes: float) -> float:
    """Share of the copies that the most frequent `modes` modes own; of the last one, the fraction that is asked for.

    Without fractions the hundredth part of 500 modes and of 501 would differ by a whole mode.
    """
    ordered = np.sort(counts)[::-1]
    whole = int(modes)
    rest = float(ordered[whole]) * (modes - whole) if whole < len(ordered) else 0.0
    return (float(ordered[:whole].sum()) + rest) / float(ordered.sum())


def _top(modes_of: Callable[[np.ndarray], float]) -> Callable[[pl.DataFrame, Context], Estimate]:
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
        _top(lambda d: max(1.0, len(d) / 100)),
    ),
)
