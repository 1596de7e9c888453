"""What the run cost: measured seconds by phase, and counted tokens and steps."""

from __future__ import annotations

import polars as pl

from driftloop.evals.report.records import Run
from driftloop.evals.report.tables import Table
from driftloop.evals.report.wording import number

NOTE = (
    "Summed over seeds and generations. A stage that arms share (base training, the first pool) is computed "
    "once and counted for the arm that needed it first; a stage that was looked up costs nothing."
)

PHASES = {  # stages of the ledger in plain words; others keep their names
    "found": "base training",
    "real_data": "real data",
    "real_rows": "measuring real data",
    "reference": "reference of generation 0",
    "generate": "drawing",
    "judge": "scoring and selection",
    "take": "taking the choice",
    "blend": "mixing in real data",
    "accumulate": "mixing in older data",
    "retrain": "retraining",
    "examine": "measuring the model",
    "audit": "measuring the pool",
}


def cost_tables(run: Run) -> tuple[Table, ...]:
    """Seconds by phase and arm, and counted costs by arm; only those that were recorded."""
    return tuple(table for table in (_seconds(run), _counted(run)) if table is not None)


def _seconds(run: Run) -> Table | None:
    times = run.timings.filter(pl.col("cpu_s").is_not_null())
    if times.is_empty():
        return None
    sums = times.group_by("arm", "phase").agg(pl.col("cpu_s", "wall_s").sum())
    phases = times["phase"].unique(maintain_order=True).to_list()
    known = {(arm, phase): cpu for arm, phase, cpu, _ in sums.iter_rows()}
    rows = [
        (
            arm,
            *[number(known.get((arm, p), 0.0)) for p in phases],
            _sum(sums, arm, "cpu_s"),
            _sum(sums, arm, "wall_s"),
        )
        for arm in run.arms
    ]
    every = [number(float(sums.filter(pl.col("phase") == p)["cpu_s"].sum())) for p in phases]
    rows.append(("all arms", *every, number(float(sums["cpu_s"].sum())), number(float(sums["wall_s"].sum()))))
    names = [PHASES.get(phase, phase) for phase in phases]
    return Table("Seconds of processor time", NOTE, ("arm", *names, "sum, CPU s", "sum, wall s"), tuple(rows))


def _sum(sums: pl.DataFrame, arm: str, column: str) -> str:
    return number(float(sums.filter(pl.col("arm") == arm)[column].sum()))


def _counted(run: Run) -> Table | None:
    rows = run.metrics.filter(pl.col("metric").str.starts_with("cost/"), pl.col("value").is_finite())
    if rows.is_empty():
        return None
    names = sorted(rows["metric"].unique().to_list())
    summed = [name for name in names if not name.endswith("loss")]
    sums = {(a, m): v for a, m, v in rows.group_by("arm", "metric").agg(pl.col("value").sum()).iter_rows()}
    units = dict(rows.select("metric", "unit").unique().iter_rows())
    header = [
        f"{n.removeprefix('cost/').replace('_', ' ')}, {units[n]}"
        if units[n] not in n
        else n.removeprefix("cost/").replace("_", " ")
        for n in summed
    ]
    cells = [(arm, *[number(sums.get((arm, name), float("nan"))) for name in summed]) for arm in run.arms]
    return Table("Tokens and steps", "Summed over seeds and generations.", ("arm", *header), tuple(cells))
