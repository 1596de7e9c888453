"""Closed forms of a tabular loop: expected heterozygosity H = 1 - sum p^2 of the model, by regime.

n copies are trained on per round, h0 is H of the truth, and the base model is trained on n real copies, or equals the
truth (`exact_base`); generation t is the model after t rounds. All are exact for model `categorical` with retrainer
`counts`. Derivations: docs/theory.md.
"""

from __future__ import annotations

import math

import numpy as np


def replace(h0: float, n: int, t: int, *, exact_base: bool = False) -> float:
    """Wright-Fisher: each of the t + 1 resamplings, the base's included, loses 1/n of H."""
    return h0 * (1 - 1 / n) ** (t + (not exact_base))


def accumulate(h0: float, n: int, t: int, *, exact_base: bool = False) -> float:
    """All batches so far, the real one included: model t holds t + 1 of them, and batch i costs 1/(n i^2) of H.

    From an exact base the second batch is as real as the first.
    """
    if exact_base and t == 0:
        return h0
    first = 1 - 1 / (2 * n) if exact_base else 1 - 1 / n
    batches = np.arange(3 if exact_base else 2, t + 2, dtype=float)
    return h0 * first * float(np.prod(1 - 1 / (n * batches**2)))


def accumulate_limit(h0: float, n: int) -> float:
    """What accumulation keeps for ever: h0 sin(x)/x with x = pi / sqrt(n)."""
    x = math.pi / math.sqrt(n)
    return h0 * math.sin(x) / x


def accumulate_subsample(h0: float, n: int, t: int, *, exact_base: bool = False) -> float:
    """n copies drawn without replacement from all t + 1 batches: drift of the model, not only of the archive.

    H_t = h0 (1 - 1/n) prod over batches i = 2..t+1 of 1 - (3n - 1) / (in (in - 1)); from i = 3 with an exact base.
    """
    if exact_base and t == 0:
        return h0
    archive = n * np.arange(3 if exact_base else 2, t + 2, dtype=float)
    return h0 * (1 - 1 / n) * float(np.prod(1 - (3 * n - 1) / (archive * (archive - 1))))


def fresh_floor(h0: float, n: int, real: int) -> float:
    """Where H settles when `real` of n copies are fresh real ones each round (0 where none are)."""
    r, s = real / n, 1 - real / n
    return h0 * (1 - s**2 - r / n) / (1 - s**2 + s / n)


def fresh(h0: float, n: int, real: int, t: int, *, exact_base: bool = False) -> float:
    """On the way there: the distance to the floor shrinks by s^2 - s/n a round, s the synthetic share."""
    s = 1 - real / n
    start, floor = replace(h0, n, 0, exact_base=exact_base), fresh_floor(h0, n, real)
    return floor + (start - floor) * (s**2 - s / n) ** t


def fresh_independent(h0: float, n: int, share: float) -> float:
    """The same floor where every copy is real with probability `share`, so that their number varies."""
    j0, keep = 1 - h0, (1 - 1 / n) * (1 - share) ** 2
    return 1 - (1 / n + (1 - 1 / n) * (2 * share - share**2) * j0) / (1 - keep)


def static_floor(h0: float, n: int, real: int) -> float:
    """Where H settles when the same `real` real copies come back each round: below the anchor's own H, h0 (1 - 1/real)."""
    if real == 0:
        return 0.0
    s = 1 - real / n
    return h0 * (1 - 1 / real) * (1 - s**2) / (1 - s**2 + s / n)


def static(h0: float, n: int, real: int, t: int, *, exact_base: bool = False) -> float:
    """On the way there, from a base trained on n other real copies.

    Collision with the anchor, C, and of the model, J, start apart from each other and follow
    C' = r Q + s C and J' = r^2 Q + 2 r s C + s/n + (s^2 - s/n) J, with Q = 1 - h0 (1 - 1/real).
    """
    r, s = real / n, 1 - real / n
    anchor = 1 - h0 * (1 - 1 / real)
    cross, own = 1 - h0, 1 - replace(h0, n, 0, exact_base=exact_base)
    for _ in range(t):
        own = r**2 * anchor + 2 * r * s * cross + s / n + (s**2 - s / n) * own
        cross = r * anchor + s * cross
    return 1 - own


def differentiation(n: int, t: int, *, exact_base: bool = False) -> float:
    """F_ST of independent lineages that replace: their overlap sum p q stays at 1 - h0 while each drifts."""
    return 1 - (1 - 1 / n) ** (t + (not exact_base))


def fixation_time(n: int) -> float:
    """Expected rounds until n different copies have one ancestor, exactly; about 2 (n - 1).

    k copies have j parents with probability (ways to share k among j) n! / (n - j)! / n^k.
    """
    left = np.zeros(n + 1)
    parents = np.zeros(n + 1)
    parents[0] = 1.0
    for k in range(1, n + 1):
        parents = _one_more(parents, n)
        if k > 1:
            left[k] = (1 + parents[1:k] @ left[1:k]) / (1 - parents[k])
    return float(left[n])


def _one_more(parents: np.ndarray, n: int) -> np.ndarray:
    """The distribution of the number of distinct parents when one more copy picks its own among n."""
    j = np.arange(n + 1)
    same = parents * j / n
    new = np.concatenate([[0.0], (parents * (n - j) / n)[:-1]])
    return np.asarray(same + new)
