"""Differences between arms, paired by seed: both share their random numbers, so that noise cancels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import polars as pl

from driftloop.evals.estimate import Estimate
from driftloop.evals.report.headlines import Headline
from driftloop.evals.significance import compare

FLOOR = 0.02  # share of right answers
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
    p_holm: float  # over all pairs of this metric
    separated: bool  # the interval excludes 0 and p_holm is below 0.05
    detectable: float  # the least true difference that this n would find with 80 % power


def pairs(headline: Headline, values: Values) -> tuple[Pair, ...]:
    """Every pair of arms, in the order of `values`, over the seeds that both have."""
    rows = [(arm, seed, value) for arm, seeds in values.items() for seed, value in seeds.items()]
    frame = pl.DataFrame(rows, schema={"arm": pl.String, "seed": pl.Int64, "value": pl.Float64}, orient="row")
    judged = pl.Series("value", headline.judged(frame["value"].to_numpy()))
    where = [pl.lit(headline.metric).alias("metric"), pl.lit(headline.stage).alias("stage")]
    compared = compare(
        frame.with_columns(judged, *where, pl.lit(0).alias("generation")), headline.metric, headline.stage
    )
    found = {(row["a"], row["b"]): _pair(headline, row, values) for row in compared.iter_rows(named=True)}
    names = combinations(values, 2)
    return tuple(found[a, b] if (a, b) in found else turned(found[b, a], a) for a, b in names)


def _pair(headline: Headline, row: dict[str, Any], values: Values) -> Pair:
    a, b = row["a"], row["b"]
    both = [s for s in values[a] if math.isfinite(values[a][s]) and math.isfinite(values[b].get(s, math.nan))]
    means = [_mean(np.array([values[arm][seed] for seed in both])) for arm in (a, b)]
    gap = Estimate(row["difference"], math.nan, row["lo"], row["hi"], row["n"])
    separated = row["verdict"] != "not separated"
    return Pair(headline, a, b, means[0], means[1], gap, row["p_holm"], separated, row["detectable"])


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

    @property
    def floor(self) -> bool:
        """Whether even the best accuracy is so low that arms cannot be told apart by it."""
        return self.headline.unit == "share" and self.headline.term.better == "up" and self.level < FLOOR


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
    return replace(pair, a=pair.b, b=pair.a, mean_a=pair.mean_b, mean_b=pair.mean_a, difference=mirrored)
