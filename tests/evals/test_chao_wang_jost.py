"""The extrapolated entropy against its formula as printed, and against known worlds."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.evals.chao_wang_jost import _beyond, entropy, hill1, unseen_rate

counts_ = st.lists(st.integers(1, 12), min_size=2, max_size=40).map(lambda c: np.sort(np.array(c, float)))


def printed(counts: np.ndarray) -> float:
    """The paper's formula term by term."""
    n = int(counts.sum())
    once, twice = float((counts == 1).sum()), float((counts == 2).sum())
    seen = math.fsum(float(x) / n * sum(1 / k for k in range(int(x), n)) for x in counts if x < n)
    rate = unseen_rate(n, once, twice)
    if not once or rate >= 1:
        return seen
    rest = -math.log(rate) - math.fsum((1 - rate) ** r / r for r in range(1, n))
    return seen + once / n * (1 - rate) ** (1 - n) * rest


def of(counts: np.ndarray) -> float:
    value, times = np.unique(counts, return_counts=True)
    return entropy(value, times.astype(float))


@settings(deadline=None)
@given(counts_)
def test_it_is_the_formula_of_the_paper(counts: np.ndarray) -> None:
    n, once = counts.sum(), (counts == 1).sum()
    if (1 - unseen_rate(n, once, (counts == 2).sum())) ** (n - 1) > 1e-6:  # else the printed form cancels
        assert of(counts) == pytest.approx(printed(counts), rel=1e-7)


@pytest.mark.parametrize("total", [100.0, 3000.0, 1e6])
@pytest.mark.parametrize("rate", [9e-4, 9.999e-4, 1e-4, 1e-5])
def test_the_tail_beyond_the_sample_is_one_number_by_both_ways(total: float, rate: float) -> None:
    j = np.arange(int(60 / rate))
    brute = float((np.exp(np.log1p(-rate) * (j + 1)) / (total + j)).sum())
    assert _beyond(total, rate) == pytest.approx(brute, rel=1e-6)


def test_its_bias_is_a_fraction_of_the_plug_ins_where_half_of_the_modes_are_unseen() -> None:
    draw, p = np.random.default_rng(0), np.full(1000, 1e-3)
    found, naive = [], []
    for _ in range(40):
        counts = draw.multinomial(700, p)
        counts = counts[counts > 0].astype(float)
        found.append(hill1(np.sort(counts)).value)
        q = counts / counts.sum()
        naive.append(math.exp(-(q * np.log(q)).sum()))
    assert abs(np.mean(found) - 1000) < 0.1 * abs(np.mean(naive) - 1000)
    assert np.std(found) < hill1(np.sort(counts)).stderr < 3 * np.std(found), (
        "conservative here, never too small"
    )


def test_one_sample_says_nothing() -> None:
    assert math.isnan(hill1(np.array([1.0])).value)
    assert hill1(np.array([50.0])).value == pytest.approx(1)
