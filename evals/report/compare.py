"""Comparing arms within and across runs: paired differences, no ranking that intervals do not carry."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from driftloop.evals.estimate import Estimate
from driftloop.evals.report.headlines import Headline, headlines
from driftloop.evals.report.markdown import plain
from driftloop.evals.report.paired import Pair, Values, pairs, turned
from driftloop.evals.report.records import Run, read
from driftloop.evals.report.settings import brief, named
from driftloop.evals.report.trends import by_seed
from driftloop.evals.report.wording import change, number, probability

SCHEMA: dict[str, pl.DataType] = {
    "metric": pl.String(),
    "stage": pl.String(),
    "unit": pl.String(),
    "better": pl.String(),  # up, down, neither
    "scale": pl.String(),  # difference, or ratio: then difference, lo, hi, detectable are natural logarithms
    "arm": pl.String(),
    "against": pl.String(),
    "mean_arm": pl.Float64(),
    "mean_against": pl.Float64(),
    "difference": pl.Float64(),  # arm - against, mean over the seeds that both have
    "lo": pl.Float64(),
    "hi": pl.Float64(),
    "p_holm": pl.Float64(),
    "n": pl.Int64(),  # shared seeds
    "separated": pl.Boolean(),
    "ahead": pl.String(),  # the better of the two; null where they are not separated or neither way is better
    "detectable": pl.Float64(),
    "settings_arm": pl.String(),  # regime, start model and firewall
    "settings_against": pl.String(),
}


def compare(run_dirs: list[Path]) -> pl.DataFrame:
    """Every pair of arms of one or more runs in every headline metric, at each run's last generation.

    Arms of several runs are called `run/arm`. Pairs share seeds; Holm's correction is over a metric's pairs.

    Returns:
        Frame with the columns of `SCHEMA`, sorted by metric; no rows where there is only one arm.

    Raises:
        FileNotFoundError, ValueError: a run directory cannot be read, none was given, or two share a name.
    """
    runs = _named([read(folder) for folder in run_dirs])
    settings = {f"{prefix}{arm}": _settings(run, arm) for prefix, run in runs.items() for arm in run.arms}
    found = [pair for headline in _shared(runs) for pair in pairs(headline, _values(runs, headline))]
    return pl.DataFrame([_row(pair, settings) for pair in found], schema=SCHEMA, orient="row")


def told(frame: pl.DataFrame) -> str:
    """The comparison as Markdown: what is ahead of what, then every pair; it ranks only what is separated."""
    if frame.is_empty():
        return "Nothing to compare: there is only one arm. Give another run directory, or add an arm.\n"
    blocks = [_summary(metric, rows) for (metric,), rows in frame.group_by("metric", maintain_order=True)]
    header = ("measure", "arm", "against", "values", "difference", "p (Holm)", "ahead", "seeds")
    rows = [_cells(row) for row in frame.iter_rows(named=True)]
    lines = [" | ".join(row) for row in (header, ["---"] * len(header), *rows)]
    return "\n".join([*blocks, "", *[f"| {line} |" for line in lines], "", _settings_note(frame)]) + "\n"


def _named(runs: list[Run]) -> dict[str, Run]:
    """Runs by the prefix of their arms: none where there is only one run."""
    if not runs:
        raise ValueError("compare: expected at least one run directory, got none")
    if len(runs) == 1:
        return {"": runs[0]}
    names = [run.folder.resolve().name for run in runs]
    if len(set(names)) < len(names):
        raise ValueError(
            f"compare: run directories must have different names, got {names}; rename or copy one"
        )
    return {f"{name}/": run for name, run in zip(names, runs, strict=True)}


def _shared(runs: dict[str, Run]) -> list[Headline]:
    """Headline metrics of the first run that every run has."""
    first, *others = [headlines(run) for run in runs.values()]
    return [headline for headline in first if all(headline in other for other in others)]


def _values(runs: dict[str, Run], headline: Headline) -> Values:
    known = {prefix: by_seed(run, headline, run.last) for prefix, run in runs.items()}
    return {f"{prefix}{arm}": seeds for prefix, arms in known.items() for arm, seeds in arms.items()}


def _settings(run: Run, arm: str) -> str:
    return f"{brief(run, arm)}, firewall {named(run, arm)['OOD firewall']}, generation {run.last}"


def _row(pair: Pair, settings: dict[str, str]) -> tuple[object, ...]:
    head, gap, better = pair.headline, pair.difference, pair.headline.term.better
    return (
        head.metric, head.stage, head.unit, better, head.scale, pair.a, pair.b, pair.mean_a, pair.mean_b,
        gap.value, gap.lo, gap.hi, pair.p_holm, gap.n, pair.separated, ahead(pair), pair.detectable,
        settings[pair.a], settings[pair.b],
    )  # fmt: skip


def ahead(pair: Pair) -> str | None:
    """The better arm of a pair, where the interval tells."""
    better = pair.headline.term.better
    if not pair.separated or better == "neither":
        return None
    higher = pair if pair.difference.value > 0 else turned(pair, pair.b)
    return higher.a if better == "up" else higher.b


def _summary(metric: object, rows: pl.DataFrame) -> str:
    won = [
        f"{plain(r['ahead'])} > {plain(_other(r))}"
        for r in rows.filter(pl.col("ahead").is_not_null()).to_dicts()
    ]
    tied = [
        f"{plain(a)} ~ {plain(b)}"
        for a, b in rows.filter(~pl.col("separated")).select("arm", "against").iter_rows()
    ]
    open_ends = [f"{plain(a)} ≠ {plain(b)}" for a, b in _unranked(rows).select("arm", "against").iter_rows()]
    parts = [
        ", ".join(won),
        ", ".join(open_ends) and f"differ, neither way is better: {', '.join(open_ends)}",
    ]
    parts.append(", ".join(tied) and f"not separated: {', '.join(tied)}")
    return f"- {metric}: {'; '.join(part for part in parts if part)}"


def _unranked(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.filter(pl.col("separated"), pl.col("ahead").is_null())


def _other(row: dict[str, str]) -> str:
    return row["against"] if row["ahead"] == row["arm"] else row["arm"]


def _cells(row: dict[str, object]) -> list[str]:
    value, lo, hi, p = (float(str(row[key])) for key in ("difference", "lo", "hi", "p_holm"))
    gap = Estimate(value, 0.0, lo, hi, int(str(row["n"])))
    levels = f"{number(float(str(row['mean_arm'])))} and {number(float(str(row['mean_against'])))}"
    result = row["ahead"] or ("differ" if row["separated"] else "not separated")
    return [
        plain(str(row["metric"])), plain(str(row["arm"])), plain(str(row["against"])), levels,
        change(gap, str(row["scale"])), probability(p), plain(str(result)), str(row["n"]),
    ]  # fmt: skip


def _settings_note(frame: pl.DataFrame) -> str:
    sides = [frame.select(pl.col(a).alias("arm"), pl.col(b).alias("settings")) for a, b in _SIDES]
    known = dict(pl.concat(sides).unique(maintain_order=True).iter_rows())
    lines = [f"{plain(arm)} ({plain(settings)})" for arm, settings in known.items()]
    return f"Paired by seed; Holm over the pairs of a measure. Arms: {'; '.join(lines)}."


_SIDES = (("arm", "settings_arm"), ("against", "settings_against"))
