"""Quality, complexity and concentration of one frame."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from driftloop.evals.complexity import description_bytes, quantile
from driftloop.evals.estimate import Context
from driftloop.evals.stages import measures

Scored = Callable[..., pl.DataFrame]
COMPUTE = {m.name: m.compute for m in measures()}
CONTEXT = Context(1000, 0)


def test_shares_count_copies(scored: Scored) -> None:
    samples = scored(["a", "b", "c"], [6, 3, 1], None, [1.0, 0.5, 0.0])
    assert COMPUTE["quality/correct_share"](samples, CONTEXT).value == pytest.approx(0.6)
    assert COMPUTE["quality/mean"](samples, CONTEXT).value == pytest.approx(0.75)
    assert COMPUTE["quality/valid_share"](samples, CONTEXT).value == 1


def test_answers_to_one_prompt_are_one_cluster(scored: Scored) -> None:
    """100 copies each of 4 prompts that are all right or all wrong are worth 4 samples, not 400."""
    samples = scored(list("abcd"), [100] * 4, [0, 1, 2, 3], [1.0, 1.0, 0.0, 0.0])
    found = COMPUTE["quality/correct_share"](samples, CONTEXT)
    assert found.stderr == pytest.approx(math.sqrt(0.25 / 4) * math.sqrt(4 / 3))
    free = scored(list("abcd"), [100] * 4, None, [1.0, 1.0, 0.0, 0.0])
    assert COMPUTE["quality/correct_share"](free, CONTEXT).stderr == pytest.approx(0.5 / math.sqrt(399))


def test_quantiles_are_order_statistics_of_copies() -> None:
    values, weights = np.array([3.0, 1.0, 2.0]), np.array([10.0, 80.0, 10.0])
    assert [quantile(values, weights, q).value for q in (0.1, 0.8, 0.85, 0.95)] == [1, 1, 2, 3]
    assert math.isnan(quantile(np.zeros(0), np.zeros(0), 0.5).value)


def test_intervals_of_quantiles_cover_the_truth() -> None:
    drawn = np.random.default_rng(0).normal(size=(300, 200))
    found = [quantile(row, np.ones(200), 0.9) for row in drawn]
    assert np.mean([e.lo <= 1.2816 <= e.hi for e in found]) > 0.9


def test_a_longer_meaning_needs_more_bytes(scored: Scored) -> None:
    assert description_bytes("12+34*56-78") > description_bytes("1+2") > description_bytes("")
    short, long = scored(["1+2"], [5]), scored(["12+34*56-78"], [5])
    compute = COMPUTE["complexity/description_bytes"]
    assert compute(long, CONTEXT).value > compute(short, CONTEXT).value


def test_complexity_leaves_out_what_cannot_be_read(scored: Scored) -> None:
    samples = scored(["a", "abc"], [1, 1]).with_columns(pl.Series("valid", [True, False]))
    assert COMPUTE["complexity/structural_mean"](samples, CONTEXT).value == 1
    assert COMPUTE["complexity/structural_p90"](samples, CONTEXT).value == 1


def test_top_shares(scored: Scored) -> None:
    names = [f"{i:03}" for i in range(200)]
    samples = scored(names, [301] + [1] * 199)
    assert COMPUTE["concentration/top1_share"](samples, CONTEXT).value == pytest.approx(301 / 500)
    assert COMPUTE["concentration/top10_share"](samples, CONTEXT).value == pytest.approx(310 / 500)
    assert COMPUTE["concentration/top1pct_share"](samples, CONTEXT).value == pytest.approx(302 / 500)
    assert COMPUTE["diversity/hill_inf"](samples, CONTEXT).value == pytest.approx(500 / 301)
