"""All sample-level measures of one stage at equal sample size."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points

import polars as pl

from driftloop.evals.estimate import Context, Measure, row, table


@cache
def measures() -> tuple[Measure, ...]:
    """Every `MEASURES` of the files in evals/, and entry points of `driftloop.measures`, sorted by name.

    Raises:
        ValueError: two measures have one name.
    """
    folder = importlib.import_module("driftloop.evals")
    names = sorted(m.name for m in pkgutil.iter_modules(folder.__path__))
    modules = [importlib.import_module(f"driftloop.evals.{name}") for name in names]
    ours = [measure for module in modules for measure in getattr(module, "MEASURES", ())]
    theirs = [measure for point in entry_points(group="driftloop.measures") for measure in point.load()]
    found: dict[str, Measure] = {}
    for measure in [*ours, *theirs]:
        if found.setdefault(measure.name, measure) is not measure:
            raise ValueError(f"driftloop.measures: two measures are called {measure.name!r}; rename one")
    return tuple(found[name] for name in sorted(found))


def describe(
    samples: pl.DataFrame, stage: str, context: Context, watch: Callable[[str], None] | None = None
) -> pl.DataFrame:
    """Every measure of a frame of scored samples: frame with the columns of `ROWS`.

    Diversity is at context.n copies by closed forms, or on a fixed subsample where none exists; a frame with
    fewer copies is used whole and its rows say so in `n`. Empty input gives NaN.

    Args:
        samples: scored samples (`driftloop.generators.samples.SCORED`), multiplicities in `count`.
        stage: "real", "model", "pool" or "chosen".
        context: the common sample size and the seed of the subsamples.
        watch: called with the name of each measure before it is taken.
    """
    present = samples.filter(pl.col("count") > 0)
    rows = []
    for measure in measures():
        if watch is not None:
            watch(measure.name)
        rows.append(row(stage, measure.name, measure.axis, measure.unit, measure.compute(present, context)))
    return table(rows)
