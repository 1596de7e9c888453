"""Vendi scores: the effective number of distinct texts when similar texts count as partly the same.

The Vendi Score (arXiv 2210.02410), Cousins of the Vendi Score (arXiv 2310.12952). Texts become unit
vectors of hashed byte n-grams; the score is the exponential Renyi entropy of the eigenvalues of their d x d
covariance, never of an n x n kernel, and it is gathered in blocks. Similarity is of form, not of meaning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
import polars as pl

from driftloop.evals.abundance import per_frame, texts
from driftloop.evals.estimate import Context, Estimate, Measure

BLOCK = 16_384  # texts embedded at once
ORDERS = (1, 2, 3)  # lengths of the byte n-grams
_SPREAD = np.uint64(0x9E3779B97F4A7C15)


def embed(responses: pl.Series, size: int) -> np.ndarray:
    """Unit vectors of hashed byte n-grams (n = 1, 2, 3; ends marked), shape (texts, size) f64.

    Args:
        responses: texts, str.
        size: length of a vector; the more, the fewer collisions.
    """
    length = responses.str.len_bytes().to_numpy().astype(np.int64) + 2
    joined = "\x02" + "\x03\x02".join(responses) + "\x03"
    codes = np.frombuffer(joined.encode(), np.uint8).astype(np.uint64)
    owner = np.repeat(np.arange(len(length)), length)
    vectors = np.zeros(len(length) * size)
    key = np.zeros(len(codes), np.uint64)
    for order in ORDERS:
        key = key[: len(codes) - order + 1] * np.uint64(257) + codes[order - 1 :] + np.uint64(1)
        inside = owner[: len(key)] == owner[order - 1 :]
        mixed = (key[inside] * _SPREAD) ^ (key[inside] * _SPREAD >> np.uint64(29))
        mixed *= _SPREAD
        sign = 1.0 - 2.0 * (mixed >> np.uint64(63)).astype(float)
        place = owner[: len(key)][inside] * size + (mixed >> np.uint64(16)).astype(np.int64) % size
        vectors += np.bincount(place, weights=sign, minlength=len(vectors))
    return _unit(vectors.reshape(len(length), size))


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors[norm == 0, 0] = 1.0  # signs may cancel: such a text still is one text
    norm[norm == 0] = 1.0
    return np.asarray(vectors / norm[:, None])


def hill_of(spectrum: np.ndarray, q: float) -> float:
    """Hill number of order q of eigenvalues that sum to 1 (zeros left out)."""
    p = spectrum[spectrum > 1e-12]
    if math.isinf(q):
        return float(1 / p.max())
    if q == 1:
        return float(np.exp(-(p * np.log(p)).sum()))
    return float((p**q).sum() ** (1 / (1 - q)))


def vendi_kernel(kernel: np.ndarray, q: float = 1) -> float:
    """Vendi score of order q of a similarity matrix with unit diagonal, shape (n, n)."""
    return hill_of(np.linalg.eigvalsh(kernel / len(kernel)), q)


def _blocks(distinct: pl.DataFrame, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for part in distinct.iter_slices(BLOCK):
        yield embed(part["response"], size), part["count"].to_numpy().astype(float)


@per_frame
def _spectrum(samples: pl.DataFrame, context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues, and for q = 1 and q = 2 the variance over texts of their influence on the functional."""
    distinct, size = texts(samples, context), context.embedding_size
    total = float(distinct["count"].sum())
    covariance = np.zeros((size, size))
    for vectors, weight in _blocks(distinct, size):
        covariance += (vectors * weight[:, None]).T @ vectors
    values, axes = np.linalg.eigh(covariance / total)
    values = np.maximum(values, 0.0)
    gradient = np.stack(
        [np.where(values > 1e-12, -np.log(np.maximum(values, 1e-12)), 0.0), 2 * values], axis=1
    )
    centre, moment = values @ gradient, np.zeros(2)
    # a variance needs no more texts than one block; every k-th of the sorted ones
    part = distinct.gather_every(-(-distinct.height // BLOCK))
    for vectors, weight in _blocks(part, size):
        moment += weight @ ((vectors @ axes) ** 2 @ gradient - centre) ** 2
    return values, moment / float(part["count"].sum()), np.array([total])


def _vendi(q: int) -> Callable[[pl.DataFrame, Context], Estimate]:
    def compute(samples: pl.DataFrame, context: Context) -> Estimate:
        if not samples.height:
            return Estimate.missing()
        values, variance, total = _spectrum(samples, context)
        score, n = hill_of(values, q), int(total[0])
        # exp(H) and 1/sum(p^2): both scale the functional's error, the second by the score once more
        stderr = score * math.sqrt(float(variance[q - 1]) / n) * (score if q == 2 else 1.0)
        return Estimate.normal(score, stderr, n)

    return compute


_QUESTION = "How many texts effectively, if similar texts count as partly the same"
MEASURES: tuple[Measure, ...] = (
    Measure("diversity/vendi1", "diversity", "texts", "up", f"{_QUESTION}?", _vendi(1)),
    Measure("diversity/vendi2", "diversity", "texts", "up", f"{_QUESTION}, common ones first?", _vendi(2)),
)
