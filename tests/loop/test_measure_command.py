"""`driftloop measure`: tables, JSON, pages, references, calibration, and mistakes told in one line."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from driftloop.loop import cli

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    texts = [f"the cat {i % 7}" for i in range(60)]
    frame = pl.DataFrame({"text": texts, "id": range(60), "q": [i % 2 for i in range(60)]})
    frame.write_parquet("a.parquet")
    frame.head(40).write_parquet("b.parquet")
    return tmp_path


def measure(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["driftloop", "measure", *words])
    with pytest.raises(SystemExit) as stop:
        cli.main()
    return int(stop.value.code or 0)


def test_a_reference_adds_differences_with_intervals(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, data: Path
) -> None:
    words = ("a.parquet", "--quality", "q", "--id", "id", "--reference", "b.parquet", "--html", "sheet.html")
    assert measure(monkeypatch, *words) == 0
    table = capsys.readouterr().out.splitlines()
    assert table[0].split()[:3] == ["metric", "value", "95"]
    assert "difference" in table[0]
    assert (data / "sheet.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert measure(monkeypatch, *words[:-2], "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert {"reference", "difference", "difference_lo", "note"} <= {*rows[0]}
    assert {row["n"] for row in rows if row["metric"] == "diversity/hill0"} == {40}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "expected FILE"),
        (("a.parquet", "--n", "61"), "--n 61: expected a sample size from 1 to 60"),
        (("a.parquet", "--id", "q"), "58 of 60 rows"),
        (("a.parquet", "--embed", "nowhere"), "expected hash, minilm, or a folder"),
        (("a.parquet", "--html", "no/such/folder.html"), "no/such/folder.html"),
        (("--calibrate", "--out", "no/such/page.md"), "there is no folder no/such"),
    ],
)
def test_a_mistake_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture, data: Path, words: tuple[str, ...], message: str
) -> None:
    assert measure(monkeypatch, *words) == 2
    told = capsys.readouterr().err
    assert told.startswith("driftloop: ")
    assert message in told
    assert "Traceback" not in told


def test_calibrate_writes_its_page(monkeypatch: pytest.MonkeyPatch, capsys: Capture, data: Path) -> None:
    from driftloop.evals.calibration import QUICK

    plan = replace(QUICK, sizes=(1000,), repeats=3)
    monkeypatch.setattr("driftloop.evals.report.calibrated.QUICK", plan)
    assert measure(monkeypatch, "--calibrate", "--quick", "--out", "page.md") == 0
    assert capsys.readouterr().out == "wrote page.md\n"
    assert (data / "page.md").read_text(encoding="utf-8").startswith("# What the measures are worth")
