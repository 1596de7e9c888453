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
    by_right = chance.sum(1)[1:]
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
    g, b = np.meshgrid(np.arange(keep + 1), np.arange(keep + 1), indexing="ij")
    loss = [np.where(x > 0, 1 - 1 / np.maximum(x, 1), 0.0) for x in (g, b)]
    shares = [x / np.maximum(g + b, 1) for x in (g, b)]
    first = _kept(pool, keep, share, phi, psi)
    idle, begun = first[0, 0], np.where(g + b > 0, first, 0.0)
    kernel = {x: _kept(pool, keep, x, phi, psi) for x in np.unique(shares[0])}
    waiting, chance, lines = 1.0, np.zeros_like(first), []
    held = [chance, chance]
    for _ in range(rounds):
        chance, held = _step(chance, held, kernel, shares[0], loss)
        chance = chance + waiting * begun
        held = [x + waiting * h * begun * gain for x, h, gain in zip(held, (right, wrong), loss, strict=True)]
        waiting *= idle
        unmoved = np.array([share, share**2 * (1 - right) + (1 - share) ** 2 * (1 - wrong), right])
        lines.append(_expect(chance, held, *shares) + waiting * unmoved)
    right_share, collision, differ = np.array(lines).T
    return Course(right_share, 1 - collision, differ)


def _kept(pool: int, keep: int, share: float, phi: float, psi: float) -> np.ndarray:
    """Probability of g right and b wrong copies kept, shape (keep + 1, keep + 1), indexed [g, b]."""
    passing = share * phi + (1 - share) * psi
    total = binom.pmf(np.arange(keep + 1), pool, passing)
    total[keep] = binom.sf(keep - 1, pool, passing)
    tilted = share * phi / passing if passing > 0 else 0.0
    g, b = np.meshgrid(np.arange(keep + 1), np.arange(keep + 1), indexing="ij")
    inside = g + b <= keep
    both = np.where(inside, g + b, 0)
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


def _expect(chance: np.ndarray, held: list[np.ndarray], right: np.ndarray, wrong: np.ndarray) -> np.ndarray:
    """Expected right share, sum p^2, and H within the right ones, of the loops that have begun."""
    same = right**2 * (chance - held[0]) + wrong**2 * (chance - held[1])
    return np.array([(chance * right).sum(), same.sum(), held[0].sum()])
