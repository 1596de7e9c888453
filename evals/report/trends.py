"""What happened to one headline metric in one arm, from generation 0 to the last."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl

from driftloop.evals.estimate import Estimate
from driftloop.evals.report.headlines import Headline
from driftloop.evals.report.records import Run
from driftloop.evals.significance import over_seeds

Direction = Literal["rose", "fell", "kept", "unclear", "moved", "unknown"]
MARGIN = {"difference": 0.05, "ratio": math.log(1.25)}  # a change inside it counts as "kept"
UNIT_MARGIN = {"share": 0.05}  # other units: 5 % of the first value


@dataclass(frozen=True)
class Trend:
    """Level at the start and the end, and the change between them, paired by seed."""

    arm: str
    headline: Headline
    start: Estimate
    end: Estimate
    change: Estimate  # on the headline's scale
    direction: Direction

    @property
    def better(self) -> bool | None:
        """Whether it clearly went the good way (None: unclear, kept, or neither way is good)."""
        wanted = {"up": "rose", "down": "fell"}.get(self.headline.term.better)
        return (self.direction == wanted) if wanted and self.direction in ("rose", "fell") else None


def by_seed(run: Run, headline: Headline, generation: int) -> dict[str, dict[int, float]]:
    """Value of a headline metric by arm and seed at one generation; NaN where it was not recorded."""
    rows = run.values(headline.stage, headline.metric).filter(pl.col("generation") == generation)
    found = {(arm, seed): value for arm, seed, value in rows.select("arm", "seed", "value").iter_rows()}
    return {arm: {seed: found.get((arm, seed), math.nan) for seed in run.seeds} for arm in run.arms}


def trends(run: Run, headline: Headline) -> dict[str, Trend]:
    """The trend of every arm."""
    first, last = by_seed(run, headline, 0), by_seed(run, headline, run.last)
    return {arm: _trend(arm, headline, first[arm], last[arm]) for arm in run.arms}


def _trend(arm: str, headline: Headline, first: dict[int, float], last: dict[int, float]) -> Trend:
    start, end = np.array(list(first.values())), np.array(list(last.values()))
    change = over_seeds(headline.judged(end) - headline.judged(start))
    level = over_seeds(start)
    return Trend(
        arm, headline, level, over_seeds(end), change, direction(change, margin(headline, level.value))
    )


def margin(headline: Headline, start: float) -> float:
    """The change that still counts as none: 0.05 (shares), a factor of 1.25 (counts), else 5 %."""
    if headline.scale == "ratio":
        return MARGIN["ratio"]
    return UNIT_MARGIN.get(headline.unit, 0.05 * abs(start) if math.isfinite(start) else 0.0)


def direction(change: Estimate, margin: float) -> Direction:
    """The word for a change: `kept` where its interval is inside the margin, `unclear` where it spans 0.

    `moved`: one seed, so there is no interval; `unknown`: not measured.
    """
    if not math.isfinite(change.value):
        return "unknown"
    if not math.isfinite(change.lo):
        return "moved"
    if -margin <= change.lo and change.hi <= margin:
        return "kept"
    if change.lo <= 0 <= change.hi:
        return "unclear"
    return "rose" if change.value > 0 else "fell"
