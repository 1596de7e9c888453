"""Draws and probabilities of a normal distribution, as a model of numbers needs them."""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr, ndtri

from driftloop.generators.contracts import Sampling

RESOLUTION = 1e-9  # width of the interval that one written number stands for, so that it has a probability


def draw(mean: np.ndarray, sd: np.ndarray, sampling: Sampling, random: np.random.Generator) -> np.ndarray:
    """One number per mean and sd, shape (rows,): variance times temperature, truncated where density is low.

    p^(1/T) of a normal density is one of T times the variance; top-p keeps the central mass, min-p what has that share of
    the highest density.
    """
    scale = sd * math.sqrt(sampling.temperature)
    limit = min(_central(sampling.top_p), _dense(sampling.min_p))
    if limit == math.inf:
        return np.asarray(mean + scale * random.standard_normal(len(mean)))
    return np.asarray(mean + scale * ndtri(random.uniform(ndtr(-limit), ndtr(limit), len(mean))))


def _central(mass: float) -> float:
    return float(ndtri((1 + mass) / 2))


def _dense(share: float) -> float:
    return math.sqrt(-2 * math.log(share)) if share > 0 else math.inf


def log_chance(values: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
    """ln of the probability of RESOLUTION around each value, nats, shape (rows,); -inf for NaN, and off a mean of sd 0."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        z = np.where(values == mean, 0.0, (values - mean) / sd)
        density = -(z**2) / 2 - np.log(sd) - math.log(2 * math.pi) / 2
    chance = np.minimum(density + math.log(RESOLUTION), 0.0)
    return np.asarray(np.where(np.isnan(values) | np.isnan(chance), -np.inf, chance))
