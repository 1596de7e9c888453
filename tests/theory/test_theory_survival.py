"""Rare types: how long they live under replace and under fresh real data, and what a sample has not seen."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from driftloop.evals import theory_survival as theory

History = Callable[..., np.ndarray]
Agrees = Callable[..., None]


@pytest.mark.parametrize(("n", "t"), [(20, 1), (20, 5), (50, 10)])
def test_types_die_under_replace_as_the_chain_says(
    side_by_side: History, agrees: Agrees, n: int, t: int
) -> None:
    """All 20 types of a Zipf world at once: the number of the living is a sum of exact chances."""
    mass = np.arange(1, 21) ** -1.0
    mass /= mass.sum()
    p = side_by_side(1000, n, t, world={"exponent": 1.0})
    agrees((p[0] > 0).sum(-1), theory.types_alive(mass, n))
    agrees((p[t] > 0).sum(-1), sum(theory.alive(float(x), n, t) for x in mass))
    agrees((p[t, :, 19] > 0).astype(float), theory.alive(float(mass[19]), n, t))


@pytest.mark.parametrize(("n", "real", "t"), [(10, 2, 3), (20, 5, 5)])
def test_fresh_real_data_bring_types_back(
    one_by_one: History, agrees: Agrees, n: int, real: int, t: int
) -> None:
    p = one_by_one(300, n, t, real_fraction=real / n, world={"exponent": 1.0})
    mass = np.arange(1, 21) ** -1.0
    mass /= mass.sum()
    agrees((p[t] > 0).sum(-1), sum(theory.alive(float(x), n, t, real) for x in mass))


def test_one_round_is_a_binomial_and_no_round_too() -> None:
    assert theory.alive(0.03, 40, 0) == pytest.approx(1 - 0.97**40)
    assert theory.alive(0.03, 40, 7, real=40) == pytest.approx(1 - 0.97**40)
    assert theory.types_alive(np.array([0.03]), 40) == pytest.approx(1 - 0.97**40)


@pytest.mark.parametrize("expected", [0.5, 3.0])
def test_the_chain_tends_to_the_branching_forms_as_types_become_rare(expected: float) -> None:
    n = 1500
    for t in (1, 10, 30):
        assert theory.alive(expected / n, n, t) == pytest.approx(theory.rare_alive(expected, t), rel=0.02)
    for t in (1, 10, 100):
        exact = theory.alive(expected / n, n, t, real=150)
        assert exact == pytest.approx(theory.rare_alive_fresh(expected, 0.1, t), rel=0.02)
    assert theory.rare_alive_fresh(expected, 0.1, 400) == pytest.approx(
        theory.rare_alive_fresh(expected, 0.1)
    )
    assert theory.rare_alive_fresh(expected, 0.0, 9) == pytest.approx(theory.rare_alive(expected, 9))


@pytest.mark.parametrize("expected", [0.2, 2.0, 20.0])
def test_survival_lies_between_the_published_bounds(expected: float) -> None:
    for t in (1, 5, 20, 100):
        low, high = 1 - np.exp(-expected / (t + 1)), 1 - np.exp(-2 * expected / (t + 1))
        assert low <= theory.rare_alive(expected, t) <= high
        assert theory.rare_alive(expected, t) == pytest.approx(
            1 - np.exp(-2 * expected / (t + 2)), rel=0.1 if t > 4 else 0.3
        )


def test_missing_mass_is_what_a_tabular_model_has_not_met(one_by_one: History, agrees: Agrees) -> None:
    mass = np.arange(1, 1001) ** -2.0
    mass /= mass.sum()
    p = one_by_one(200, 100, 1, world={"types": 1000, "exponent": 2.0})
    for t, expected in enumerate(
        [theory.missing_mass(mass, 100), theory.missing_mass_of_second(mass, 100, 100)]
    ):
        agrees(((p[t] == 0) * mass).sum(-1), expected)


@pytest.mark.slow
def test_b15_more_samples_of_a_model_stop_helping(one_by_one: History, agrees: Agrees) -> None:
    """Zipf with exponent 2 over 200,000 types; the second generation never sees more than T0 real samples did."""
    world = {"types": 200_000, "exponent": 2.0}
    mass = np.arange(1, 200_001) ** -2.0
    mass /= mass.sum()
    sizes = [10**2, 10**3, 10**4, 10**5]
    clean = [theory.missing_mass(mass, n) for n in sizes]
    assert clean == pytest.approx([0.0688, 0.02184, 0.00691, 0.00218], abs=5e-5)
    slope = np.polyfit(np.log(sizes), np.log(clean), 1)[0]
    assert slope == pytest.approx(-0.5, abs=0.02)
    for first in (250, 1000, 4000):
        expected = theory.missing_mass_of_second(mass, first, 10**5)
        assert expected == pytest.approx(theory.missing_mass(mass, first), rel=1e-3)
    for n in (10**3, 10**4, 10**5):
        p = one_by_one(60, n, 1, base=1000, world=world)
        agrees(((p[1] == 0) * mass).sum(-1), theory.missing_mass_of_second(mass, 1000, n), 0.001)
        agrees(((p[0] == 0) * mass).sum(-1), theory.missing_mass(mass, 1000), 0.001)
    floors = [theory.missing_mass(mass, first) for first in (250, 1000, 4000)]
    assert floors[0] / floors[1] == pytest.approx(2, rel=0.02)  # ∝ T0^-1/2
    assert floors[1] / floors[2] == pytest.approx(2, rel=0.02)
