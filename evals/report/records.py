"""A run directory as the report reads it: records on disk, never a model."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from driftloop.evals.estimate import ROWS

KEYS: dict[str, pl.DataType] = {"arm": pl.String(), "seed": pl.Int64(), "generation": pl.Int64()}
TIMINGS: dict[str, pl.DataType] = KEYS | {
    "phase": pl.String(),
    "cpu_s": pl.Float64(),
    "wall_s": pl.Float64(),
}


@dataclass(frozen=True)
class Run:
    """What a run left behind."""

    folder: Path
    metrics: pl.DataFrame  # KEYS and ROWS
    config: dict[str, Any]
    provenance: dict[str, Any]  # empty where the run recorded none
    timings: pl.DataFrame  # TIMINGS; no rows where the run recorded none

    @cached_property
    def arms(self) -> tuple[str, ...]:
        """Arms in the order of the configuration; arms that it does not name follow in order of name."""
        found = sorted(self.metrics["arm"].unique().to_list())
        known = self.config.get("arms")
        named = [name for name in known if name in found] if isinstance(known, dict) else []
        return (*named, *[name for name in found if name not in named])

    @cached_property
    def seeds(self) -> tuple[int, ...]:
        """All seeds, ascending."""
        return tuple(sorted(self.metrics["seed"].unique().to_list()))

    @cached_property
    def last(self) -> int:
        """The last generation T that every lineage reached."""
        reached = self.metrics.group_by("arm", "seed").agg(pl.col("generation").max())
        return int(reached["generation"].min())  # type: ignore[arg-type]

    @cached_property
    def missing(self) -> tuple[tuple[str, int], ...]:
        """Lineages (arm, seed) that the configuration names and the metrics lack."""
        found = set(self.metrics.select("arm", "seed").unique().iter_rows())
        seeds = self.config.get("seeds")
        arms = self.config.get("arms")
        if not isinstance(seeds, list) or not isinstance(arms, dict):
            return ()
        return tuple((arm, seed) for arm in arms for seed in seeds if (arm, seed) not in found)

    @cached_property
    def uneven(self) -> bool:
        """Whether lineages end at different generations."""
        return (
            self.metrics.group_by("arm", "seed").agg(pl.col("generation").max())["generation"].n_unique() > 1
        )

    @cached_property
    def units(self) -> dict[tuple[str, str], str]:
        """Unit of each (stage, metric)."""
        pairs = self.metrics.select("stage", "metric", "unit").unique().iter_rows()
        return {(stage, metric): unit for stage, metric, unit in pairs}

    def has(self, stage: str, metric: str) -> bool:
        """Whether any number (not only NaN) of this metric was recorded at this stage."""
        return (stage, metric) in self._finite

    @cached_property
    def _finite(self) -> frozenset[tuple[str, str]]:
        finite = self.metrics.filter(pl.col("value").is_finite())
        return frozenset(finite.select("stage", "metric").unique().iter_rows())

    def values(self, stage: str, metric: str) -> pl.DataFrame:
        """Rows of one metric at one stage."""
        return self.metrics.filter((pl.col("stage") == stage) & (pl.col("metric") == metric))


def read(folder: Path) -> Run:
    """Read and check a run directory.

    Raises:
        FileNotFoundError: the directory, its metrics or its configuration is missing.
        ValueError: a file cannot be parsed, the metrics lack a column, or there are no metrics yet.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: expected a run directory, found none; `driftloop run` writes one")
    metrics = _metrics(folder / "metrics.parquet")
    config = _mapping(folder / "config.resolved.yaml", required=True)
    provenance = _mapping(folder / "provenance.json", required=False)
    return Run(folder, metrics, config, provenance, _timings(folder / "timings.jsonl"))


def _metrics(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no metrics yet; `driftloop resume {path.parent}` finishes the run")
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise ValueError(
            f"{path}: not readable as parquet ({error}); `driftloop resume` writes it anew"
        ) from error
    missing = [name for name in KEYS | ROWS if name not in frame.columns]
    if missing:
        raise ValueError(
            f"{path}: expected columns {list(KEYS | ROWS)}, missing {missing}; is it a run's own file?"
        )
    if frame.is_empty():
        raise ValueError(f"{path}: expected at least one row, got none; `driftloop resume` finishes the run")
    return frame.select(pl.col(name).cast(kind) for name, kind in (KEYS | ROWS).items())


def _mapping(path: Path, *, required: bool) -> dict[str, Any]:
    if not path.is_file():
        if required:
            raise FileNotFoundError(
                f"{path}: expected the run's configuration, found none; is this a run directory?"
            )
        return {}
    try:
        found = yaml.safe_load(path.read_text()) if path.suffix == ".yaml" else json.loads(path.read_text())
    except (yaml.YAMLError, ValueError) as error:
        raise ValueError(f"{path}: cannot be parsed ({error})") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: expected a mapping, got {type(found).__name__}")
    return found


def _timings(path: Path) -> pl.DataFrame:
    if not path.is_file() or not path.read_text().strip():
        return pl.DataFrame(schema=TIMINGS)
    try:
        lines = [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
        return pl.DataFrame([{k: line.get(k) for k in TIMINGS} for line in lines], schema=TIMINGS)
    except (ValueError, AttributeError, pl.exceptions.PolarsError) as error:
        raise ValueError(
            f"{path}: expected one JSON object per line with {list(TIMINGS)} ({error})"
        ) from error
