"""Vendi scores: published values, the kernel form, and the package of the authors as oracle."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from vendi_score import vendi

from driftloop.evals.embedding import BLOCK, embed
from driftloop.evals.estimate import Context
from driftloop.evals.stages import measures
from driftloop.evals.vendi import hill_of, vendi_kernel

Scored = Callable[..., pl.DataFrame]
COMPUTE = {m.name: m.compute for m in measures()}
WORDS = ["12+34", "34+12", "7*8", "56-1", "56-2", "99", "9*9+1", "12+35"]


def test_published_values() -> None:
    x = np.array([0, 0, 10, 10, 20, 20.0])
    assert vendi_kernel(np.exp(-abs(x[:, None] - x))) == pytest.approx(3.0000, abs=1e-3)
    close = np.array([[1, 0.9, 0], [0.9, 1, 0], [0, 0, 1]])
    assert vendi_kernel(close) == pytest.approx(2.1573, abs=1e-3)


@pytest.mark.parametrize("q", [0.5, 1, 2, 3, math.inf])
def test_an_identity_kernel_scores_n_and_a_constant_one_scores_1(q: float) -> None:
    assert vendi_kernel(np.eye(7), q) == pytest.approx(7)
    assert vendi_kernel(np.ones((7, 7)), q) == pytest.approx(1)


@pytest.mark.filterwarnings("ignore:Please import `csr_matrix`:DeprecationWarning")  # in the oracle
@pytest.mark.parametrize("q", [1, 2])
def test_the_covariance_form_equals_the_kernel_form_and_the_oracle(scored: Scored, q: int) -> None:
    copies = [3, 1, 4, 1, 5, 9, 2, 6]
    vectors = embed(pl.Series(np.repeat(WORDS, copies)), 64)
    kernel = vectors @ vectors.T
    found = COMPUTE[f"diversity/vendi{q}"](scored(WORDS, copies), Context(1000, 0, 64))
    assert found.value == pytest.approx(vendi_kernel(kernel, q), rel=1e-9)
    assert found.value == pytest.approx(vendi.score_K(kernel, q=q), rel=1e-6)
    assert found.n == sum(copies)


def test_embeddings_are_unit_vectors_and_equal_for_equal_texts_only() -> None:
    vectors = embed(pl.Series(["abc", "abd", "abc", "", "cba"]), 256)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)
    similar = vectors @ vectors.T
    assert similar[0, 2] == pytest.approx(1)
    assert similar[0, 1] > similar[0, 3]
    assert similar[0, 4] < 0.99


def test_a_text_has_the_same_vector_alone_and_in_a_crowd() -> None:
    crowd = embed(pl.Series([*WORDS, "élan", ""]), 64)
    for i, word in enumerate([*WORDS, "élan", ""]):
        np.testing.assert_allclose(embed(pl.Series([word]), 64)[0], crowd[i])


def test_blocks_add_up(scored: Scored) -> None:
    """More texts than one block holds: the streamed covariance is that of all of them."""
    names = [f"{i:05}" for i in range(BLOCK + 100)]
    found = COMPUTE["diversity/vendi2"](scored(names), Context(10**6, 0, 16))
    vectors = embed(pl.Series(names), 16)
    spectrum = np.linalg.eigvalsh(vectors.T @ vectors / len(names))
    assert found.value == pytest.approx(hill_of(spectrum, 2), rel=1e-9)


@pytest.mark.parametrize("q", [1, 2])
def test_standard_errors_match_the_scatter_of_repeated_samples(scored: Scored, q: int) -> None:
    draw, p = np.random.default_rng(0), np.arange(1, 51.0) ** -1
    names = [f"{i:02}" * (1 + i % 3) for i in range(50)]
    samples = [scored(names, list(c)) for c in draw.multinomial(400, p / p.sum(), size=200)]
    found = [
        COMPUTE[f"diversity/vendi{q}"](s.filter(pl.col("count") > 0), Context(400, 0, 32)) for s in samples
    ]
    claimed, scatter = np.mean([e.stderr for e in found]), np.std([e.value for e in found])
    # the scatter of 200 samples is known to 5 %
    assert 0.8 < claimed / scatter < 1.2
