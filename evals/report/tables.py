"""The tables of the report, as text cells that the page and the Markdown twin both print."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from driftloop.evals.report.headlines import headlines
from driftloop.evals.report.paired import Pair, pairs
from driftloop.evals.report.records import Run
from driftloop.evals.report.settings import NAMED, brief, differing, named, of_arm
from driftloop.evals.report.trends import by_seed, trends
from driftloop.evals.report.wording import change, factor, level, number, probability

WORDS = {
    "rose": "rose",
    "fell": "fell",
    "kept": "kept",
    "unclear": "not clear",
    "moved": "one seed",
    "unknown": "not measured",
}


@dataclass(frozen=True)
class Table:
    """A table of text; a cell of the column `arm` gets the arm's colour."""

    title: str
    note: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1  # leading columns that hold words; the others are figures


def settings_table(run: Run) -> Table:
    """Which arm played with what: the settings that every report names, then those that differ."""
    more = [key for key in differing(run) if key not in NAMED.values()]
    rows = [
        (arm, *named(run, arm).values(), *[of_arm(run, arm).get(key, "–") for key in more])
        for arm in run.arms
    ]
    note = (
        "The arms differ in "
        + (", ".join(differing(run)) or "nothing that was recorded")
        + "; all else is the same."
    )
    return Table(
        "Settings of the arms", note, ("arm", *NAMED, *more), tuple(rows), left=1 + len(NAMED) + len(more)
    )


def arm_table(run: Run) -> Table:
    """Every headline metric of every arm: generation 0, the last, and the change with its interval."""
    rows = [
        (
            h.title,
            arm,
            brief(run, arm),
            h.unit,
            level(t.start),
            level(t.end),
            change(t.change, h.scale),
            WORDS[t.direction],
            str(t.change.n),
        )
        for h in headlines(run)
        for arm, t in trends(run, h).items()
    ]
    header = (
        "measure",
        "arm",
        "regime, start",
        "unit",
        "generation 0",
        f"generation {run.last}",
        "change",
        "verdict",
        "seeds",
    )
    note = (
        "± and [ ] are 95 % intervals of the mean over seeds. Counts change by factors (×, ÷), all else by "
        "differences."
    )
    return Table("What changed in each arm", note, header, tuple(rows), left=4)


def pair_table(run: Run) -> Table:
    """Paired differences between arms at the last generation, Holm-adjusted within each measure."""
    found = [p for h in headlines(run) for p in pairs(h, by_seed(run, h, run.last))]
    header = (
        "measure",
        "arm",
        "against",
        "value",
        "other value",
        "difference",
        "p (Holm)",
        "separated",
        "detectable",
        "seeds",
    )
    note = (
        "Paired by seed: both arms of a seed share their random numbers. Separated: the interval excludes "
        "zero and p, adjusted for all pairs of the measure (Holm), is below 0.05. Detectable: the least "
        "true difference that this many seeds would find in 4 of 5 repetitions."
    )
    return Table(
        f"Differences between arms at generation {run.last}",
        note,
        header,
        tuple(map(pair_row, found)),
        left=3,
    )


def pair_row(pair: Pair) -> tuple[str, ...]:
    """One pair as text cells."""
    least = factor(pair.detectable) if pair.headline.scale == "ratio" else number(pair.detectable)
    return (
        pair.headline.title, pair.a, pair.b, number(pair.mean_a), number(pair.mean_b),
        change(pair.difference, pair.headline.scale),
        probability(pair.p_holm),
        "yes" if pair.separated else "no", least, str(pair.difference.n),
    )  # fmt: skip


def drop_table(run: Run) -> Table | None:
    """Why samples were not kept: share of the pool per reason, first and last round, mean over seeds."""
    reasons = sorted(
        m
        for s, m in run.units
        if s == "loop" and m.startswith(("loop/dropped/", "loop/acceptance", "loop/ood_share"))
    )
    rows = [(arm, *[_first_last(run, arm, reason) for reason in reasons]) for arm in run.arms]
    names = [reason.removeprefix("loop/").removeprefix("dropped/").replace("_", " ") for reason in reasons]
    note = (
        "Share of the pool in the first round → in the last round, mean over seeds. “acceptance” is what was "
        "kept; “ood share” is what strayed into held-out regions."
    )
    return Table("What selection kept and dropped", note, ("arm", *names), tuple(rows)) if reasons else None


def _first_last(run: Run, arm: str, metric: str) -> str:
    rows = run.values("loop", metric)
    means = (
        rows.filter(rows["arm"] == arm)
        .group_by("generation")
        .agg(pl.col("value").mean())
        .sort("generation")["value"]
        .to_list()
    )
    return f"{number(means[0])} → {number(means[-1])}" if means else "–"
