"""Anybody's data as a frame of samples: read a file and map its columns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import polars as pl

from driftloop.generators.samples import SCORED, conform, stamp


@dataclass(frozen=True)
class Columns:
    """Which column of a file holds what; None = the file has no such column.

    Without `mode` a sample's meaning is its text; without `valid` every sample is readable; without `quality` its
    quality is not known. Several rows with one prompt are answers to it.
    """

    text: str = "text"
    prompt: str | None = None
    quality: str | None = None  # 0..1
    mode: str | None = None
    strategy: str | None = None
    valid: str | None = None  # true or false, or 1 and 0
    count: str | None = None  # copies of the row, whole numbers
    logprob: str | None = None  # ln p of the text under the model that wrote it, nats
    id: str | None = None  # must differ from row to row


PLAIN = Columns()


def read_foreign(file: Path, columns: Columns = PLAIN) -> pl.DataFrame:
    """Read JSONL, parquet, or a folder saved by `datasets`, as scored samples.

    Raises:
        ValueError: the file cannot be read, is empty, lacks a column, or has a value that does not fit.
    """
    return scored(load(file), columns, file)


def scored(raw: pl.DataFrame, columns: Columns, file: Path) -> pl.DataFrame:
    """Rows as scored samples; `file` is what errors name."""
    for flag, column in asdict(columns).items():
        if column is not None and column not in raw.columns:
            raise ValueError(f"--{flag} {column}: {file} has no such column; it has {raw.columns}")
    if not raw.height:
        raise ValueError(f"{file} holds no rows; nothing can be measured")
    texts = strings(raw, columns.text, "text", file)
    _distinct_ids(raw, columns.id, file)
    drawn = pl.DataFrame({"response": texts}).with_columns(
        prompt=strings(raw, columns.prompt, "prompt", file) if columns.prompt else pl.lit(""),
        count=_counts(raw, columns.count, file),
        logprob=_logprobs(raw, columns.logprob, file),
        n_tokens=pl.col("response").str.count_matches(r"\S+"),
    )
    if columns.prompt:
        drawn = drawn.with_columns(parent_id=(pl.col("prompt").rank("dense") - 1).cast(pl.UInt64))
    source = "synthetic" if columns.logprob else "real"
    valid = _truths(raw, columns.valid, file)
    stamped = stamp(drawn, generation=0, source=source, seed=0).with_columns(
        valid=valid,
        quality=_shares(raw, columns.quality, file),
        complexity=pl.col("response").str.len_chars().cast(pl.Float64),
        mode=pl.when(valid).then(raw[columns.mode].cast(pl.String) if columns.mode else texts),
        strategy=pl.when(valid).then(raw[columns.strategy].cast(pl.String)) if columns.strategy else None,
        split=pl.lit(None, pl.String),
    )
    return conform(stamped.with_columns(pl.col("strategy").cast(pl.String)), SCORED, "read")


def strings(raw: pl.DataFrame, column: str, flag: str, file: Path) -> pl.Series:
    """A column of text without gaps."""
    try:
        texts = raw[column].cast(pl.String)
    except pl.exceptions.PolarsError as error:
        raise ValueError(
            f"--{flag} {column}: expected text in {file}, got {raw[column].dtype} that is no valid UTF-8 ({error})"
        ) from error
    if empty := texts.null_count():
        raise ValueError(
            f"--{flag} {column}: {empty} of {raw.height} rows are empty (null); filter them out first"
        )
    return texts


def _distinct_ids(raw: pl.DataFrame, column: str | None, file: Path) -> None:
    if column is None:
        return
    repeated = raw.height - raw[column].n_unique()
    if repeated:
        first = raw.filter(pl.col(column).is_duplicated())[column][0]
        raise ValueError(
            f"--id {column}: {repeated} of {raw.height} rows of {file} repeat an id ({first!r} among them); "
            "a sample that is there twice counts twice: remove the copies, or leave --id out if they are meant"
        )


def _numbers(raw: pl.DataFrame, column: str, flag: str, file: Path, fits: pl.Expr, what: str) -> pl.Series:
    numbers = raw[column].cast(pl.Float64, strict=False).alias("x")
    wrong = raw.height - int(pl.DataFrame([numbers]).select((pl.col("x").is_not_nan() & fits).sum()).item())
    if wrong:
        raise ValueError(
            f"--{flag} {column}: {wrong} of {raw.height} values in {file} are not {what}; "
            f"filter these rows out, or leave --{flag} out"
        )
    return numbers


def _shares(raw: pl.DataFrame, column: str | None, file: Path) -> pl.Series:
    if column is None:
        return pl.repeat(float("nan"), raw.height, dtype=pl.Float64, eager=True)
    return _numbers(raw, column, "quality", file, pl.col("x").is_between(0, 1), "numbers between 0 and 1")


def _counts(raw: pl.DataFrame, column: str | None, file: Path) -> pl.Series:
    if column is None:
        return pl.repeat(1, raw.height, dtype=pl.UInt64, eager=True)
    whole = (pl.col("x") >= 1) & (pl.col("x") == pl.col("x").floor()) & (pl.col("x") < 2**53)
    return _numbers(raw, column, "count", file, whole, "whole numbers from 1").cast(pl.UInt64)


def _logprobs(raw: pl.DataFrame, column: str | None, file: Path) -> pl.Series:
    if column is None:
        return pl.repeat(0.0, raw.height, dtype=pl.Float64, eager=True)
    return _numbers(raw, column, "logprob", file, pl.col("x") <= 1e-6, "log-probabilities (at most 0)")


def _truths(raw: pl.DataFrame, column: str | None, file: Path) -> pl.Series:
    if column is None:
        return pl.repeat(True, raw.height, dtype=pl.Boolean, eager=True)
    fits = pl.col("x").is_in([0.0, 1.0])
    return _numbers(raw, column, "valid", file, fits, "true or false").cast(pl.Boolean)


def load(file: Path) -> pl.DataFrame:
    """Rows of a JSONL or parquet file, or of a folder saved by `datasets`."""
    if not file.exists():
        raise ValueError(f"no such file: {file}; expected JSONL, parquet, or a folder saved by datasets")
    try:
        if file.is_dir():
            from datasets import DatasetDict, load_from_disk

            stored = load_from_disk(str(file))
            if isinstance(stored, DatasetDict):
                raise ValueError(
                    f"it holds the splits {list(stored)}; name the folder of one ({file}/<split>)"
                )
            frame = stored.with_format("polars")[:]
            return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        if not file.stat().st_size:
            raise ValueError("it is empty")
        return pl.read_ndjson(file, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError, ValueError, KeyError) as error:
        what = "a folder saved by datasets" if file.is_dir() else file.suffix or "JSONL"
        raise ValueError(f"{file} cannot be read as {what}: {_undecodable(file) or error}") from error


def _undecodable(file: Path) -> str | None:
    """Which line of a text file is not UTF-8, if any."""
    if file.is_dir() or file.suffix == ".parquet":
        return None
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return (
                    f"line {number} is not valid UTF-8 (byte {error.start}: {error.reason}); save it as UTF-8"
                )
    return None
