"""Self-BLEU against nltk, text by text."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

from driftloop.evals.bleu import self_bleu
from driftloop.evals.estimate import Context

Scored = Callable[..., pl.DataFrame]
CONTEXT = Context(1000, 0)


def oracle(texts: list[str]) -> float:
    smooth = SmoothingFunction().method1
    tokens = [text.split() if " " in text.strip() else list(text) for text in texts]
    return float(
        np.mean(
            [
                sentence_bleu(tokens[:i] + tokens[i + 1 :], own, smoothing_function=smooth)
                for i, own in enumerate(tokens)
            ]
        )
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.text("ab+", min_size=1, max_size=9), min_size=2, max_size=8))
def test_it_equals_nltk(scored: Scored, texts: list[str]) -> None:
    assert self_bleu(scored(texts), CONTEXT).value == pytest.approx(oracle(texts), abs=1e-12)


def test_it_equals_nltk_on_words(scored: Scored) -> None:
    draw = np.random.default_rng(0)
    texts = [" ".join(f"w{i}" for i in draw.geometric(0.2, draw.integers(4, 15))) for _ in range(60)]
    assert self_bleu(scored(texts), CONTEXT).value == pytest.approx(oracle(texts), abs=1e-12)


def test_equal_texts_score_1_and_one_text_alone_has_none(scored: Scored) -> None:
    assert self_bleu(scored(["12+34"], [5]), CONTEXT).value == pytest.approx(1)
    assert math.isnan(self_bleu(scored(["12+34"]), CONTEXT).value)


def test_strangers_score_0(scored: Scored) -> None:
    assert self_bleu(scored(["abcd", "efgh"]), CONTEXT).value == 0
