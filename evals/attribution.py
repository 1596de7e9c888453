"""In which phase diversity is lost: ln D_q from one generation's model to the next, split exactly."""

from __future__ import annotations

import math

import polars as pl

from driftloop.evals.estimate import ROWS, Estimate, row, table

ORDERS = (1, 2)


def log_diversity(value: float, stderr: float, n: int) -> Estimate:
    """ln of a Hill number with its standard error (delta method); NaN where the number is not positive."""
    if not value > 0:
        return Estimate.missing(n)
    return Estimate.normal(math.log(value), stderr / value, n)


def _difference(after: Estimate, before: Estimate) -> Estimate:
    """Errors add in squares, as of stages drawn apart: cautious for the choice, a part of the pool."""
    stderr = math.hypot(after.stderr, before.stderr)
    return Estimate.normal(after.value - before.value, stderr, min(after.n, before.n))


def phases(stages: dict[str, Estimate], after: Estimate) -> dict[str, Estimate]:
    """Gains of ln D_q by phase, nats; they sum to `total` exactly.

    Args:
        stages: ln D_q of `model`, `pool`, `chosen` and, where training data differs from the choice, `data`.
        after: ln D_q of the next generation's model.
    """
    trained_on = stages.get("data", stages["chosen"])
    mixing = {"mixing": _difference(stages["data"], stages["chosen"])} if "data" in stages else {}
    return {
        "sampling": _difference(stages["pool"], stages["model"]),
        "selection": _difference(stages["chosen"], stages["pool"]),
        **mixing,
        "retraining": _difference(after, trained_on),
        "total": _difference(after, stages["model"]),
    }


def attribution(metrics: pl.DataFrame) -> pl.DataFrame:
    """Rows of stage `phase`, nats, positive = gain: frame (generation, *ROWS); t stands for t -> t + 1.

    sampling + selection + mixing + retraining = total; mixing stands only where rows of a stage `data` do.

    Args:
        metrics: rows of one lineage: generation and the columns of `ROWS`.
    """
    found: list[pl.DataFrame] = []
    for t in metrics["generation"].unique().sort():
        rows = [line for q in ORDERS for line in _step(metrics, t, q)]
        if rows:
            found.append(table(rows).select(pl.lit(t, pl.Int64).alias("generation"), *ROWS))
    return pl.concat(found) if found else table([]).select(pl.lit(0, pl.Int64).alias("generation"), *ROWS)


def _step(metrics: pl.DataFrame, t: int, q: int) -> list[tuple[object, ...]]:
    now, later = _levels(metrics, t, q), _levels(metrics, t + 1, q)
    if not {"model", "pool", "chosen"} <= now.keys() or "model" not in later:
        return []
    terms = phases(now, later["model"])
    return [row("phase", f"attribution/{name}_q{q}", "diversity", "nats", e) for name, e in terms.items()]


def _levels(metrics: pl.DataFrame, t: int, q: int) -> dict[str, Estimate]:
    rows = metrics.filter((pl.col("generation") == t) & (pl.col("metric") == f"diversity/hill{q}"))
    return {
        stage: log_diversity(*rest)
        for stage, *rest in rows.select("stage", "value", "stderr", "n").iter_rows()
    }
