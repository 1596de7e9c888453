"""ID against OOD: the path of each arm, one point per generation."""

from __future__ import annotations

import polars as pl

from driftloop.evals.report.headlines import Headline, headlines
from driftloop.evals.report.palette import MUTED
from driftloop.evals.report.plots import WIDTH, Figure, colour, summarised, upright
from driftloop.evals.report.records import Run
from driftloop.evals.report.svg import render


def trajectories(run: Run) -> tuple[Figure, ...]:
    """One chart per OOD axis: in distribution to the right, out of distribution upwards."""
    known = headlines(run)
    inside = [h for h in known if h.axis == "id"]
    outside = [h for h in known if h.axis == "ood"]
    same = [
        (inside[0], o) for o in outside if inside and o.metric.endswith(inside[0].metric.rpartition("/")[2])
    ]
    return tuple(_trajectory(run, a, b) for a, b in same)


def _trajectory(run: Run, inside: Headline, outside: Headline) -> Figure:
    import altair as alt

    path = _path(run, inside, outside)
    share = inside.unit == "share"
    scale = alt.Scale(domain=[0, 1]) if share else alt.Scale(zero=False)
    x = alt.X("id:Q", scale=scale, axis=alt.Axis(title=f"{inside.title}, {inside.unit} →", tickCount=5))
    side = alt.Axis(**upright(f"{outside.title}, {outside.unit} ↑"), minExtent=38, tickCount=5)
    y = alt.Y("ood:Q", scale=scale, axis=side)
    base = alt.Chart(path)
    last, first = pl.col("generation") == run.last, pl.col("generation") == 0
    end = alt.Chart(path.filter(last)).mark_point(filled=True, size=120, opacity=1)
    start = alt.Chart(path.filter(first)).mark_point(filled=False, size=260, color=MUTED)
    layers = [
        base.mark_line(strokeWidth=2).encode(x, y, colour(run), alt.Order("generation:Q")),
        base.mark_point(filled=True, size=14).encode(x, y, colour(run)),
        end.encode(x, y, colour(run)),
        start.encode(x, y),
    ]
    if share:
        diagonal = alt.Chart(pl.DataFrame({"id": [0.0, 1.0], "ood": [0.0, 1.0]}))
        layers.insert(0, diagonal.mark_line(color=MUTED, strokeDash=[3, 4], strokeWidth=1).encode(x, y))
    good = "up and to the right" if share else "down and to the left"
    note = f"Ring: generation 0. Large dot: the last generation. Good is {good}; dashes: no gap."
    svg = render(layers, WIDTH + 20, WIDTH - 40)
    return Figure(f"trajectory-{outside.split}", f"ID against OOD {outside.split}", note, svg)


def _path(run: Run, inside: Headline, outside: Headline) -> pl.DataFrame:
    frames = []
    for headline, name in ((inside, "id"), (outside, "ood")):
        rows = run.values(headline.stage, headline.metric).filter(pl.col("value").is_finite())
        means = summarised(rows.filter(pl.col("generation") <= run.last))
        frames.append(means.select("arm", "generation", pl.col("value").alias(name)))
    return frames[0].join(frames[1], on=["arm", "generation"], how="inner").sort("arm", "generation")
