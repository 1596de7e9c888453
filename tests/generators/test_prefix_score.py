"""Scores of many strings through shared prefixes are those of one string at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.generators.engines.prefix_score import logprobs
from driftloop.generators.models.llama import Llama, Shape

SHAPE = Shape(vocab=9, width=24, layers=2, heads=2, kv_heads=2, ff=40, context=16)


def weights() -> dict[str, torch.Tensor]:
    return Llama.fresh(SHAPE, seed=6).hf_state()


ROW = st.tuples(st.lists(st.integers(0, 8), min_size=1, max_size=6), st.lists(st.integers(0, 8), max_size=9))


@settings(max_examples=15, deadline=None)
@given(rows=st.lists(ROW, max_size=30))
def test_scores_are_those_of_transformers_row_by_row(
    reference: Callable[..., np.ndarray], rows: list[tuple[list[int], list[int]]]
) -> None:
    """Any lengths, repeated rows, rows that begin other rows, empty responses."""
    prompts, responses = [np.array(p) for p, _ in rows], [np.array(r, int) for _, r in rows]
    scores = logprobs(SHAPE, weights(), prompts, responses)
    assert scores.shape == (len(rows),)
    for (prompt, response), score in zip(rows, scores, strict=True):
        whole = np.array([[*prompt, *response]])
        each = reference(SHAPE, weights(), whole)[0]
        expected = sum(each[len(prompt) - 1 + i, v] for i, v in enumerate(response))
        assert score == pytest.approx(expected, abs=1e-4)


def test_the_probabilities_of_all_strings_sum_to_one() -> None:
    strings = [np.array([a, b, c]) for a in range(9) for b in range(9) for c in range(9)]
    scores = logprobs(SHAPE, weights(), [np.array([0])] * len(strings), strings)
    assert np.exp(scores).sum() == pytest.approx(1, abs=1e-5)


def test_wrong_rows_are_refused() -> None:
    one = [np.array([0])]
    with pytest.raises(ValueError, match=r"responses: expected one per prompt \(1\), got 2"):
        logprobs(SHAPE, weights(), one, one * 2)
    with pytest.raises(ValueError, match=r"every prompt needs at least its begin mark"):
        logprobs(SHAPE, weights(), [np.zeros(0, int)], one)


def test_rows_longer_than_the_context_are_scored(reference: Callable[..., np.ndarray]) -> None:
    row = np.random.default_rng(1).integers(0, 9, 25)
    expected = np.take_along_axis(reference(SHAPE, weights(), row[None])[0, :-1], row[1:, None], 1).sum()
    score = logprobs(SHAPE, weights(), [row[:1]], [row[1:]])
    np.testing.assert_allclose(score, [expected], atol=1e-4)
