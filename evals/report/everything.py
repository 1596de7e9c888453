"""Tables of what has no panel of its own: every measure from first to last, and the effective population size."""

from __future__ import annotations

import polars as pl

from driftloop.evals.report.glossary import explained, term
from driftloop.evals.report.records import Run
from driftloop.evals.report.tables import Table
from driftloop.evals.report.wording import level, number
from driftloop.evals.significance import over_seeds

STAGES = ("test", "model", "loop")
ELSEWHERE = ("cost/", "attribution/", "loop/dropped/", "loop/acceptance", "loop/effective_population")


def everything(run: Run) -> Table:
    """Every measure of every arm, mean over seeds, first generation -> last one in which it was taken."""
    rows = run.metrics.filter(pl.col("value").is_finite(), pl.col("generation") <= run.last)
    means = (
        rows.group_by("stage", "metric", "arm", "generation").agg(pl.col("value").mean()).sort("generation")
    )
    ends = means.group_by("stage", "metric", "arm").agg(
        pl.col("value").first().alias("first"), pl.col("value").last().alias("last")
    )
    known = {(s, m, a): f"{number(x)} → {number(y)}" for s, m, a, x, y in ends.iter_rows()}
    wanted = [(s, m) for s, m in sorted(run.units) if s in STAGES and not m.startswith(ELSEWHERE)]
    lines = [
        (
            term(m).title(m) + " (descriptive)" * (explained(m) is not term(m)),
            term(m).better,
            s,
            run.units[s, m],
            *[known.get((s, m, arm), "–") for arm in run.arms],
        )
        for s, m in wanted
        if run.has(s, m)
    ]
    note = (
        "Means over seeds. Stage “model”: samples of the model at temperature 1; “test”: fixed tests; "
        "“loop”: the round."
    )
    header = ("measure", "better", "stage", "unit", *run.arms)
    return Table("Every measure, from first to last", note, header, tuple(lines), left=4)


def population(run: Run) -> Table | None:
    """Effective population size and the quality of its fit, where any arm has one."""
    names = ("loop/effective_population", "loop/effective_population_fit_r2")
    if not run.has("loop", names[0]):
        return None
    rows = [(arm, *[_mean(run, arm, name) for name in names]) for arm in run.arms]
    note = (
        "With how many plain resampled copies would diversity fall equally fast? Smaller loses faster. "
        "“–”: diversity does not fall geometrically in any seed. A fit (R²) near 1 is a good one."
    )
    return Table("Effective population size", note, ("arm", "copies", "fit, R²"), tuple(rows))


def _mean(run: Run, arm: str, metric: str) -> str:
    values = run.values("loop", metric).filter(pl.col("arm") == arm)["value"]
    estimate = over_seeds(values.to_numpy())
    some = f" ({estimate.n} of {len(values)} seeds)" if 0 < estimate.n < len(values) else ""
    return level(estimate) + some
