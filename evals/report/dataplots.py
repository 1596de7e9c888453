"""Pictures of one data set, or of two: who owns the mass, how diversity grows with size, lengths, quality."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import polars as pl

from driftloop.evals.abundance import abundances
from driftloop.evals.estimate import Estimate
from driftloop.evals.hill import hill0, hill1, hill2
from driftloop.evals.measured import Found
from driftloop.evals.report.glossary import term
from driftloop.evals.report.palette import MUTED, arm_colours, arm_shapes
from driftloop.evals.report.plots import HEIGHT, WIDTH, Figure, upright
from driftloop.evals.report.svg import render

BINS = 30


def pictures(found: Found) -> tuple[Figure, ...]:
    """Every picture that the data allow."""
    figures = [ratios(found), abundance(found), *(growth(found, q) for q in HILL)]
    figures.append(
        histogram(found, "n_tokens", "Length", "words in a sample: how many samples are this long?")
    )
    if found.known_quality:
        figures.append(histogram(found, "quality", "Quality", "score: how many samples are this good?"))
    return tuple(figure for figure in figures if figure is not None)


def abundance(found: Found) -> Figure | None:
    """Share of each mode against its rank, both logarithmic."""
    import altair as alt

    parts = [_ranked(name, abundances(samples)) for name, samples in found.samples.items()]
    frame = pl.concat(parts)
    if frame.is_empty():
        return None
    x = alt.X(
        "rank:Q",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(title="rank of the mode", grid=False, tickCount=5),
    )
    y = alt.Y(
        "share:Q", scale=alt.Scale(type="log"), axis=alt.Axis(**upright("share"), tickCount=4, format="~g")
    )
    lines = alt.Chart(frame).mark_line(strokeWidth=2).encode(x, y, _colour(found))
    dots = (
        alt.Chart(frame)
        .mark_point(filled=True, size=24, opacity=1)
        .encode(x, y, _colour(found), _shape(found))
    )
    note = "Who owns the mass? A steep fall means that few modes own most of it; a flat line, that all are equal."
    return Figure("abundance", "Shares of the modes", note, render([lines, dots], WIDTH, HEIGHT))


def _ranked(name: str, counts: np.ndarray) -> pl.DataFrame:
    places = (
        np.unique(np.geomspace(1, max(len(counts), 1), 40).astype(int)) if len(counts) else np.zeros(0, int)
    )
    shares = counts[::-1][places - 1] / counts.sum() if len(counts) else np.zeros(0)
    return pl.DataFrame({"data": [name] * len(places), "rank": places, "share": shares})


HILL: dict[int, Callable[[np.ndarray, int], Estimate]] = {0: hill0, 1: hill1, 2: hill2}
ORDER = {0: "Distinct modes", 1: "Modes in use", 2: "Frequent modes in use"}


def growth(found: Found, order: int) -> Figure | None:
    """A Hill number against the sample size, with its interval."""
    import altair as alt

    rows: list[tuple[str, int, float, float, float]] = []
    for name, samples in found.samples.items():
        counts = abundances(samples)
        for size in np.unique(np.geomspace(1, max(counts.sum(), 1), 24).astype(int)):
            value = HILL[order](counts, int(size))
            if math.isfinite(value.lo):
                rows.append((name, int(size), value.value, max(value.lo, 0.0), value.hi))
    if not rows:
        return None
    frame = pl.DataFrame(rows, schema=["data", "size", "value", "lo", "hi"], orient="row")
    x = alt.X("size:Q", scale=alt.Scale(type="log"), axis=alt.Axis(title="samples", grid=False, tickCount=5))
    y = alt.Y("value:Q", axis=alt.Axis(**upright("modes"), tickCount=5))
    band = alt.Chart(frame).mark_area(opacity=0.16).encode(x, alt.Y("lo:Q"), alt.Y2("hi:Q"), _colour(found))
    lines = alt.Chart(frame).mark_line(strokeWidth=2).encode(x, y, _colour(found))
    note = "How does it grow with the sample? A curve that is still rising says that more samples would show more."
    return Figure(
        f"growth{order}", f"{ORDER[order]} (order {order})", note, render([band, lines], WIDTH, HEIGHT)
    )


def histogram(found: Found, column: str, title: str, note: str) -> Figure | None:
    """Shares of copies over equal bins of a column, one outline per data set."""
    import altair as alt

    data = {
        name: (s[column].to_numpy().astype(float), s["count"].to_numpy()) for name, s in found.samples.items()
    }
    every = np.concatenate([values for values, _ in data.values()])
    low, high = float(every.min()), float(np.quantile(every, 0.999))
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    parts = []
    for name, (values, weights) in data.items():
        share, _ = np.histogram(np.minimum(values, edges[-1]), edges, weights=weights / weights.sum())
        parts.append(pl.DataFrame({"data": [name] * BINS, "x": edges[:-1], "end": edges[1:], "share": share}))
    y = alt.Y("share:Q", axis=alt.Axis(**upright("share of samples"), tickCount=4))
    x = alt.X("x:Q", axis=alt.Axis(title=note.partition(":")[0], grid=False, tickCount=6))
    chart = (
        alt.Chart(pl.concat(parts))
        .mark_line(interpolate="step-after", strokeWidth=2)
        .encode(x, y, _colour(found))
    )
    return Figure(column, title, note.partition(": ")[2].capitalize(), render([chart], WIDTH, HEIGHT))


def ratios(found: Found) -> Figure | None:
    """The data set over the reference, measure by measure, where both are positive."""
    import altair as alt

    if "reference" not in found.rows.columns:
        return None
    known = found.rows.filter(
        (pl.col("value") > 0) & (pl.col("reference") > 0), pl.col("difference_lo").is_finite()
    )
    frame = known.select(
        pl.col("metric").map_elements(lambda m: term(m).title(m), return_dtype=pl.String).alias("measure"),
        (1 + pl.col("difference") / pl.col("reference")).alias("ratio"),
        (1 + pl.col("difference_lo") / pl.col("reference")).clip(0.01).alias("lo"),
        (1 + pl.col("difference_hi") / pl.col("reference")).clip(0.01).alias("hi"),
    )
    if frame.is_empty():
        return None
    order = frame["measure"].to_list()
    y = alt.Y(
        "measure:N",
        sort=order,
        axis=alt.Axis(title=None, labelLimit=330, minExtent=290, grid=False, domain=False, ticks=False),
    )
    x = alt.X(
        "ratio:Q",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(title="times the reference", format="~g", tickCount=5),
    )
    colour = arm_colours(tuple(found.samples))[next(iter(found.samples))]
    bars = alt.Chart(frame).mark_rule(strokeWidth=1.6, color=colour).encode(alt.X("lo:Q"), y, x2="hi:Q")
    dots = alt.Chart(frame).mark_point(filled=True, size=34, opacity=1, color=colour).encode(x, y)
    one = alt.Chart(pl.DataFrame({"at": [1.0]})).mark_rule(color=MUTED, strokeDash=[5, 3]).encode(x="at:Q")
    note = "Each measure as a multiple of the reference's. An interval that leaves the dashed line is a difference."
    return Figure(
        "ratios", "Against the reference", note, render([one, bars, dots], WIDTH - 110, 15 * len(order))
    )


def _colour(found: Found) -> Any:
    import altair as alt

    colours = arm_colours(tuple(found.samples))
    return alt.Color(
        "data:N", scale=alt.Scale(domain=list(colours), range=list(colours.values())), legend=None
    )


def _shape(found: Found) -> Any:
    import altair as alt

    shapes = arm_shapes(tuple(found.samples))
    return alt.Shape("data:N", scale=alt.Scale(domain=list(shapes), range=list(shapes.values())), legend=None)
