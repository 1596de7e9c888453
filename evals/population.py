"""Effective population size: the size of a plain resampling loop that loses diversity as fast as this one."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import polars as pl

from driftloop.evals.estimate import ROWS, Estimate, row, table

LEAST_FIT = 0.5  # share of the variance of ln H that a geometric decay must explain


class Decay(NamedTuple):
    """A geometric decay of H = 1 - sum p^2 over generations."""

    size: Estimate  # effective population size, copies
    r2: float  # share of the variance of ln H that the decay explains
    reason: str  # why `size` is NaN; "" where it is not


def fit_decay(heterozygosity: np.ndarray, stderr: np.ndarray | None = None) -> Decay:
    """Fit ln H_t = ln H_0 + t ln(1 - 1/N_e) by (weighted) least squares.

    The standard error comes from the scatter around the line. H of neighbouring generations is correlated
    in one lineage, which hides part of the error: means over seeds are worth more.

    Args:
        heterozygosity: H per generation, shape (generations,), or means of it over lineages.
        stderr: of each, shape (generations,); None or zeros = equal weights.
    """
    h = np.asarray(heterozygosity, dtype=float)
    n = len(h)
    if n < 3:
        return Decay(Estimate.missing(n), math.nan, f"{n} generations; a decay needs at least 3")
    if not (np.isfinite(h).all() and (h > 0).all()):
        return Decay(
            Estimate.missing(n), math.nan, "H reaches 0 or is unknown: no logarithm; use earlier generations"
        )
    weight = _weights(h, stderr)
    slope, error, r2 = _line(np.arange(n, dtype=float), np.log(h), weight)
    if slope >= 0:
        return Decay(Estimate.missing(n), r2, "H does not fall: diversity is kept or grows")
    if r2 < LEAST_FIT:
        return Decay(Estimate.missing(n), r2, f"H does not decay geometrically (R2 = {r2:.2f})")
    return Decay(_size(slope, error, n), r2, "")


def _weights(h: np.ndarray, stderr: np.ndarray | None) -> np.ndarray:
    if stderr is None or not (np.isfinite(stderr).all() and (np.asarray(stderr) > 0).all()):
        return np.ones(len(h))
    inverse = (h / np.asarray(stderr)) ** 2  # ln H has relative errors
    return np.asarray(inverse / inverse.mean())


def _line(t: np.ndarray, y: np.ndarray, weight: np.ndarray) -> tuple[float, float, float]:
    """Slope, its standard error and R2 of a weighted straight line."""
    x, z = t - np.average(t, weights=weight), y - np.average(y, weights=weight)
    spread, total = float((weight * x**2).sum()), float((weight * z**2).sum())
    slope = float((weight * x * z).sum()) / spread
    rest = float((weight * (z - slope * x) ** 2).sum())
    return slope, math.sqrt(rest / (len(t) - 2) / spread), 1 - rest / total if total > 0 else 0.0


def _size(slope: float, error: float, n: int) -> Estimate:
    value = -1 / math.expm1(slope)
    ends = [slope - 1.959964 * error, slope + 1.959964 * error]
    low, high = (-1 / math.expm1(s) if s < 0 else math.inf for s in ends)
    stderr = error * math.exp(slope) / math.expm1(slope) ** 2
    return Estimate(value, stderr, low, high, n)


def effective_population(metrics: pl.DataFrame) -> pl.DataFrame:
    """Effective population size of one lineage and its fit: frame (generation, *ROWS), last generation.

    H comes from the exact inverse collision number where the world is enumerable, else from its unbiased
    estimate in the probe pools. Where H does not decay geometrically the size is NaN; `fit_decay` says why.

    Args:
        metrics: rows of one lineage: generation and the columns of `ROWS`.
    """
    decay = fit_decay(*_heterozygosity(metrics))
    fit = Estimate.exact(decay.r2, decay.size.n)
    rows = table(
        [
            row("loop", "loop/effective_population", "loop", "copies", decay.size),
            row("loop", "loop/effective_population_fit_r2", "loop", "share", fit),
        ]
    )
    last = metrics["generation"].cast(pl.Int64).max()
    return rows.select(pl.lit(last, pl.Int64).alias("generation"), *ROWS)


def _heterozygosity(metrics: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    sources = (("test", "diversity/exact_hill2"), ("model", "diversity/hill2_unbiased"))
    for stage, metric in sources:
        rows = metrics.filter((pl.col("stage") == stage) & (pl.col("metric") == metric)).sort("generation")
        if rows.height:
            d, error = rows["value"].to_numpy(), rows["stderr"].to_numpy()
            return 1 - 1 / d, error / d**2
    return np.zeros(0), np.zeros(0)
