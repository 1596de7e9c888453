"""Differences between arms, paired by seed: both share their random numbers, so that noise cancels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from driftloop.evals.estimate import Estimate
from driftloop.evals.report.headlines import Headline
from driftloop.evals.report.intervals import detectable, holm, over_seeds, p_value

Values = dict[str, dict[int, float]]  # arm -> seed -> value


@dataclass(frozen=True)
class Pair:
    """Arm `a` against arm `b` in one headline metric."""

    headline: Headline
    a: str
    b: str
    mean_a: float  # over the shared seeds
    mean_b: float
    difference: Estimate  # a - b on the headline's scale (ln ratio for counts)
    p: float
    p_holm: float  # over all pairs of this metric
    detectable: float  # the least true difference that this n would find with 80 % power

    @property
    def separated(self) -> bool:
        """Whether the interval excludes 0 and the Holm-adjusted p-value is below 0.05."""
        apart = self.difference.lo > 0 or self.difference.hi < 0
        return bool(apart and self.p_holm < 0.05)


def pairs(headline: Headline, values: Values) -> tuple[Pair, ...]:
    """Every pair of arms, in the order of `values`, over the seeds that both have."""
    names = list(combinations(values, 2))
    found = [_shared(values[a], values[b]) for a, b in names]
    gaps = [over_seeds(headline.judged(x) - headline.judged(y)) for x, y in found]
    p = np.array([p_value(gap) for gap in gaps])
    adjusted = holm(p)
    return tuple(
        Pair(
            headline,
            a,
            b,
            _mean(x),
            _mean(y),
            gap,
            float(p[i]),
            float(adjusted[i]),
            detectable(gap.stderr, gap.n),
        )
        for i, ((a, b), (x, y), gap) in enumerate(zip(names, found, gaps, strict=True))
    )


def _shared(a: dict[int, float], b: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    both = [seed for seed in a if seed in b and math.isfinite(a[seed]) and math.isfinite(b[seed])]
    return np.array([a[seed] for seed in both], float), np.array([b[seed] for seed in both], float)


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


@dataclass(frozen=True)
class Ranking:
    """The best arm by mean, which arms it is ahead of for certain, and from which it is not separated."""

    headline: Headline
    best: str
    level: float
    ahead: tuple[Pair, ...]  # turned so that `a` is the best
    tied: tuple[Pair, ...]


def ranking(headline: Headline, values: Values) -> Ranking | None:
    """Who leads; None where fewer than two arms were measured or neither direction is better."""
    means = {
        arm: _mean(np.array([v for v in seeds.values() if math.isfinite(v)])) for arm, seeds in values.items()
    }
    known = {arm: mean for arm, mean in means.items() if math.isfinite(mean)}
    if len(known) < 2 or headline.term.better == "neither":
        return None
    best = (max if headline.term.better == "up" else min)(known, key=known.__getitem__)
    against = [turned(pair, best) for pair in pairs(headline, values) if best in (pair.a, pair.b)]
    against = [pair for pair in against if pair.a in known and pair.b in known]
    ahead, tied = [p for p in against if p.separated], [p for p in against if not p.separated]
    return Ranking(headline, best, known[best], tuple(ahead), tuple(tied))


def turned(pair: Pair, first: str) -> Pair:
    """The same pair seen from arm `first`."""
    if pair.a == first:
        return pair
    gap = pair.difference
    mirrored = Estimate(-gap.value, gap.stderr, -gap.hi, -gap.lo, gap.n)
    means = (pair.mean_b, pair.mean_a)
    return Pair(pair.headline, pair.b, pair.a, *means, mirrored, pair.p, pair.p_holm, pair.detectable)
