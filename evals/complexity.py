"""Complexity: how much structure a sample has, as a distribution and not only a mean."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable
from functools import lru_cache

import numpy as np
import polars as pl

from driftloop.evals.abundance import per_frame
from driftloop.evals.estimate import Context, Estimate, Measure, mean
from driftloop.evals.quality import share


@per_frame
def _structure(samples: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    known = samples.filter(pl.col("valid") & pl.col("complexity").is_not_null())
    by_value = known.group_by("complexity").agg(pl.col("count").sum()).sort("complexity")
    return by_value["complexity"].to_numpy(), by_value["count"].to_numpy().astype(float)


def quantile(values: np.ndarray, weights: np.ndarray, level: float) -> Estimate:
    """Weighted quantile with an interval from order statistics (level ± 1.96 binomial errors)."""
    total = float(weights.sum())
    if total <= 0:
        return Estimate.missing()
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weights[order]) / total
    error = 1.959964 * math.sqrt(level * (1 - level) / total)
    at = np.searchsorted(reached, np.clip([level, level - error, level + error], 0, 1) * (1 - 1e-12))
    value, low, high = values[order][np.minimum(at, len(values) - 1)]
    return Estimate(float(value), float(high - low) / 2 / 1.959964, float(low), float(high), int(total))


def _structural_mean(samples: pl.DataFrame, context: Context) -> Estimate:
    return share(samples.filter(pl.col("valid") & pl.col("complexity").is_not_null()), pl.col("complexity"))


def _structural(level: float) -> Callable[[pl.DataFrame, Context], Estimate]:
    return lambda samples, context: quantile(*_structure(samples), level)


@lru_cache(maxsize=65_536)  # the same meanings come back in every stage and generation
def description_bytes(text: str) -> int:
    """Deflated bytes of one text, without headers."""
    press = zlib.compressobj(9, zlib.DEFLATED, -15)
    return len(press.compress(text.encode())) + len(press.flush())


def _description(samples: pl.DataFrame, context: Context) -> Estimate:
    known = samples.filter(pl.col("mode").is_not_null())
    distinct = known.group_by("mode").agg(pl.col("count").sum()).sort("mode")
    # the mean over modes needs no more precision than this many of them give
    most = distinct.sample(4096, seed=context.seed).sort("mode") if distinct.height > 4096 else distinct
    sizes = np.array([description_bytes(mode) for mode in most["mode"]], dtype=float)
    return mean(sizes, most["count"].to_numpy().astype(float))


def _tokens(samples: pl.DataFrame, context: Context) -> Estimate:
    return share(samples, pl.col("n_tokens"))


MEASURES: tuple[Measure, ...] = (
    Measure(
        "complexity/structural_mean",
        "complexity",
        "units",
        "neither",
        "How complex is a readable sample on average, in the world's own unit?",
        _structural_mean,
    ),
    Measure(
        "complexity/structural_p10",
        "complexity",
        "units",
        "neither",
        "How complex are the simplest tenth?",
        _structural(0.1),
    ),
    Measure(
        "complexity/structural_p90",
        "complexity",
        "units",
        "neither",
        "How complex are the hardest tenth?",
        _structural(0.9),
    ),
    Measure(
        "complexity/description_bytes",
        "complexity",
        "bytes",
        "neither",
        "How many bytes does the meaning of one sample need?",
        _description,
    ),
    Measure("complexity/tokens_mean", "complexity", "tokens", "neither", "How long is a sample?", _tokens),
)
