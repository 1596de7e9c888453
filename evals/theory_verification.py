"""Closed forms of selection by a verifier that errs: who wins, and how fast diversity goes meanwhile.

phi and psi are the rates at which right and wrong copies pass. Derivations: docs/theory.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import binom


class Course(NamedTuple):
    """Expectations after each round, shape (rounds,)."""

    right: np.ndarray  # share of right copies
    heterozygosity: np.ndarray  # H = 1 - sum p^2 over all types
    within_right: np.ndarray  # probability that two right copies differ, 0 where none is left


def odds_law(share: float, phi: float, psi: float, rounds: int) -> float:
    """Right share after so many rounds of many samples: its odds grow by phi/psi a round."""
    odds = share / (1 - share) * (phi / psi) ** rounds
    return odds / (1 + odds)


def break_even(phi: float, psi: float) -> float:
    """The wrong share below which verified data have a right majority: 1 / (1 + psi/phi) (arXiv 2406.07515)."""
    return 1 / (1 + psi / phi)


def sharpened(p: np.ndarray, temperature: float, rounds: int) -> np.ndarray:
    """Many samples at a temperature, trained on at each round: p^((1/temperature)^rounds), normalised."""
    raised = np.log(p) * temperature**-rounds
    mass = np.exp(raised - raised.max())
    return np.asarray(mass / mass.sum())


def effective_population(pool: int, keep: int, phi: float, psi: float, share: float = 1.0) -> float:
    """The n of a plain resampling loop that loses as much of the diversity among right copies in a round.

    1 / E[1/G], G the right copies kept: K = min(keep, Bin(pool, a)) with a = share phi + (1 - share) psi pass and are
    kept, and each of them is right with probability share phi / a. Rounds that keep no right copy are left out.
    """
    chance = _kept(pool, keep, share, phi, psi)
    g = np.arange(1, keep + 1)
    by_right = np.array([chance[:, row].sum() for row in range(1, keep + 1)])
    return float(by_right.sum() / (by_right / g).sum())


def course(
    rounds: int, pool: int, keep: int, phi: float, psi: float, *, share: float, right: float, wrong: float
) -> Course:
    """Exact expectations of a loop under `noisy_verify`, from a base model that equals the truth.

    Right and wrong copies kept are a Markov chain; given it, H among the right ones loses 1/G and among the wrong
    ones 1/B a round. A round of which nothing passes leaves everything as it was.

    Args:
        rounds: how many.
        pool: copies drawn per round.
        keep: most copies kept; the cost grows with its fourth power.
        phi: pass rate of right copies.
        psi: pass rate of wrong copies.
        share: right share of the truth.
        right: probability that two right copies of the truth differ.
        wrong: the same of wrong ones.
    """
    size = keep + 1
    g, b = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    first = _kept(pool, keep, share, phi, psi).T
    chance, loss = first, [np.where(x > 0, 1 - 1 / np.maximum(x, 1), 0.0) for x in (g, b)]
    held = [h * first * gain for h, gain in zip((right, wrong), loss, strict=True)]
    if first[0, 0] > 1e-9:
        raise ValueError(
            f"the first of these rounds keeps nothing with chance {first[0, 0]:.1g}; draw a larger pool"
        )
    total = np.maximum(g + b, 1)
    kernel = {x: _kept(pool, keep, x, phi, psi).T for x in np.unique(g / total)}
    lines = [_expect(chance, held, g / total, b / total)]
    for _ in range(rounds - 1):
        chance, held = _step(chance, held, kernel, g / total, loss)
        lines.append(_expect(chance, held, g / total, b / total))
    return Course(*np.array(lines).T)


def _kept(pool: int, keep: int, share: float, phi: float, psi: float) -> np.ndarray:
    """Probability of b wrong and g right copies kept, shape (keep + 1, keep + 1), indexed [b, g]."""
    passing = share * phi + (1 - share) * psi
    total = binom.pmf(np.arange(keep + 1), pool, passing)
    total[keep] = binom.sf(keep - 1, pool, passing)
    tilted = share * phi / passing if passing > 0 else 0.0
    b, g = np.meshgrid(np.arange(keep + 1), np.arange(keep + 1), indexing="ij")
    inside = b + g <= keep
    both = np.where(inside, b + g, 0)
    return np.where(inside, total[both] * binom.pmf(g, both, tilted), 0.0)


def _step(
    chance: np.ndarray,
    held: list[np.ndarray],
    kernel: dict[float, np.ndarray],
    share: np.ndarray,
    loss: list[np.ndarray],
) -> tuple[np.ndarray, list[np.ndarray]]:
    """One round: states of one right share go to the same distribution of states; H shrinks on arrival."""
    after, after_held = np.zeros_like(chance), [np.zeros_like(chance) for _ in held]
    for x, move in kernel.items():
        here = share == x
        stay = move[0, 0]
        moved = move.copy()
        moved[0, 0] = 0.0
        after += chance[here].sum() * moved + np.where(here, stay * chance, 0.0)
        for new, old, gain in zip(after_held, held, loss, strict=True):
            new += old[here].sum() * moved * gain + np.where(here, stay * old, 0.0)
    return after, after_held


def _expect(
    chance: np.ndarray, held: list[np.ndarray], right: np.ndarray, wrong: np.ndarray
) -> tuple[float, float, float]:
    """Expected right share, H, and H within the right ones."""
    same = right**2 * (chance - held[0]) + wrong**2 * (chance - held[1])
    return float((chance * right).sum()), 1 - float(same.sum()), float(held[0].sum())
