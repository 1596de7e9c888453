"""A11: the entropy that one small policy-gradient step costs is a covariance."""

from __future__ import annotations

import numpy as np
import pytest

from driftloop.evals.theory_gradient import entropy_slope

STEP = 1e-4


def entropy(logits: np.ndarray) -> float:
    p = np.exp(logits - logits.max())
    p /= p.sum()
    return -float(p @ np.log(p))


@pytest.mark.parametrize("natural", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_a11_the_step_of_a_softmax_bandit_changes_entropy_as_the_covariance_says(
    seed: int, natural: bool
) -> None:
    """8 arms: the expected gradient of E_p[A] in the logits, by central differences, against the closed form."""
    draw = np.random.default_rng(seed)
    logits, advantage = draw.standard_normal(8), draw.standard_normal(8)
    p = np.exp(logits) / np.exp(logits).sum()
    jacobian = np.diag(p) - np.outer(p, p)  # of p in the logits: the Fisher matrix too
    gradient = jacobian @ advantage
    step = np.linalg.pinv(jacobian) @ gradient if natural else gradient
    change = (entropy(logits + STEP * step) - entropy(logits)) / STEP
    slope = entropy_slope(p, advantage, natural=natural)
    assert change == pytest.approx(slope, rel=1e-3, abs=1e-4 * STEP)
    assert entropy_slope(p, advantage + 7, natural=natural) == pytest.approx(slope)


def test_the_covariance_form_with_the_plain_advantage_is_the_same_for_natural_gradients() -> None:
    """-Cov(ln p, p A) and -Cov(ln p, A) as published, for an advantage whose mean is 0."""
    draw = np.random.default_rng(3)
    p = draw.dirichlet(np.ones(8))
    advantage = draw.standard_normal(8)
    advantage -= p @ advantage

    def covariance(x: np.ndarray, y: np.ndarray) -> float:
        return float(p @ (x * y) - (p @ x) * (p @ y))

    assert entropy_slope(p, advantage) == pytest.approx(-covariance(np.log(p), p * advantage))
    assert entropy_slope(p, advantage, natural=True) == pytest.approx(-covariance(np.log(p), advantage))


def test_a_uniform_policy_has_no_first_order_entropy_change() -> None:
    assert entropy_slope(np.full(8, 1 / 8), np.arange(8.0)) == pytest.approx(0)
