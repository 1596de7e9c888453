"""The page of a measured data set: pictures, every measure, and what the measures mean."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from driftloop.evals.estimate import Estimate
from driftloop.evals.measured import Found
from driftloop.evals.report.dataplots import pictures
from driftloop.evals.report.glossary import Term, explained, term
from driftloop.evals.report.page import rendered
from driftloop.evals.report.plots import Figure
from driftloop.evals.report.tables import Table
from driftloop.evals.report.wording import change, number, several
from driftloop.evals.stages import measures
from driftloop.generators.samples import copies

AXES = {"quality": "Quality", "diversity": "Diversity", "complexity": "Complexity"}


@dataclass(frozen=True)
class Sheet:
    """What the page says, in the order in which it is read."""

    title: str
    facts: str
    cautions: tuple[str, ...]
    figures: tuple[Figure, ...]
    tables: tuple[Table, ...]
    glossary: tuple[tuple[str, str, Term], ...]


def write_page(path: Path, found: Found) -> None:
    """Write the page of a measured file; nothing of the data is printed but names of files.

    Raises:
        FileNotFoundError: the folder of `path` does not exist.
    """
    path.write_text(rendered("datasheet.html.j2", tuple(found.samples), r=sheet(found)), encoding="utf-8")


def sheet(found: Found) -> Sheet:
    """Everything that the page says."""
    names = tuple(found.samples)
    sizes = " · ".join(f"{name}: {several(copies(data), 'sample')}" for name, data in found.samples.items())
    similar = {"hash": "hashed byte n-grams", "minilm": "a sentence encoder (MiniLM)"}.get(
        found.context.embedding, f"the sentence encoder {found.context.embedding}"
    )
    facts = f"{sizes} · measured at {several(found.context.n, 'sample')} · similarity by {similar}"
    return Sheet(
        " against ".join(names), facts, cautions(found), pictures(found), tables(found), _glossary(found)
    )


def cautions(found: Found) -> tuple[str, ...]:
    """What a reader must know before the numbers."""
    said = []
    if not found.known_quality:
        said.append(
            "Quality is not known for these data: diversity counts wrong answers as well as right ones."
        )
    by_text = [name for name, data in found.samples.items() if (data["mode"] == data["response"]).all()]
    if by_text:
        said.append("A sample's text stands for its meaning here: a paraphrase counts as something new.")
    return tuple(said)


def tables(found: Found) -> tuple[Table, ...]:
    """One table per axis."""
    compared = "reference" in found.rows.columns
    descriptive = {measure.name for measure in measures() if measure.descriptive}
    beside = ("reference", "difference") if compared else ()
    header = ("measure", "better", "unit", "value", "95 % interval", *beside, "samples", "note")
    out = []
    for axis, title in AXES.items():
        rows = tuple(
            _cells(row, compared, descriptive)
            for row in found.rows.iter_rows(named=True)
            if row["axis"] == axis
        )
        if rows:
            note = "[ ] are 95 % intervals. “–”: the data cannot answer; the note says why."
            out.append(Table(title, note, header, rows, left=3))
    return tuple(out)


def _cells(row: dict[str, object], compared: bool, descriptive: set[str]) -> tuple[str, ...]:
    metric = str(row["metric"])
    low, high = _number(row["lo"]), _number(row["hi"])
    span = f"[{number(low)}, {number(high)}]" if math.isfinite(low) else "–"
    cells = [
        term(metric).title(metric),
        term(metric).better,
        str(row["unit"]),
        number(_number(row["value"])),
        span,
    ]
    if compared:
        value, error, least, most = (
            _number(row[f"difference{end}"]) for end in ("", "_stderr", "_lo", "_hi")
        )
        moved = Estimate(value, error, least, most, 0)
        cells += [number(_number(row["reference"])), change(moved, "difference")]
    label = "descriptive" if metric in descriptive else ""
    return (*cells, f"{row['n']:,}", "; ".join(part for part in (str(row["note"]), label) if part))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else math.nan


def _glossary(found: Found) -> tuple[tuple[str, str, Term], ...]:
    lines = {term(m).title(m): (m, explained(m)) for m in found.rows["metric"].to_list()}
    return tuple((name, metric, known) for name, (metric, known) in sorted(lines.items()))
