"""A1, A2, A4, A7 and W12: a tabular loop loses diversity exactly as the closed forms say, whatever the regime.

Small n make an error of one copy large: at n = 10, 11 copies instead of 10 change H by 10 standard errors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from driftloop.evals import theory_drift as theory

History = Callable[..., np.ndarray]
Diversity = Callable[[np.ndarray], np.ndarray]
Agrees = Callable[..., None]
H0 = 0.95  # 20 uniform types


def test_published_numbers_of_the_closed_forms() -> None:
    assert pytest.approx(0.8592, abs=5e-5) == H0 * (1 - 1 / 100) ** 10
    assert theory.replace(H0, 100, 49) == pytest.approx(0.5748, abs=5e-5)
    assert theory.replace(H0, 100, 199) == pytest.approx(0.1273, abs=5e-5)
    assert theory.accumulate(H0, 10, 199) == pytest.approx(0.8017, abs=5e-5)
    assert theory.accumulate(H0, 100, 199) == pytest.approx(0.9345, abs=5e-5)
    floors = [theory.fresh_independent(H0, 100, r) for r in (0.05, 0.1, 0.5)]
    assert floors == pytest.approx([0.8608, 0.9020, 0.9374], abs=5e-5)
    fixed = [theory.fresh_floor(H0, 100, m) for m in (5, 10, 50)]
    assert fixed == pytest.approx(
        floors, abs=5e-4
    )  # a fixed number of real copies differs by less than 0.0005
    assert theory.differentiation(100, 49) == pytest.approx(0.395, abs=5e-4)


def test_limits_of_the_closed_forms() -> None:
    assert theory.accumulate(H0, 10, 100_000) == pytest.approx(theory.accumulate_limit(H0, 10), rel=1e-5)
    for n, m in ((10, 1), (10, 5), (50, 20)):
        assert theory.fresh(H0, n, m, 2000) == pytest.approx(theory.fresh_floor(H0, n, m))
        assert theory.static(H0, n, m, 2000) == pytest.approx(theory.static_floor(H0, n, m))
        assert theory.fresh(H0, n, m, 0) == theory.static(H0, n, m, 0) == pytest.approx(H0 * (1 - 1 / n))
        assert theory.static_floor(H0, n, m) < theory.fresh_floor(H0, n, m)
    for exact in (False, True):
        start = theory.replace(H0, 10, 0, exact_base=exact)
        assert theory.accumulate(H0, 10, 0, exact_base=exact) == pytest.approx(start)
        assert theory.accumulate_subsample(H0, 10, 0, exact_base=exact) == pytest.approx(start)
        assert theory.fresh(H0, 10, 3, 0, exact_base=exact) == pytest.approx(start)
        assert theory.static(H0, 10, 3, 0, exact_base=exact) == pytest.approx(start)
    assert theory.fresh_floor(H0, 10, 0) == pytest.approx(0)
    assert theory.fresh_floor(H0, 10, 10) == theory.static_floor(H0, 10, 10) == pytest.approx(H0 * 0.9)
    for n in (5, 30):
        between = theory.accumulate_subsample(H0, n, 20)
        assert theory.replace(H0, n, 20) < between < theory.accumulate(H0, n, 20)


def test_a1_replacing_loses_one_nth_a_round(
    side_by_side: History, diversity: Diversity, agrees: Agrees
) -> None:
    h = diversity(side_by_side(2000, 100, 50, base=10**12))
    assert theory.replace(H0, 100, 10, exact_base=True) == pytest.approx(0.8592, abs=5e-5)
    agrees(h[10], 0.8592, 0.003)
    agrees(h[50], 0.5748, 0.01)


@pytest.mark.parametrize(("n", "t"), [(4, 3), (10, 5), (10, 20)])
def test_a1_at_small_sizes(
    side_by_side: History, diversity: Diversity, agrees: Agrees, n: int, t: int
) -> None:
    agrees(diversity(side_by_side(2000, n, t)[t]), theory.replace(H0, n, t))


def test_a1_holds_for_frequencies_of_zipf(
    side_by_side: History, diversity: Diversity, agrees: Agrees
) -> None:
    mass = np.arange(1, 21) ** -1.5
    h0 = float(diversity(mass / mass.sum()))
    agrees(diversity(side_by_side(2000, 8, 6, world={"exponent": 1.5})[6]), theory.replace(h0, 8, 6))


def test_a2_accumulating_keeps_a_share_for_ever(
    side_by_side: History, diversity: Diversity, agrees: Agrees
) -> None:
    h = diversity(side_by_side(1000, 10, 39, regime="accumulate"))
    for t in (1, 3, 39):
        agrees(h[t], theory.accumulate(H0, 10, t))


def test_a2_from_an_exact_base(side_by_side: History, diversity: Diversity, agrees: Agrees) -> None:
    h = diversity(side_by_side(1000, 6, 12, regime="accumulate", base=10**12))
    for t in (1, 2, 12):
        agrees(h[t], theory.accumulate(H0, 6, t, exact_base=True))


@pytest.mark.slow
@pytest.mark.parametrize(("n", "replicates", "least"), [(10, 500, 0.004), (100, 40, 0.002)])
def test_a2_two_hundred_batches(
    side_by_side: History, diversity: Diversity, agrees: Agrees, n: int, replicates: int, least: float
) -> None:
    h = diversity(side_by_side(replicates, n, 199, regime="accumulate"))[-1]
    agrees(h, theory.accumulate(H0, n, 199), least)
    agrees(h / H0, theory.accumulate_limit(1, n), least + 1 / (n * 199))


def test_a2_replacing_for_as_long_leaves_little(
    side_by_side: History, diversity: Diversity, agrees: Agrees
) -> None:
    agrees(diversity(side_by_side(250, 100, 199)[-1]), 0.1273, 0.03)


@pytest.mark.parametrize(("n", "t", "replicates"), [(5, 4, 400), (10, 8, 200)])
def test_a_subsample_of_the_archive_lies_between(
    one_by_one: History, diversity: Diversity, agrees: Agrees, n: int, t: int, replicates: int
) -> None:
    h = diversity(one_by_one(replicates, n, t, regime="accumulate_subsample"))
    for generation in (1, 2, t):
        agrees(h[generation], theory.accumulate_subsample(H0, n, generation))


def test_a_subsample_of_the_archive_from_an_exact_base(
    one_by_one: History, diversity: Diversity, agrees: Agrees
) -> None:
    h = diversity(one_by_one(300, 4, 4, regime="accumulate_subsample", base=10**12))
    for t in (1, 2, 4):
        agrees(h[t], theory.accumulate_subsample(H0, 4, t, exact_base=True))


@pytest.mark.parametrize(("n", "real", "t", "replicates"), [(5, 1, 5, 300), (10, 3, 5, 200), (4, 2, 3, 300)])
@pytest.mark.parametrize("source", ["fresh", "static"])
def test_a4_real_data_hold_a_floor(
    one_by_one: History,
    diversity: Diversity,
    agrees: Agrees,
    n: int,
    real: int,
    t: int,
    replicates: int,
    source: str,
) -> None:
    closed = theory.fresh if source == "fresh" else theory.static
    h = diversity(one_by_one(replicates, n, t, real_fraction=real / n, real_source=source))
    for generation in (1, t):
        agrees(h[generation], closed(H0, n, real, generation))


@pytest.mark.parametrize(("real", "burn", "rounds"), [(5, 60, 200), (10, 40, 130), (50, 10, 50)])
def test_a4_floors_in_the_long_run(
    one_by_one: History, diversity: Diversity, agrees: Agrees, real: int, burn: int, rounds: int
) -> None:
    """12 lineages, each averaged over its rounds after `burn`: rounds of one lineage are no replicates."""
    h = diversity(one_by_one(12, 100, rounds, real_fraction=real / 100))
    agrees(h[burn:].mean(0), theory.fresh_floor(H0, 100, real), 0.002)


def test_a4_a_static_anchor_has_a_lower_floor(
    one_by_one: History, diversity: Diversity, agrees: Agrees
) -> None:
    h = diversity(one_by_one(16, 50, 120, real_fraction=0.2, real_source="static"))
    agrees(h[40:].mean(0), theory.static_floor(H0, 50, 10))


@pytest.mark.parametrize(("pool", "keep", "rounds"), [(8, 4, 4), (20, 10, 3), (6, 3, 2)])
def test_w12_random_selection_makes_the_population_smaller(
    one_by_one: History, diversity: Diversity, agrees: Agrees, pool: int, keep: int, rounds: int
) -> None:
    """What is drawn beyond what is kept does not matter: keep sets the pace, not pool."""
    h = diversity(one_by_one(500, keep, rounds, pool=pool, base=10**12))
    agrees(h[rounds], theory.replace(H0, keep, rounds, exact_base=True))


def absorbed(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First generation of each replicate that has one type only, and that type."""
    fixed = p.max(-1) == 1
    assert fixed[-1].all(), "not every replicate is absorbed; play more rounds"
    return fixed.argmax(0), p[-1].argmax(-1)


@pytest.mark.parametrize(
    ("n", "replicates", "rounds"), [(10, 2000, 110), pytest.param(50, 4000, 700, marks=pytest.mark.slow)]
)
def test_a7_a_type_fixes_as_often_as_its_share(
    side_by_side: History, agrees: Agrees, n: int, replicates: int, rounds: int
) -> None:
    """Two types of shares 0.8 and 0.2: Zipf with exponent 2."""
    p = side_by_side(replicates, n, rounds, base=10**12, world={"types": 2, "exponent": 2.0})
    _, winner = absorbed(p)
    agrees(winner.astype(float), 0.20, 0.0 if n == 10 else 0.025)


@pytest.mark.parametrize(
    ("n", "replicates", "rounds", "least"),
    [(10, 2000, 140, 0.0), pytest.param(50, 1000, 700, 4.0, marks=pytest.mark.slow)],
)
def test_a7_time_until_one_of_n_different_copies_is_left(
    side_by_side: History, agrees: Agrees, n: int, replicates: int, rounds: int, least: float
) -> None:
    time, _ = absorbed(side_by_side(replicates, n, rounds, base=10**12, world={"types": n}))
    agrees(time.astype(float), theory.fixation_time(n))
    assert theory.fixation_time(n) == pytest.approx(2 * (n - 1), rel=0.06)
    agrees(time.astype(float), 2.0 * (n - 1), max(least, 0.06 * 2 * (n - 1)))


def test_fixation_times_of_small_populations_by_hand() -> None:
    assert theory.fixation_time(1) == 0
    assert theory.fixation_time(2) == pytest.approx(2)
    two, all_three, one = 18 / 27, 6 / 27, 3 / 27  # parents of three copies of three
    assert one + two + all_three == pytest.approx(1)
    assert theory.fixation_time(3) == pytest.approx((1 + two * 3) / (1 - all_three))
