"""Hill numbers against brute force, closed forms and simulation."""

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.evals.estimate import Estimate
from driftloop.evals.hill import (
    chao1,
    collision,
    entropy,
    good_turing_coverage,
    hill0,
    hill1,
    hill1_chao_shen,
    hill2,
    hill2_unbiased,
    richness,
    richness_chao1,
)

small_counts = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(lambda c: np.array(c, dtype=float))


def every_subsample(counts: np.ndarray, n: int) -> list[np.ndarray]:
    """The slow oracle: counts of every choice of n copies."""
    owner = np.repeat(np.arange(len(counts)), counts.astype(int))
    chosen = (np.array(c, dtype=int) for c in combinations(owner, n))
    return [np.bincount(c, minlength=len(counts)) for c in chosen]


@given(small_counts, st.integers(1, 16))
def test_rarefaction_equals_the_mean_over_every_subsample(counts: np.ndarray, n: int) -> None:
    n = min(n, int(counts.sum()))
    drawn = [c[c > 0] / n for c in every_subsample(counts, n)]
    assert richness(counts, n) == pytest.approx(np.mean([len(p) for p in drawn]))
    assert entropy(counts, n) == pytest.approx(np.mean([-(p * np.log(p)).sum() for p in drawn]), abs=1e-12)
    if counts.sum() >= 3:
        collided = np.mean([(p**2).sum() for p in drawn])
        assert hill2(counts, n).value == pytest.approx(1 / collided)


@pytest.mark.parametrize("number", [hill0, hill1, hill2, hill2_unbiased, richness_chao1, hill1_chao_shen])
@pytest.mark.parametrize("k", [1, 7, 20])
def test_a_uniform_distribution_over_k_types_has_hill_number_k(
    number: Callable[[np.ndarray, int], Estimate], k: int
) -> None:
    found = number(np.full(k, 1e12), 10**14)
    assert found.value == pytest.approx(k, rel=1e-6)


def test_huge_counts_agree_with_drawing_with_replacement() -> None:
    """The branch for more than 10^9 copies meets the exact one."""
    p = np.array([0.5, 0.3, 0.15, 0.05])
    for f in (richness, entropy):
        assert f(p * 4e9, 1000) == pytest.approx(f(p * 4e8, 1000), rel=1e-6)
    assert richness(p * 1e12, 10) == pytest.approx(float((1 - (1 - p) ** 10).sum()), rel=1e-9)


def test_a_hill_number_is_never_larger_at_a_higher_order() -> None:
    counts = np.array([50.0, 20, 10, 5, 5, 3, 1, 1, 1])
    values = [f(counts, 40).value for f in (hill0, hill1, hill2)]
    assert values == sorted(values, reverse=True)


def test_nothing_gives_nothing() -> None:
    for number in (
        hill0,
        hill1,
        hill2,
        hill2_unbiased,
        richness_chao1,
        hill1_chao_shen,
        good_turing_coverage,
    ):
        assert math.isnan(number(np.zeros(0), 10).value)


def test_chao1_adds_what_singletons_and_doubletons_promise() -> None:
    assert chao1(np.array([1.0, 1, 1, 1, 2, 2, 9]))[0] == pytest.approx(7 + 16 / 17 * 16 / 4)
    assert chao1(np.array([1.0, 1, 1, 9]))[0] == pytest.approx(4 + 11 / 12 * 3)


def test_the_collision_estimate_is_unbiased() -> None:
    p = np.array([0.6, 0.3, 0.1])
    drawn = np.random.default_rng(0).multinomial(10, p, size=4000)
    found = np.array([collision(c[c > 0].astype(float))[0] for c in drawn])
    assert abs(found.mean() - (p**2).sum()) < 4 * found.std() / math.sqrt(len(found))


LAWS = {
    "uniform": np.full(300, 1 / 300),
    "zipf": np.arange(1, 201.0) ** -1 / (np.arange(1, 201.0) ** -1).sum(),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("copies", [1000, 2000])
def test_standard_errors_match_the_scatter_of_repeated_samples(law: str, copies: int) -> None:
    """From 0.85 to 1.7 times the scatter (2 for Chao-Shen): cautious, never too small."""
    drawn = np.random.default_rng(1).multinomial(copies, LAWS[law], size=300)
    samples = [c[c > 0].astype(float) for c in drawn]
    for number in (hill0, hill1, hill2, hill2_unbiased, hill1_chao_shen):
        found = [number(c, 1000) for c in samples]
        claimed = math.sqrt(np.mean([e.stderr**2 for e in found]))
        scatter = float(np.std([e.value for e in found]))
        assert 0.85 * scatter < claimed < (2.0 if number is hill1_chao_shen else 1.7) * scatter, (
            number.__name__
        )


def test_intervals_cover_the_truth() -> None:
    """95 % intervals over 400 samples: at least 90 % cover (4 standard errors below would be 90.6 %)."""
    p = LAWS["zipf"]
    drawn = np.random.default_rng(2).multinomial(1000, p, size=400)
    truths = {richness_chao1: 200.0, hill2_unbiased: 1 / (p**2).sum()}
    for number, truth in truths.items():
        found = [number(c[c > 0].astype(float), 1000) for c in drawn]
        assert np.mean([e.lo <= truth <= e.hi for e in found]) > 0.9, number.__name__
    seen = np.array([p[c > 0].sum() for c in drawn])
    cover = [good_turing_coverage(c[c > 0].astype(float), 1000) for c in drawn]
    assert np.mean([e.lo <= s <= e.hi for e, s in zip(cover, seen, strict=True)]) > 0.9
