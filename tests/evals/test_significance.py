"""Intervals over seeds, Holm, and the refusal to rank."""

import math

import numpy as np
import polars as pl
import pytest
from scipy import stats

from driftloop.evals.significance import COMPARED, bootstrap, compare, detectable, holm, over_seeds, p_value


def run(values: dict[str, list[float]]) -> pl.DataFrame:
    rows = [(arm, s, 3, "test", "id/pass1", v) for arm, vs in values.items() for s, v in enumerate(vs)]
    return pl.DataFrame(rows, schema=["arm", "seed", "generation", "stage", "metric", "value"], orient="row")


def test_t_intervals_cover_the_truth() -> None:
    drawn = np.random.default_rng(0).normal(2, 1, (2000, 4))
    hit = np.mean([e.lo <= 2 <= e.hi for e in map(over_seeds, drawn)])
    assert abs(hit - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 2000)


def test_one_seed_has_no_interval_and_none_has_no_value() -> None:
    assert over_seeds(np.array([3.0])).value == 3
    assert math.isnan(over_seeds(np.array([3.0])).lo)
    assert math.isnan(over_seeds(np.array([math.nan])).value)
    assert over_seeds(np.array([1.0, math.nan, 3.0])).n == 2


def test_the_bootstrap_is_repeatable_and_near_the_t_interval() -> None:
    values = np.random.default_rng(1).normal(size=40)
    found = bootstrap(values, seed=1)
    assert found == bootstrap(values, seed=1)
    t = over_seeds(values)
    assert (found.lo, found.hi) == pytest.approx((t.lo, t.hi), abs=0.15)
    assert bootstrap(np.full(5, 2.0), seed=0)[:4] == (2.0, 0.0, 2.0, 2.0)
    assert math.isnan(bootstrap(np.array([1.0, 2.0]), seed=0).lo)


def test_holm_is_the_published_step_down() -> None:
    assert holm(np.array([0.01, 0.04, 0.03])).tolist() == pytest.approx([0.03, 0.06, 0.06])
    found = holm(np.array([0.02, math.nan, 0.9]))
    assert found[0] == pytest.approx(0.04)
    assert math.isnan(found[1])


def test_p_is_that_of_the_t_test() -> None:
    values = np.array([0.3, 0.1, 0.5, 0.2])
    assert p_value(over_seeds(values)) == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    assert p_value(over_seeds(np.zeros(3))) == 1
    assert p_value(over_seeds(np.ones(3))) == 0


def test_a_detectable_effect_is_detected_four_times_in_five() -> None:
    n, scale = 20, 1.0
    effect = detectable(scale / math.sqrt(n), n)
    drawn = np.random.default_rng(0).normal(effect, scale, (3000, n))
    found = np.mean([p_value(over_seeds(row)) < 0.05 for row in drawn])
    assert found == pytest.approx(0.8, abs=0.04)
    assert math.isnan(detectable(1.0, 1))


def test_arms_that_overlap_are_not_ranked() -> None:
    found = compare(run({"a": [0.5, 0.6, 0.7], "b": [0.52, 0.59, 0.71]}), "id/pass1", "test")
    assert found["verdict"].to_list() == ["not separated"]
    assert found.columns == list(COMPARED)


def test_pairing_by_seed_separates_what_the_seeds_hide() -> None:
    """The seeds scatter far more than the arms differ, but each seed agrees."""
    seeds = np.array([0.1, 0.9, 0.4, 0.7])
    arms = {"low": list(seeds), "high": list(seeds + np.array([0.05, 0.051, 0.049, 0.05]))}
    found = compare(run(arms), "id/pass1", "test").row(0, named=True)
    assert found["verdict"] == "high"
    assert found["difference"] == pytest.approx(0.05, abs=1e-3)
    assert found["n"] == 4


def test_only_shared_seeds_are_compared() -> None:
    found = compare(run({"a": [1.0, 2.0, math.nan], "b": [1.0]}), "id/pass1", "test").row(0, named=True)
    assert (found["n"], found["verdict"]) == (1, "not separated")


def test_an_unknown_metric_is_answered_with_the_known_ones() -> None:
    with pytest.raises(
        ValueError, match=r"'id/pass2' has no rows at stage 'test'; this stage has \['id/pass1'\]"
    ):
        compare(run({"a": [1.0]}), "id/pass2", "test")
