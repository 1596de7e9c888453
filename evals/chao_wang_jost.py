"""Effective number of modes with the unseen ones extrapolated from the rare ones that were seen.

Chao, Wang and Jost 2013 (Methods in Ecology and Evolution 4): the entropy as the sum of the slopes of the curve that
says how many kinds turn up with the sample size; what lies beyond the sample is extrapolated with Good-Turing
coverage. Of the known estimators it has the least bias in small samples: the
calibration says how much is left.
"""

from __future__ import annotations

import math

import numpy as np
import polars as pl
from scipy.special import digamma, hyperu

from driftloop.evals.abundance import abundances
from driftloop.evals.estimate import Context, Estimate, Measure
from driftloop.evals.hill import jackknife


def entropy(value: np.ndarray, times: np.ndarray) -> float:
    """Entropy, nats; `times` types have `value` copies, shape (values,) each."""
    total = float((value * times).sum())
    once, twice = (float(times[value == k].sum()) for k in (1, 2))
    seen = float((times * value / total * (digamma(total) - digamma(value))).sum())
    return seen + once / total * _beyond(total, unseen_rate(total, once, twice)) if once else seen


def unseen_rate(total: float, once: float, twice: float) -> float:
    """Mean probability of the types that were seen once (Good-Turing), `A` in the paper."""
    if twice > 0:
        return 2 * twice / ((total - 1) * once + 2 * twice)
    return 2 / ((total - 1) * (once - 1) + 2) if once > 0 else 1.0


def _beyond(total: float, rate: float) -> float:
    """(1-A)^(1-n) (-ln A - sum_{r<n} (1-A)^r / r) = sum_{j>=0} (1-A)^(j+1) / (n+j), without cancellation."""
    if rate >= 1:
        return 0.0
    decay = -math.log1p(-rate)
    if decay > 1e-3:
        j = np.arange(math.ceil(40 / decay))
        return float((np.exp(-decay * (j + 1)) / (total + j)).sum())
    # Euler-Maclaurin: the integral is (1-A) e^z E1(z) at z = n decay, and e^z E1(z) = U(1, 1, z)
    first = math.exp(-decay) / total
    integral = math.exp(-decay) * float(hyperu(1, 1, total * decay))
    return integral + first / 2 + first * (decay + 1 / total) / 12


def hill1(counts: np.ndarray) -> Estimate:
    """exp of the entropy, all copies used; jackknife standard error.

    Args:
        counts: copies of each mode, shape (modes,).
    """
    total = int(counts.sum())
    if total < 2:
        return Estimate.missing(total)
    value, times = np.unique(counts, return_counts=True)
    number = math.exp(entropy(value, times.astype(np.float64)))
    return Estimate.normal(number, number * jackknife(counts, entropy), total)


def _hill1(samples: pl.DataFrame, context: Context) -> Estimate:
    return hill1(abundances(samples))


MEASURES: tuple[Measure, ...] = (
    Measure(
        "diversity/hill1_chao_wang_jost",
        "diversity",
        "modes",
        "up",
        "How many answers effectively, the unseen ones extrapolated?",
        _hill1,
        descriptive=True,  # low by 9 % at 1,000 samples of a steep law of 2,000 modes, by 0.2 % at 10,000
    ),
)
