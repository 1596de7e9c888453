"""The degradation report of a run: one HTML page and its Markdown twin."""

from __future__ import annotations

from pathlib import Path

from driftloop.evals.report.contents import contents
from driftloop.evals.report.markdown import markdown
from driftloop.evals.report.page import page
from driftloop.evals.report.records import read
from driftloop.evals.report.svg import standalone


def write(run_dir: Path) -> tuple[Path, Path]:
    """Write `report.html`, `report.md` and its pictures (`report_figures/`) from records alone.

    Returns:
        The paths of the page and of the Markdown file.

    Raises:
        FileNotFoundError: the directory or one of its records is missing.
        ValueError: a record cannot be read.
    """
    run = read(run_dir)
    report = contents(run)
    html, text = run_dir / "report.html", run_dir / "report.md"
    html.write_text(page(report, run.arms), encoding="utf-8")
    written, figures = markdown(report, run.arms)
    text.write_text(written, encoding="utf-8")
    folder = run_dir / "report_figures"
    folder.mkdir(exist_ok=True)
    for figure in figures:
        (folder / figure.file).write_text(standalone(figure.svg), encoding="utf-8")
    return html, text
