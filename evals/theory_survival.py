"""Closed forms of what becomes of one rare type, and of the mass that a sample has not seen.

Derivations: docs/theory.md.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.stats import binom


def alive(p: float, n: int, t: int, real: int = 0) -> float:
    """Probability that generation t still knows a type of true probability p, exactly.

    The number of its copies among n is a Markov chain: Bin(n, p) under the base, then Bin(real, p) + Bin(n - real, i/n)
    after i; `real` fresh real copies a round (0 = replace).
    """
    count = np.arange(n + 1)
    chance = binom.pmf(count, n, p)
    synthetic = binom.pmf(np.arange(n - real + 1)[None, :], n - real, (count / n)[:, None])
    renewed = binom.pmf(np.arange(real + 1), real, p)
    for _ in range(t):
        chance = np.convolve(chance @ synthetic, renewed)
    return 1 - float(chance[0])


def lost_lines(t: int, mean: float = 1.0) -> float:
    """Probability that one copy has no descendant t rounds later, each copy leaving Poisson(mean) copies."""
    lost = 0.0
    for _ in range(t):
        lost = math.exp(mean * (lost - 1))
    return lost


def rare_alive(expected: float, t: int) -> float:
    """Replace, for a rare type of `expected` = n p copies in the first sample: 1 - exp(-expected (1 - lost_lines(t))).

    About 1 - exp(-2 expected / (t + 2)). With k = t + 1 samples drawn in a row it lies between 1 - exp(-expected/k), the
    bound of "Rate of Model Collapse in Recursive Training" (arXiv 2412.17646), and 1 - exp(-2 expected/k).
    """
    return -math.expm1(-expected * (1 - lost_lines(t)))


def rare_alive_fresh(expected: float, share: float, t: int | None = None) -> float:
    """The same with a `share` of fresh real data; t = None is the long run, which is above 0 for every share above 0.

    Each round brings Poisson(share expected) new copies; a line k rounds old lives with 1 - lost_lines(k, 1 - share).
    """
    lost, lives, k = 0.0, 0.0, 0
    while t is None or k < t:
        lives += 1 - lost
        lost = math.exp((1 - share) * (lost - 1))
        k += 1
        if t is None and 1 - lost < 1e-12:
            return -math.expm1(-share * expected * lives)
    return -math.expm1(-expected * (share * lives + (1 - lost)))


def types_alive(p: np.ndarray, n: int) -> float:
    """Expected number of types among n draws: sum of 1 - (1 - p)^n."""
    return float(-np.expm1(n * np.log1p(-np.asarray(p))).sum())


def missing_mass(p: np.ndarray, n: int) -> float:
    """Expected real mass of the types that n draws have not met: the test error of a model that memorises."""
    return float((p * np.exp(n * np.log1p(-np.asarray(p)))).sum())


def missing_mass_of_second(p: np.ndarray, first: int, n: int) -> float:
    """The same for n draws from a model of `first` real draws: flat at missing_mass(p, first) once n is large.

    E (1 - X/first)^n over X ~ Bin(first, p), summed to where X is 12 standard deviations above its mean.
    "A Tale of Tails" (arXiv 2402.07043) has the exponents; this is the finite size.
    """
    total = 0.0
    for x in range(first + 1):
        chance = binom.pmf(x, first, p)
        stays = (1 - x / first) ** n
        total += float((p * chance).sum()) * stays
        if stays < 1e-16:
            break
    return total
