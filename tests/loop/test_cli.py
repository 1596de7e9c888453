"""The command line: every verb works, every mistake is one message and an exit code, never a traceback."""

import json
import sys
from pathlib import Path

import polars as pl
import pytest
import yaml

from driftloop.loop.cli import main

TINY = Path(__file__).with_name("tiny.yaml")
TABULAR = Path(__file__).with_name("tabular.yaml")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test types its commands in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def driftloop(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    """Type a command; its exit code."""
    monkeypatch.setattr(sys, "argv", ["driftloop", *map(str, words)])
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


def test_run_writes_a_report_and_every_later_verb_reads_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """run, report, compare, resume and fork on one small run."""
    assert driftloop(monkeypatch, "run", TINY, "seeds=2") == 0
    told = capsys.readouterr().out
    assert "report: runs/tiny/report.html" in told
    assert (here / "runs/tiny/report.html").stat().st_size > 10_000
    assert (here / "runs/tiny/report.md").exists()

    assert driftloop(monkeypatch, "run", TINY, "--out", "runs/tiny") == 1
    assert "is not overwritten" in capsys.readouterr().err

    assert driftloop(monkeypatch, "compare", "runs/tiny") == 0
    assert "everything" in capsys.readouterr().out
    assert driftloop(monkeypatch, "compare", "runs/tiny", "--json") == 0
    assert json.loads(capsys.readouterr().out)

    assert driftloop(monkeypatch, "resume", "runs/tiny", "--json") == 0
    assert json.loads(capsys.readouterr().out)["metrics"] == "runs/tiny/metrics.parquet"

    fork = (
        "fork",
        "runs/tiny",
        "--at",
        "random/0/1",
        "sampling.temperature=1.5",
        "loop.generations=2",
        "--json",
    )
    assert driftloop(monkeypatch, *fork) == 0
    made = json.loads(capsys.readouterr().out)["run"]
    assert made == "runs/tiny-fork"
    assert (
        yaml.safe_load((here / made / "config.resolved.yaml").read_text())["arms"]["random@1"]["changes"][0][
            "at"
        ]
        == 1
    )

    assert driftloop(monkeypatch, "report", "runs/tiny") == 0


def test_a_world_without_an_ood_axis_is_played_and_the_report_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    """Nothing is invented for the axis that is not there: no row, no ranking, a sentence."""
    assert driftloop(monkeypatch, "run", TABULAR) == 0
    assert "report: runs/tabular/report.html" in capsys.readouterr().out
    assert "no out-of-distribution test" in Path("runs/tabular/report.html").read_text().lower()
    metrics = pl.read_parquet("runs/tabular/metrics.parquet")["metric"].unique()
    assert not [name for name in metrics if name.startswith(("ood/", "gap/"))]


def test_a_dry_run_prints_the_plan_and_writes_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert driftloop(monkeypatch, "run", TINY, "loop.generations=5", "--dry-run", "--json") == 0
    plan = json.loads(capsys.readouterr().out)

    assert plan["config"]["arms"]["random"]["loop"]["generations"] == 5
    assert plan["budget"]["lineages"] == 4
    assert plan["budget"]["disk_bytes"] > 0
    assert plan["budget"]["cpu_s"] > 0
    assert list(here.iterdir()) == []
    assert driftloop(monkeypatch, "run", TINY, "--dry-run") == 0
    assert "MB on disk" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("run", "nowhere.yaml"), r"no configuration file nowhere.yaml"),
        (("run", TINY, "loop.generatoins=1"), "did you mean 'generations'"),
        (("resume", "nowhere"), "is no run directory"),
        (("report", "nowhere"), "nowhere"),
        (("compare", "nowhere"), "nowhere"),
        (("measure", "nowhere.jsonl"), "no such file: nowhere.jsonl"),
        (("fork", "nowhere", "--at", "a/0/1"), "is no run directory"),
    ],
)
def test_a_mistake_is_a_message_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str | Path, ...],
    message: str,
) -> None:
    assert driftloop(monkeypatch, *words) in (1, 2)
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err


def test_a_mistake_with_json_is_json_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert driftloop(monkeypatch, "run", "nowhere.yaml", "--json") == 2
    assert json.loads(capsys.readouterr().out)["error"] == "ConfigError"


def test_list_and_schema_and_init_and_doctor(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    assert driftloop(monkeypatch, "list", "--json") == 0
    parts = json.loads(capsys.readouterr().out)
    assert {"targets", "rewrite", "corpus"} <= set(parts["world"])
    assert {"all", "uniform", "verify", "quality", "quota"} <= set(parts["select"])
    assert driftloop(monkeypatch, "list") == 0
    assert "diversity/hill1" in capsys.readouterr().out

    assert driftloop(monkeypatch, "schema") == 0
    assert "arms" in json.loads(capsys.readouterr().out)["properties"]

    assert driftloop(monkeypatch, "init", "mine.yaml") == 0
    assert driftloop(monkeypatch, "init", "mine.yaml") == 2
    assert "already exists and is not overwritten" in capsys.readouterr().err

    assert driftloop(monkeypatch, "doctor", "--json") == 0
    checks = {c["name"]: c["ok"] for c in json.loads(capsys.readouterr().out)}
    assert checks["round"]
    assert driftloop(monkeypatch, "doctor") == 0


def test_measure_prints_the_table_of_anybodys_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    frame = pl.DataFrame(
        {"answer": [f"the cat {i % 7}" for i in range(60)], "right": [i % 2 for i in range(60)]}
    )
    frame.write_ndjson("data.jsonl")
    frame.write_parquet("data.parquet")

    assert driftloop(monkeypatch, "measure", "data.jsonl", "--text", "answer", "--json") == 0
    rows = {r["metric"]: r["value"] for r in json.loads(capsys.readouterr().out)}
    assert rows["diversity/hill0"] == pytest.approx(7)
    assert not [name for name in rows if name.startswith("quality/")], "quality is not known and not invented"

    assert (
        driftloop(monkeypatch, "measure", "data.parquet", "--text", "answer", "--quality", "right", "--json")
        == 0
    )
    rows = {r["metric"]: r["value"] for r in json.loads(capsys.readouterr().out)}
    assert rows["quality/correct_share"] == pytest.approx(0.5)
    assert driftloop(monkeypatch, "measure", "data.parquet", "--text", "answer") == 0


def test_measure_says_what_is_wrong_with_a_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], here: Path
) -> None:
    (here / "broken.parquet").write_bytes(b"PAR1 this is not parquet")
    (here / "empty.jsonl").write_text("")
    pl.DataFrame({"text": ["a"], "q": [7.0]}).write_parquet("q.parquet")
    cases = [
        (("broken.parquet",), "broken.parquet cannot be read as .parquet"),
        (("empty.jsonl",), "empty.jsonl"),
        (("q.parquet", "--text", "words"), "has no such column; it has ['text', 'q']"),
        (("q.parquet", "--quality", "q"), "are not numbers between 0 and 1"),
    ]
    for words, message in cases:
        assert driftloop(monkeypatch, "measure", *words) == 2
        assert message in capsys.readouterr().err
