"""Quality: how much parses, how much is right. Never mixed with diversity."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from driftloop.evals.abundance import PASSING, clusters
from driftloop.evals.estimate import Context, Estimate, Measure, mean


def share(samples: pl.DataFrame, what: pl.Expr) -> Estimate:
    """Weighted mean of an expression over samples, clustered by prompt."""
    values = samples.select(what.cast(pl.Float64)).to_series().to_numpy()
    return mean(values, samples["count"].to_numpy().astype(float), clusters(samples))


def _mean_of(what: pl.Expr) -> Callable[[pl.DataFrame, Context], Estimate]:
    return lambda samples, context: share(samples, what)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "quality/valid_share",
        "quality",
        "share",
        "up",
        "How many samples can be read at all?",
        _mean_of(pl.col("valid")),
    ),
    Measure(
        "quality/correct_share",
        "quality",
        "share",
        "up",
        "How many samples are fully right?",
        _mean_of(PASSING),
    ),
    Measure(
        "quality/mean",
        "quality",
        "score",
        "up",
        "How good is a sample on average, from 0 to 1?",
        _mean_of(pl.col("quality")),
    ),
)
