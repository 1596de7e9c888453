"""Distinct-n, EAD and compression: oracles in plain Python, and equal token counts."""

import math
import zlib
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from driftloop.evals.compressibility import ratio
from driftloop.evals.estimate import Context
from driftloop.evals.lexical import ead
from driftloop.evals.stages import measures

Scored = Callable[..., pl.DataFrame]
COMPUTE = {m.name: m.compute for m in measures()}


def test_distinct_n_equals_a_count_in_plain_python(scored: Scored) -> None:
    """Characters where a text has no white space, words where it has; n-grams never cross texts."""
    samples = scored(["abab", "the cat the cat sat", "x"], [2, 1, 3])
    tokens = [list("abab")] * 2 + [["the", "cat", "the", "cat", "sat"]] + [["x"]] * 3
    for order in (1, 2, 3):
        grams = [tuple(t[i : i + order]) for t in tokens for i in range(len(t) - order + 1)]
        found = COMPUTE[f"diversity/distinct{order}"](samples, Context(1000, 0))
        assert found.value == pytest.approx(len(set(grams)) / len(grams))
        assert found.n == len(grams)


def test_distinct_n_is_the_mean_over_subsamples_of_tokens(scored: Scored) -> None:
    """Equal token counts by a closed form: 12 tokens of which 5 are drawn, against drawing."""
    samples = scored(["aab", "bcd"], [2, 2])
    pool = np.array(list("aabaabbcdbcd"))
    draw = np.random.default_rng(0)
    drawn = [len(set(draw.choice(pool, 5, replace=False))) / 5 for _ in range(4000)]
    found = COMPUTE["diversity/distinct1"](samples, Context(5, 0))
    # context.n is a number of copies too: 4 copies are below it, so all texts are used
    assert found.n == 5
    assert abs(found.value - np.mean(drawn)) < 4 * np.std(drawn) / math.sqrt(4000)


@pytest.mark.parametrize("tokens", [20, 100, 400])
def test_ead_of_uniform_draws_is_1(tokens: int) -> None:
    draw = np.random.default_rng(tokens).integers(0, 50, (2000, tokens))
    found = [ead(len(np.unique(row)), tokens, 50) for row in draw]
    assert np.mean(found) == pytest.approx(1.00, abs=0.01)


def test_standard_errors_are_over_texts(scored: Scored) -> None:
    """Tokens of one text come together: errors over tokens alone would be too small."""
    draw = np.random.default_rng(0)
    words = [c * 12 + d for c, d in zip("abcdefghijklmnopqrst", "ABCDEFGHIJKLMNOPQRST", strict=True)]
    p = np.arange(1, 21.0) ** -1
    frames = [scored(words, list(c)) for c in draw.multinomial(100, p / p.sum(), size=200)]
    found = [COMPUTE["diversity/distinct2"](f.filter(pl.col("count") > 0), Context(100, 0)) for f in frames]
    claimed, scatter = np.mean([e.stderr for e in found]), np.std([e.value for e in found])
    assert 0.7 < claimed / scatter < 1.4


def test_identical_texts_compress_far_better_than_random_ones(scored: Scored) -> None:
    letters = np.random.default_rng(0).integers(97, 123, (500, 20), dtype=np.uint8)
    random = [bytes(row).decode() for row in letters]
    context, compute = Context(500, 0), COMPUTE["diversity/compression_ratio"]
    assert compute(scored(random[:1], [500]), context).value > 50
    assert 1 < compute(scored(random), context).value < 3


def test_the_ratio_is_raw_over_compressed_bytes() -> None:
    raw = b"one\ntwo\ntwo"
    assert ratio([b"one", b"two", b"two"]) == len(raw) / len(zlib.compress(raw, 9))


def test_texts_too_short_for_an_n_gram_give_nan(scored: Scored) -> None:
    assert math.isnan(COMPUTE["diversity/distinct3"](scored(["ab", "c"]), Context(10, 0)).value)
    assert math.isnan(COMPUTE["diversity/ead2"](scored(["a", "c"]), Context(10, 0)).value)


def test_repetition_lowers_every_lexical_number(scored: Scored) -> None:
    varied = [f"{a}+{b}" for a, b in pairwise(range(10, 90))]
    flat = ["12+34"] * 40 + varied[:39]
    context = Context(79, 0)
    for name in ("distinct1", "distinct2", "distinct3", "ead2"):
        compute = COMPUTE[f"diversity/{name}"]
        assert compute(scored(flat), context).value < compute(scored(varied), context).value, name
