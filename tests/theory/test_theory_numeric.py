"""B12, B13, B15 and B16: loops over numbers, through the same round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from driftloop.evals import theory_numeric as theory
from driftloop.generators.models.gaussian import GaussianGenerator
from driftloop.generators.models.linear import LinearGenerator
from driftloop.generators.worlds import contexts
from driftloop.loop.compose import build
from driftloop.loop.phases import Trained
from driftloop.loop.round import Round, begin, play

Agrees = Callable[..., None]


def gaussian_arm(replicates: int, n: int, unbiased: bool) -> Any:
    """Each prompt is a loop of its own: n numbers a round, all kept, moments per prompt."""
    moments = {"kind": "moments", "unbiased": unbiased}
    return build(
        {
            "name": "theory",
            "world": {"kind": "gaussian", "contexts": replicates},
            "model": {"kind": "gaussian"},
            "base": {"samples": 2 * replicates, "retrain": moments},
            "retrain": moments,
            "select": {"kind": "all"},
            "loop": {"pool": n * replicates, "keep": n * replicates},
        }
    ).arms["default"]


def gaussian_loops(replicates: int, n: int, rounds: int, unbiased: bool = True) -> GaussianGenerator:
    one = gaussian_arm(replicates, n, unbiased)
    ones = np.ones(replicates)
    base = Trained(GaussianGenerator(contexts.names(replicates).to_list(), ones * 0, ones), {})
    past: tuple[Round, ...] = ()
    for _ in range(rounds):
        past = (*past, play(one, base, past, seed=0)._replace(pool=None, verdict=None, added=None, data=None))
    last: GaussianGenerator = past[-1].model.generator
    return last


def test_published_numbers_of_the_closed_forms() -> None:
    assert theory.mean_sd(50, 100) == pytest.approx(0.600, abs=0.001)
    assert theory.mean_log_variance(50, 100) == pytest.approx(-2.055, abs=0.001)
    assert theory.mean_variance(50, 100) == 2.0
    assert theory.regression_error(111, 10, 10) == pytest.approx(1.0)
    assert theory.regression_error(111, 10, 10, accumulate=True) == pytest.approx(0.155, abs=0.0005)
    assert theory.regression_error(111, 10, 10**4, accumulate=True) < 0.1 * np.pi**2 / 6
    assert theory.mixed_error(0.01, 1, 10**6, 100, 1) == pytest.approx(0.0002, rel=0.02)


@pytest.mark.parametrize(("n", "t"), [(5, 4), (20, 5)])
def test_a_gaussian_loop_forgets_its_variance(agrees: Agrees, n: int, t: int) -> None:
    last = gaussian_loops(2000, n, t)
    agrees(np.sqrt(last.variance), theory.mean_sd(n, t))
    agrees(np.log(last.variance), theory.mean_log_variance(n, t))
    agrees(last.variance, 1.0)
    agrees(last.mean**2, theory.mean_variance(n, t))
    agrees(gaussian_loops(2000, n, t, unbiased=False).variance, (1 - 1 / n) ** t)


@pytest.mark.slow
def test_b12_a_hundred_rounds_of_fifty_numbers(agrees: Agrees) -> None:
    """4,000 loops. The mean of the variance would hide the collapse that its median shows."""
    last = gaussian_loops(4000, 50, 100)
    agrees(np.sqrt(last.variance), 0.600, 0.02)
    agrees(np.log(last.variance), -2.055, 0.1)
    agrees(last.mean**2, 2.0, 0.15)
    assert np.median(last.variance) == pytest.approx(0.128, abs=0.02)


def regression_arm(seed: int, inputs: int, dimensions: int, *, noise: float = 1.0, **more: Any) -> Any:
    world = {
        "kind": "regression",
        "inputs": inputs,
        "dimensions": dimensions,
        "noise": noise,
        "design_seed": seed,
    }
    fit = {"kind": "least_squares"}
    tree = {
        "name": "theory",
        "world": world | more.pop("world", {}),
        "model": {"kind": "linear"},
        "base": {"samples": inputs, "retrain": fit},
        "retrain": fit,
        "select": more.pop("select", {"kind": "all"}),
        "loop": {"pool": inputs, "keep": inputs, **more},
    }
    return build(tree).arms["default"]


def errors(one: Any, base: Any, rounds: int, seed: int) -> list[float]:
    """|w' - w|^2 of each generation's model."""
    past: tuple[Round, ...] = ()
    for _ in range(rounds):
        past = (*past, play(one, base, past, seed=seed))
    models = [base, *(done.model for done in past)]
    return [float(((m.generator.weights - one.world.weights) ** 2).sum()) for m in models]


def relabelled(regime: str, replicates: int, inputs: int, dimensions: int, fits: int) -> np.ndarray:
    """Errors, shape (replicates, fits): every replicate has inputs of its own."""
    arms = [regression_arm(seed, inputs, dimensions, regime=regime) for seed in range(replicates)]
    return np.array([errors(one, begin(one, seed=seed), fits - 1, seed) for seed, one in enumerate(arms)])


def test_a_regression_on_its_own_labels(agrees: Agrees) -> None:
    for regime in ("replace", "accumulate"):
        found = relabelled(regime, 150, 30, 4, 4)
        for fits in (1, 2, 4):
            expected = theory.regression_error(30, 4, fits, accumulate=regime == "accumulate")
            agrees(found[:, fits - 1], expected)


@pytest.mark.slow
def test_b13_ten_fits_of_a_hundred_and_eleven_labels(agrees: Agrees) -> None:
    """300 loops each; replace grows by as much every round, accumulate never passes pi^2/6 of the first error."""
    replaced = relabelled("replace", 300, 111, 10, 10)
    agrees(replaced[:, -1], 1.00, 0.1)
    rounds, means = np.arange(1, 11), replaced.mean(0)
    assert np.corrcoef(rounds, means)[0, 1] ** 2 > 0.98
    kept = relabelled("accumulate", 300, 111, 10, 10)
    agrees(kept[:, -1], 0.155, 0.01)
    worst = kept.mean(0) - 4 * kept.std(0, ddof=1) / np.sqrt(300)
    assert (worst <= 0.1645).all()


def mixed(share: float, inputs: int, replicates: int, dimensions: int = 100) -> np.ndarray:
    """Errors of one round whose synthetic labels come from weights one unit away."""
    found = []
    for seed in range(replicates):
        one = regression_arm(seed, inputs, dimensions, noise=0.1, real_fraction=1 - share)
        wrong = LinearGenerator(one.world.design, one.world.weights + 1 / np.sqrt(dimensions), 0.1)
        found.append(errors(one, Trained(wrong, {}), 1, seed)[1])
    return np.array(found)


@pytest.mark.slow
def test_b15_a_fixed_synthetic_share_is_a_floor(agrees: Agrees) -> None:
    for share, inputs, replicates in ((0.1, 5_000, 16), (0.1, 40_000, 8), (0.2, 40_000, 8)):
        agrees(mixed(share, inputs, replicates), theory.mixed_error(share, 1.0, inputs, 100, 0.1))
    for share in (0.1, 0.5):  # d/T = 0.01, of which the form leaves out the square
        agrees(mixed(share, 1000, 200, 10), theory.mixed_error(share, 1.0, 1000, 10, 0.1))
    agrees(mixed(0.1, 40_000, 8), 0.01, 0.001)
    agrees(mixed(0.2, 40_000, 8), 0.04, 0.004)


def verified(
    offset: float, radius: float, start: float, rounds: int, *, inputs: int = 10_000
) -> tuple[Any, list[float]]:
    """A loop whose verifier keeps labels within `radius` of what it believes; w starts `start` on truth's far side."""
    verify = {"kind": "verify", "threshold": float(np.exp(-(radius**2) / 2))}
    one = regression_arm(0, inputs, 10, world={"offset": offset}, select=verify)
    away = one.world.weights - start / np.sqrt(10)
    return one, errors(one, Trained(LinearGenerator(one.world.design, away, 1.0), {}), rounds, 0)


@pytest.mark.slow
@pytest.mark.parametrize("radius", [0.7, 1.5])
def test_b16_a_biased_verifier_is_what_the_loop_converges_to(radius: float) -> None:
    """The error goes to offset^2, not to 0; strictness sets the pace alone, by the closed form."""
    offset, start = 0.5, 1.0
    one, found = verified(offset, radius, start, 30)
    # at the limit a weight's error is about sqrt(1 / kept) < 0.02, and 2 offset of it counts
    assert np.mean(found[-5:]) == pytest.approx(offset**2, abs=0.04)
    distance, expected = start + offset, [start**2]
    for _ in range(6):
        distance *= theory.verifier_pull(distance, radius)
        expected.append((distance - offset) ** 2)
    assert found[:7] == pytest.approx(expected, abs=0.06)
    assert min(found) < 0.1 < found[0]  # on its way to the verifier the loop passes near the truth
    assert one.world.offset == offset


@pytest.mark.slow
def test_b16_without_bias_the_loop_keeps_gaining() -> None:
    _, found = verified(0.0, 1.0, 1.0, 15)
    assert found[-1] < 0.01 < found[0]


def test_pulls_of_a_verifier_have_their_limits() -> None:
    assert theory.verifier_pull(0, 1e-3) == pytest.approx(0, abs=1e-5)
    assert theory.verifier_pull(0, 8) == pytest.approx(1, abs=1e-9)
    assert theory.verifier_pull(0, 1.0) == pytest.approx(0.2911, abs=1e-4)  # variance of a normal cut at 1
    assert theory.verifier_pull(1e-3, 1.0) == pytest.approx(theory.verifier_pull(0, 1.0), rel=1e-4)
    pulls = [theory.verifier_pull(0.5, r) for r in (0.3, 1.0, 2.0, 4.0)]
    assert pulls == sorted(pulls)
    assert pulls[-1] < 1
