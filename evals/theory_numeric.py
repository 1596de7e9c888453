"""Closed forms of loops over numbers: a normal distribution, and a linear regression on its own labels.

Derivations: docs/theory.md.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import digamma, gammaln
from scipy.stats import norm


def c4(n: int) -> float:
    """Expected sample standard deviation (unbiased variance) of n normal draws, in units of the true one."""
    return math.sqrt(2 / (n - 1)) * math.exp(gammaln(n / 2) - gammaln((n - 1) / 2))


def mean_sd(n: int, t: int) -> float:
    """E sd after t unbiased refits on n draws each, in units of the first: c4(n)^t, though E sd^2 stays 1."""
    return c4(n) ** t


def mean_log_variance(n: int, t: int) -> float:
    """E ln sd^2 after t refits: falls by about 1/(n - 1) a round, and the median of sd^2 is about its exponential."""
    half = (n - 1) / 2
    return t * float(digamma(half) - math.log(half))


def mean_variance(n: int, t: int) -> float:
    """Variance of the mean after t refits, in units of the first variance: t/n."""
    return t / n


def regression_error(
    inputs: int, dimensions: int, fits: int, noise: float = 1.0, *, accumulate: bool = False
) -> float:
    """E |w' - w|^2 after `fits` fits on the same inputs with labels of the fit before (the first on real labels).

    noise^2 d / (T - d - 1) times fits (replace), or times 1 + 1/4 + ... + 1/fits^2 (accumulate).
    "Is Model Collapse Inevitable?" (arXiv 2404.01413).
    """
    rounds = float(sum(1 / i**2 for i in range(1, fits + 1))) if accumulate else float(fits)
    return noise**2 * dimensions / (inputs - dimensions - 1) * rounds


def mixed_error(share: float, mismatch: float, inputs: int, dimensions: int, noise: float) -> float:
    """E |w' - w|^2 of least squares where a `share` of labels comes from weights at squared distance `mismatch`.

    share^2 mismatch, however many inputs, plus [noise^2 d + share (1 - share) ((1 - share)^2 + share^2) (d + 1) mismatch] / T to
    first order in d/T. "Strong Model Collapse" (arXiv 2410.04840) has the first and the noise term; the other is the chance of
    which inputs are mislabelled: real and synthetic labels fall on inputs independently, each without replacement.
    """
    chance = share * (1 - share) * ((1 - share) ** 2 + share**2)
    return share**2 * mismatch + (noise**2 * dimensions + chance * (dimensions + 1) * mismatch) / inputs


def verifier_pull(distance: float, radius: float) -> float:
    """What is left of a model's distance to a verifier's centre after one round of many samples, as a share.

    Labels x·w + e, e ~ N(0, 1), are kept within `radius` of x·c and regressed on; the distance |w - c| is in noise
    units too. As distance goes to 0: 1 - 2 r phi(r) / (2 Phi(r) - 1), the variance of a normal cut at r. The limit is the
    centre, whatever the radius. "Escaping Model Collapse via Synthetic Data Verification" (arXiv 2510.16657).
    """
    if distance == 0:
        return float(1 - 2 * radius * norm.pdf(radius) / (2 * norm.cdf(radius) - 1))
    node, weight = np.polynomial.hermite_e.hermegauss(80)
    shift = distance * node  # x·(w - c)
    low, high = -radius - shift, radius - shift
    passing = norm.cdf(high) - norm.cdf(low)
    kept = shift * passing + norm.pdf(low) - norm.pdf(high)  # E of the distance from x·c, where it passes
    return float((weight * shift * kept).sum() / (weight * shift**2 * passing).sum())
