"""Anybody's data: what can be read, and what is said about what cannot."""

from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from driftloop.evals.foreign import Columns, read_foreign
from driftloop.evals.measured import measure_file
from driftloop.generators.samples import Scored


def written(folder: Path, name: str = "data.parquet", **columns: Any) -> Path:
    path, frame = folder / name, pl.DataFrame(columns)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_ndjson(path)
    return path


def test_every_column_finds_its_place(tmp_path: Path) -> None:
    file = written(
        tmp_path, "data.jsonl", answer=["a b", "c", "c d"], ask=["p", "q", "p"], right=[1.0, 0.0, 0.5], sense=["x", "y", "y"],
        way=["+", "-", "-"], ok=[True, False, True], times=[3, 1, 2], lp=[-1.5, -2.0, 0.0], key=[7, 8, 9],
    )  # fmt: skip
    samples = read_foreign(
        file, Columns("answer", "ask", "right", "sense", "way", "ok", "times", "lp", "key")
    )
    Scored.validate(samples)
    assert samples["parent_id"].to_list() == [0, 1, 0]
    assert samples["count"].to_list() == [3, 1, 2]
    assert samples["mode"].to_list() == ["x", None, "y"], "what cannot be read means nothing"
    assert samples["n_tokens"].to_list() == [2, 1, 2]
    assert samples["source"].unique().to_list() == ["synthetic"]
    assert samples["logprob"].to_list() == [-1.5, -2.0, 0.0]


def test_a_datasets_folder_reads_like_its_rows(tmp_path: Path) -> None:
    from datasets import Dataset, DatasetDict

    rows = Dataset.from_dict({"text": ["a", "b", "a"]})
    rows.save_to_disk(str(tmp_path / "saved"))
    assert read_foreign(tmp_path / "saved")["response"].to_list() == ["a", "b", "a"]
    DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "parts"))
    with pytest.raises(ValueError, match=r"holds the splits \['train'\]; name the folder of one"):
        read_foreign(tmp_path / "parts")


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(ValueError, match=r"empty\.jsonl cannot be read as \.jsonl: it is empty"):
        read_foreign(tmp_path / "empty.jsonl")
    with pytest.raises(ValueError, match="holds no rows; nothing can be measured"):
        read_foreign(written(tmp_path, text=pl.Series([], dtype=pl.String)))


def test_a_missing_file_or_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file"):
        read_foreign(tmp_path / "nowhere.parquet")
    with pytest.raises(ValueError, match=r"--mode sense: .* has no such column; it has \['text'\]"):
        read_foreign(written(tmp_path, text=["a"]), Columns(mode="sense"))


@pytest.mark.parametrize("wrong", [float("nan"), None, -0.1, 1.5, "good"])
def test_a_quality_that_is_no_share_is_counted_and_refused(tmp_path: Path, wrong: object) -> None:
    values = pl.Series([1.0, wrong], dtype=pl.String if isinstance(wrong, str) else pl.Float64, strict=False)
    file = written(tmp_path, text=["a", "b"], q=values)
    with pytest.raises(ValueError, match=r"--quality q: 1 of 2 values .* are not numbers between 0 and 1"):
        read_foreign(file, Columns(quality="q"))


@pytest.mark.parametrize(
    ("flag", "values", "message"),
    [
        ("count", [1.5, 2], "whole numbers from 1"),
        ("count", [0, 2], "whole numbers from 1"),
        ("valid", [0.5, 1], "true or false"),
        ("logprob", [0.5, -1], "log-probabilities"),
    ],
)
def test_values_that_do_not_fit_are_refused(
    tmp_path: Path, flag: str, values: list[float], message: str
) -> None:
    file = written(tmp_path, text=["a", "b"], x=values)
    with pytest.raises(ValueError, match=f"--{flag} x: 1 of 2 values in .* are not {message}"):
        read_foreign(file, Columns(**{flag: "x"}))


def test_bytes_that_are_no_utf8_are_found(tmp_path: Path) -> None:
    lines = tmp_path / "odd.jsonl"
    lines.write_bytes(b'{"text": "fine"}\n{"text": "b\xff"}\n')
    with pytest.raises(ValueError, match="line 2 is not valid UTF-8"):
        read_foreign(lines)
    pq.write_table(pa.table({"text": pa.array([b"ok", b"b\xff"], pa.binary())}), tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=r"--text text: expected text .* no valid UTF-8"):
        read_foreign(tmp_path / "odd.parquet")


def test_empty_texts_and_repeated_ids_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"1 of 2 rows are empty \(null\); filter them out"):
        read_foreign(written(tmp_path, text=["a", None]))
    with pytest.raises(
        ValueError, match=r"--id key: 1 of 3 rows .* repeat an id .7 among them.*counts twice"
    ):
        read_foreign(written(tmp_path, text=["a", "b", "c"], key=[7, 7, 8]), Columns(id="key"))


def test_a_single_row_of_10_megabytes_is_measured(tmp_path: Path) -> None:
    rows = measure_file(read_foreign(written(tmp_path, "big.jsonl", text=["word " * 2_000_000])))
    by_name = dict(rows.select("metric", "value").iter_rows())
    assert by_name["diversity/hill0"] == 1
    assert by_name["complexity/tokens_mean"] == 2_000_000
    assert "" not in rows.filter(pl.col("value").is_nan())["note"].to_list()
