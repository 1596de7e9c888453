"""A5, A8, A9 and the effective population size under a verifier that errs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest

from driftloop.evals import theory_drift
from driftloop.evals import theory_verification as theory
from driftloop.generators.models.categorical import Strings, TabularGenerator
from driftloop.loop.compose import build
from driftloop.loop.phases import Trained
from driftloop.loop.round import Round, begin, play

History = Callable[..., np.ndarray]
Diversity = Callable[[np.ndarray], np.ndarray]
Agrees = Callable[..., None]
COUNTS = {"kind": "counts"}


def tree(types: int, pool: int, select: dict[str, Any], world: dict[str, Any], **more: Any) -> Any:
    """One arm of a loop without prompts."""
    settings = {
        "name": "theory",
        "world": {"kind": "categorical", "types": types, **world},
        "model": {"kind": "categorical"},
        "base": {"samples": 10**12, "retrain": COUNTS},
        "retrain": COUNTS,
        "select": select,
        "loop": {"generations": 1, "mode": "propose", "pool": pool, "keep": pool},
        **more,
    }
    return build(settings).arms["default"]


def models(one: Any, base: Any, rounds: int) -> list[np.ndarray]:
    """Probabilities of each generation's model."""
    past: tuple[Round, ...] = ()
    for _ in range(rounds):
        past = (*past, play(one, base, past, seed=0))
    weights = [m.generator.weights for m in (base, *(done.model for done in past))]
    return [w / w.sum() for w in weights]


def test_a8_the_odds_of_right_samples_triple_every_round() -> None:
    """10^8 draws a round: the standard error of a share is 5e-5."""
    one = tree(20, 10**8, {"kind": "noisy_verify", "phi": 0.9, "psi": 0.3}, {"right": 0.2})
    shares = [float(p[:4].sum()) for p in models(one, begin(one, seed=0), 3)]
    expected = [theory.odds_law(0.2, 0.9, 0.3, t) for t in range(4)]
    assert expected[1:] == pytest.approx([0.4286, 0.6923, 0.8710], abs=5e-5)
    assert shares == pytest.approx(expected, abs=4 * 1e-4)


@pytest.mark.parametrize(("phi", "psi"), [(0.9, 0.3), (0.5, 0.8)])
def test_a8_one_round_helps_the_majority_up_to_the_break_even(phi: float, psi: float) -> None:
    """With infinite data a learner answers by the majority of the verified labels (50 types, each 2 % of labels)."""
    threshold = theory.break_even(phi, psi)
    for wrong in (threshold - 0.02, threshold + 0.02):
        one = tree(
            50,
            10**8,
            {"kind": "noisy_verify", "phi": phi, "psi": psi},
            {"right": round(50 * (1 - wrong)) / 50},
        )
        right = round(50 * (1 - wrong))
        kept = float(models(one, begin(one, seed=0), 1)[1][:right].sum())
        assert (kept > 0.5) == (1 - right / 50 < threshold)


def classifier_accuracy(wrong: float, n: int, d: int, seed: int) -> float:
    """Least squares on the labels that a (0.9, 0.3) verifier keeps of n noisy ones in d dimensions."""
    draw = np.random.default_rng(seed)
    x, truth = draw.standard_normal((n, d)), draw.standard_normal(d)
    label = np.sign(x @ truth)
    shown = np.where(draw.random(n) < wrong, -label, label)
    kept = draw.random(n) < np.where(shown == label, 0.9, 0.3)
    weights, *_ = np.linalg.lstsq(x[kept], shown[kept], rcond=None)
    angle = np.arccos(weights @ truth / np.linalg.norm(weights) / np.linalg.norm(truth))
    return float(1 - angle / np.pi)


def test_a8_a_linear_classifier_flips_at_the_break_even() -> None:
    """d = 20, 40,000 labels (arXiv 2406.07515): right below 0.75, wrong above."""
    assert theory.break_even(0.9, 0.3) == pytest.approx(0.75)
    below = [classifier_accuracy(0.70, 40_000, 20, seed) for seed in range(5)]
    above = [classifier_accuracy(0.78, 40_000, 20, seed) for seed in range(5)]
    assert min(below) > 0.85
    assert max(above) < 0.25


def tempered(p: list[float], temperature: float, n: int, rounds: int) -> list[np.ndarray]:
    one = tree(len(p), n, {"kind": "all"}, {}, sampling={"temperature": temperature})
    names = [f"{i}" for i in range(len(p))]
    strings = Strings(pl.DataFrame({"prompt": "", "response": names}))
    return models(one, Trained(TabularGenerator(strings, np.array(p)), {}), rounds)


def test_a9_a_low_temperature_sharpens_geometrically() -> None:
    start = [0.5, 0.3, 0.2]
    expected = theory.sharpened(np.array(start), 0.7, 5)
    assert expected == pytest.approx([0.9505, 0.0455, 0.0041], abs=1e-4)
    assert tempered(start, 0.7, 10**6, 5)[5] == pytest.approx(expected, abs=0.005)
    assert tempered(start, 0.7, 10**12, 5)[5] == pytest.approx(expected, abs=2e-5)


def test_a9_temperature_1_changes_nothing_and_heat_flattens() -> None:
    start = [0.5, 0.3, 0.2]
    assert tempered(start, 1.0, 10**12, 5)[5] == pytest.approx(start, abs=1e-5)
    h = [1 - float((p**2).sum()) for p in tempered(start, 1.5, 10**12, 5)]
    assert all(after > before for before, after in pairwise(h))
    assert tempered(start, 1.5, 10**12, 5)[5] == pytest.approx(
        theory.sharpened(np.array(start), 1.5, 5), abs=1e-5
    )


@pytest.mark.parametrize(("n", "t", "replicates"), [(100, 50, 500), (10, 8, 2000)])
def test_a5_independent_lineages_drift_apart_but_overlap_as_ever(
    side_by_side: History, diversity: Diversity, agrees: Agrees, n: int, t: int, replicates: int
) -> None:
    """Every replicate under one seed is paired with every one under the other: the overlap of the two means.

    Its standard error is about sqrt(20) 0.05 F_ST / replicates: 2e-4 and 6e-5.
    """
    one, other = (side_by_side(replicates, n, t, seed=s, base=10**12)[t] for s in (0, 1))
    assert one.mean(0) @ other.mean(0) == pytest.approx(0.05, abs=0.001)
    # F_ST = (H between - H within) / H between, and H between is 0.95 to four digits
    expected = theory_drift.differentiation(n, t, exact_base=True)
    agrees(1 - diversity(np.concatenate([one, other])) / 0.95, expected, 0.02 if n == 100 else 0.0)


def test_a5_a_shared_selector_makes_a_hivemind(side_by_side: History) -> None:
    """Right types are half of 20: both lineages end on the same ten, whose uniform overlap is 0.1."""
    select = {"kind": "noisy_verify", "phi": 1.0, "psi": 0.5}
    one, other = (
        side_by_side(500, 100, 50, seed=s, base=10**12, select=select, world={"right": 0.5}) for s in (0, 1)
    )
    overlap = [float(a.mean(0) @ b.mean(0)) for a, b in zip(one, other, strict=True)]
    assert overlap[0] == pytest.approx(0.05, abs=1e-4)
    assert overlap[50] >= 0.095
    assert overlap[50] == pytest.approx(0.1, abs=0.001)


@pytest.mark.parametrize(
    ("n", "phi", "psi", "share"),
    [(8, 0.5, 0.5, 0.5), (3, 0.5, 0.2, 0.5), (12, 0.9, 0.3, 0.25), (10, 0.3, 0.8, 0.5)],
)
def test_without_a_budget_the_verifiers_rates_set_the_population(
    side_by_side: History, diversity: Diversity, agrees: Agrees, n: int, phi: float, psi: float, share: float
) -> None:
    """All that passes is kept: the kept number is binomial, loops stay independent, a round of nothing changes nothing."""
    rounds, right = 3, round(20 * share)
    p = side_by_side(
        4000,
        n,
        rounds,
        base=10**12,
        select={"kind": "noisy_verify", "phi": phi, "psi": psi},
        world={"right": share},
    )
    kinds = {"right": 1 - 1 / right, "wrong": 1 - 1 / (20 - right)}
    expected = theory.course(rounds, n, n, phi, psi, share=share, **kinds)
    for t in range(1, rounds + 1):
        agrees(p[t, :, :right].sum(-1), expected.right[t - 1])
        agrees(diversity(p[t]), expected.heterozygosity[t - 1])
        agrees(within(p[t, :, :right]), expected.within_right[t - 1])


def within(p: np.ndarray) -> np.ndarray:
    """Probability that two right copies differ, 0 where there is none."""
    total = p.sum(-1, keepdims=True)
    share = np.divide(p, total, out=np.zeros_like(p), where=total > 0)
    return np.asarray(np.where(total[..., 0] > 0, 1 - (share**2).sum(-1), 0.0))


@pytest.mark.parametrize(
    ("pool", "keep", "phi", "psi", "share"), [(40, 5, 0.9, 0.3, 0.5), (20, 6, 0.8, 0.2, 0.5)]
)
def test_with_a_budget_the_smaller_of_budget_and_passing_counts(
    one_by_one: History,
    diversity: Diversity,
    agrees: Agrees,
    pool: int,
    keep: int,
    phi: float,
    psi: float,
    share: float,
) -> None:
    right = round(20 * share)
    select = {"kind": "noisy_verify", "phi": phi, "psi": psi}
    p = one_by_one(500, keep, 3, pool=pool, base=10**12, select=select, world={"right": share})
    kinds = {"right": 1 - 1 / right, "wrong": 1 - 1 / (20 - right)}
    expected = theory.course(3, pool, keep, phi, psi, share=share, **kinds)
    for t in (1, 3):
        agrees(p[t, :, :right].sum(-1), expected.right[t - 1])
        agrees(diversity(p[t]), expected.heterozygosity[t - 1])
        agrees(within(p[t, :, :right]), expected.within_right[t - 1])


def test_limits_of_the_effective_population_size() -> None:
    size = theory.effective_population
    assert size(1000, 20, 1.0, 0.0) == pytest.approx(20)
    assert size(1000, 20, 0.9, 0.0, 0.5) == pytest.approx(20)  # enough pass, and all of them are right
    assert size(50, 100, 1.0, 1.0) == pytest.approx(50)
    assert size(10**4, 100, 0.6, 0.2, 0.5) == pytest.approx(100 * 0.75, rel=0.01)  # keep · share phi / a
    assert size(200, 200, 0.5, 0.5) == pytest.approx(100, rel=0.02)  # pool · a
    one = theory.course(1, 1000, 20, 0.9, 0.3, share=0.5, right=0.9, wrong=0.9).within_right[0]
    assert one == pytest.approx(0.9 * (1 - 1 / size(1000, 20, 0.9, 0.3, 0.5)), rel=1e-4)


def test_a_verifier_that_passes_all_leaves_plain_drift() -> None:
    expected = theory.course(4, 10, 10, 1.0, 1.0, share=0.5, right=0.9, wrong=0.9)
    drift = [theory_drift.replace(0.95, 10, t) for t in range(4)]
    assert expected.heterozygosity == pytest.approx(drift)
    assert expected.right == pytest.approx([0.5] * 4)
