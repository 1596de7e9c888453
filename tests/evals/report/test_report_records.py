"""Reading a run directory: what is missing or broken is named, with the way out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from driftloop.evals.report.records import read
from driftloop.evals.report.settings import differing, named, shared

WriteRun = Callable[..., Path]


def test_a_run_knows_its_arms_in_the_order_of_the_configuration(write_run: WriteRun) -> None:
    run = read(write_run())
    assert run.arms == ("random", "quality", "quota")
    assert run.seeds == (0, 1, 2)
    assert run.last == 6
    assert run.missing == ()


def test_settings_that_differ_are_told_from_those_that_are_shared(write_run: WriteRun) -> None:
    run = read(write_run())
    assert set(differing(run)) == {"select.kind", "select.dial"}
    assert shared(run)["world.kind"] == "targets"
    assert "select.kind" not in shared(run)
    assert named(run, "quota") == {
        "selection": "quota", "regime": "replace", "start model": "previous", "real share": "0.0",
        "OOD firewall": "on",
    }  # fmt: skip


def test_unfinished_lineages_are_counted(write_run: WriteRun) -> None:
    folder = write_run()
    frame = pl.read_parquet(folder / "metrics.parquet")
    rest = frame.filter(~((pl.col("arm") == "quota") & (pl.col("seed") == 2)))
    cut = rest.filter((pl.col("arm") != "random") | (pl.col("generation") < 4))
    cut.write_parquet(folder / "metrics.parquet")
    run = read(folder)
    assert run.missing == (("quota", 2),)
    assert run.last == 3
    assert run.uneven


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="expected a run directory, found none"):
        read(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "way_out"),
    [("metrics.parquet", "driftloop resume"), ("config.resolved.yaml", "is this a run directory")],
)
def test_a_missing_record_is_named_with_the_way_out(write_run: WriteRun, name: str, way_out: str) -> None:
    folder = write_run()
    (folder / name).unlink()
    with pytest.raises(FileNotFoundError, match=way_out):
        read(folder)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("metrics.parquet", b"not parquet", "not readable as parquet"),
        ("config.resolved.yaml", b"a: [", "cannot be parsed"),
        ("config.resolved.yaml", b"- a list", "expected a mapping, got list"),
        ("provenance.json", b"{", "cannot be parsed"),
        ("timings.jsonl", b"not json", "expected one JSON object per line"),
    ],
)
def test_a_broken_record_is_named(write_run: WriteRun, name: str, content: bytes, message: str) -> None:
    folder = write_run()
    (folder / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read(folder)


def test_metrics_without_a_column_or_without_rows_are_refused(write_run: WriteRun) -> None:
    path = write_run() / "metrics.parquet"
    frame = pl.read_parquet(path)
    frame.drop("stderr").write_parquet(path)
    with pytest.raises(ValueError, match=r"missing \['stderr'\]"):
        read(path.parent)
    frame.clear().write_parquet(path)
    with pytest.raises(ValueError, match="expected at least one row"):
        read(path.parent)
