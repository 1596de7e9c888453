"""Intervals over seeds."""

from __future__ import annotations

import math

import numpy as np
from scipy import stats

from driftloop.evals.estimate import Estimate


def over_seeds(values: np.ndarray) -> Estimate:
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    n = len(values)
    if n == 0:
        return Estimate.missing()
    if n == 1:
        return Estimate(float(values[0]), math.nan, math.nan, math.nan, 1)
    centre, stderr = float(values.mean()), float(values.std(ddof=1) / math.sqrt(n))
    half = float(stats.t.ppf(0.975, n - 1)) * stderr
    return Estimate(centre, stderr, centre - half, centre + half, n)


def p_value(estimate: Estimate) -> float:
    if estimate.n < 2:
        return math.nan
    if estimate.stderr == 0:
        return 1.0 if estimate.value == 0 else 0.0
    return float(2 * stats.t.sf(abs(estimate.value) / estimate.stderr, estimate.n - 1))


def holm(p: np.ndarray) -> np.ndarray:
    adjusted = np.full(len(p), math.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known])]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def detectable(stderr: float, n: int, power: float = 0.8) -> float:
    if n < 2:
        return math.nan
    return float((stats.t.ppf(0.975, n - 1) + stats.t.ppf(power, n - 1)) * stderr)
