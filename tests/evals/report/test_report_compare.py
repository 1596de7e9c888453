"""Comparing arms within and across runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
import yaml

from driftloop.evals.report.compare import SCHEMA, compare, told

WriteRun = Callable[..., Path]


def test_every_pair_of_arms_is_compared_in_every_headline(write_run: WriteRun) -> None:
    frame = compare([write_run()])
    assert frame.schema == pl.Schema(SCHEMA)
    assert frame.height == 5 * 3
    ood = frame.filter(pl.col("metric") == "ood/targets/accuracy_exact", pl.col("arm") == "quality")
    assert ood["ahead"].to_list() == ["quota"]
    assert ood["hi"].item() < 0


def test_two_runs_are_compared_arm_by_arm(write_run: WriteRun) -> None:
    frame = compare([write_run("first"), write_run("second", shift=-0.01)])
    assert set(frame["arm"]) | set(frame["against"]) == {
        f"{r}/{a}" for r in ("first", "second") for a in ("random", "quality", "quota")
    }
    same = frame.filter(pl.col("arm") == "first/quota", pl.col("against") == "second/quota")
    assert same.filter(pl.col("metric") == "ood/targets/accuracy_exact")["ahead"].item() == "first/quota"


def test_no_order_is_given_where_paired_intervals_overlap_zero(write_run: WriteRun) -> None:
    folder = write_run()
    path = folder / "metrics.parquet"
    noise = 0.1 + pl.col("seed") * pl.col("arm").str.len_chars() % 7 / 10
    pl.read_parquet(path).with_columns(noise.alias("value")).write_parquet(path)
    frame = compare([folder])
    assert not frame["separated"].any()
    assert frame["ahead"].is_null().all()
    assert "not separated" in told(frame)
    assert " > " not in told(frame)


def test_a_measure_without_a_better_direction_is_never_ranked(write_run: WriteRun) -> None:
    frame = compare([write_run()])
    rows = frame.filter(pl.col("better") == "neither")
    assert rows["separated"].any()
    assert rows["ahead"].is_null().all()
    assert "differ, neither way is better" in told(frame)


def test_where_down_is_better_the_lower_arm_is_ahead(write_run: WriteRun) -> None:
    folder = write_run()
    path = folder / "metrics.parquet"
    rows = pl.read_parquet(path).filter(pl.col("metric") == "id/nll_middle")
    rows.write_parquet(path)
    frame = compare([folder])
    assert frame.filter(pl.col("arm") == "random", pl.col("against") == "quality")["ahead"].item() == "random"


def test_runs_without_a_common_seed_are_not_separated(write_run: WriteRun) -> None:
    first, second = write_run("first"), write_run("second")
    path = second / "metrics.parquet"
    pl.read_parquet(path).with_columns(pl.col("seed") + 100).write_parquet(path)
    across = compare([first, second]).filter(
        pl.col("arm").str.starts_with("first"), pl.col("against").str.starts_with("second")
    )
    assert (across["n"] == 0).all()
    assert not across["separated"].any()


def test_the_text_names_regime_start_and_firewall_and_survives_one_arm(write_run: WriteRun) -> None:
    assert "replace, previous, firewall on" in told(compare([write_run("several")]))
    assert "Nothing to compare" in told(compare([write_run("single", arms=("only",))]))


def test_wrong_input_is_named(write_run: WriteRun, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected at least one run directory"):
        compare([])
    folder = write_run()
    with pytest.raises(ValueError, match="must have different names"):
        compare([folder, folder])
    with pytest.raises(FileNotFoundError, match="expected a run directory"):
        compare([tmp_path / "nowhere"])


def test_the_table_serialises(write_run: WriteRun) -> None:
    folder = write_run()
    assert json.loads(compare([folder]).write_json())[0]["n"] == 3
    assert yaml.safe_load((folder / "config.resolved.yaml").read_text())["name"] == folder.name
