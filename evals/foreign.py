"""Anybody's data as a frame of samples: read a file, map its columns, and measure it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from driftloop.evals.estimate import Context
from driftloop.evals.stages import describe
from driftloop.generators.samples import SCORED, conform, copies, stamp


def read_foreign(
    file: Path,
    text: str = "text",
    prompt: str | None = None,
    quality: str | None = None,
    mode: str | None = None,
) -> pl.DataFrame:
    """Read JSONL, parquet, or a folder saved by `datasets`, as scored samples.

    Without a mode column a sample's meaning is its text; without a quality column its quality is not known and
    `measure_file` leaves the quality rows out.

    Raises:
        ValueError: the file cannot be read, is empty, lacks a column, or has a value that does not fit.
    """
    raw = load(file)
    wanted = {"text": text, "prompt": prompt, "quality": quality, "mode": mode}
    for flag, column in wanted.items():
        if column is not None and column not in raw.columns:
            raise ValueError(f"--{flag} {column}: {file} has no such column; it has {raw.columns}")
    if not raw.height:
        raise ValueError(f"{file} holds no rows; nothing can be measured")
    empty = raw[text].null_count()
    if empty:
        raise ValueError(
            f"--text {text}: {empty} of {raw.height} rows are empty (null); filter them out first"
        )
    drawn = pl.DataFrame(
        {
            "prompt": raw[prompt].cast(pl.String)
            if prompt
            else pl.repeat("", raw.height, dtype=pl.String, eager=True),
            "response": raw[text].cast(pl.String),
            "count": pl.repeat(1, raw.height, dtype=pl.UInt64, eager=True),
        }
    )
    drawn = drawn.with_columns(pl.col("response").str.count_matches(r"\S+").alias("n_tokens"))
    scored = stamp(drawn, generation=0, source="real", seed=0).with_columns(
        pl.lit(True).alias("valid"),
        values(raw, quality, file).alias("quality"),
        pl.col("response").str.len_chars().cast(pl.Float64).alias("complexity"),
        (raw[mode].cast(pl.String) if mode else drawn["response"]).alias("mode"),
        pl.lit(None, pl.String).alias("strategy"),
        pl.lit(None, pl.String).alias("split"),
    )
    return conform(scored, SCORED, "read")


def values(raw: pl.DataFrame, quality: str | None, file: Path) -> pl.Series:
    """The quality column, checked; NaN for all rows where none was named."""
    if quality is None:
        return pl.repeat(float("nan"), raw.height, dtype=pl.Float64, eager=True)
    column = raw[quality].cast(pl.Float64, strict=False)
    wrong = int((column.is_null() | column.is_nan() | (column < 0) | (column > 1)).sum())
    if wrong:
        raise ValueError(
            f"--quality {quality}: {wrong} of {raw.height} values in {file} are not numbers between 0 and 1"
        )
    return column


def load(file: Path) -> pl.DataFrame:
    """Rows of a JSONL or parquet file, or of a folder saved by `datasets`."""
    if not file.exists():
        raise ValueError(f"no such file: {file}; expected JSONL, parquet, or a folder saved by datasets")
    try:
        if file.is_dir():
            from datasets import load_from_disk

            frame = load_from_disk(str(file)).with_format("polars")[:]
            return frame if isinstance(frame, pl.DataFrame) else pl.DataFrame(frame)
        if file.suffix == ".parquet":
            return pl.read_parquet(file)
        return pl.read_ndjson(file, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError, FileNotFoundError, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read as {'a datasets folder' if file.is_dir() else file.suffix or 'JSONL'}: {error}"
        ) from error


def measure_file(samples: pl.DataFrame, n: int | None = None) -> pl.DataFrame:
    """Every sample-level measure of the data at sample size n (default: all of it)."""
    rows = describe(samples, "file", Context(n or copies(samples), seed=0))
    known = not samples["quality"].is_nan().any()
    gated = rows["metric"].str.starts_with("quality/") | rows["metric"].str.contains(
        "passing|effective|valid_"
    )
    return rows if known else rows.filter(~gated)
