"""What a lineage tells the world while it runs: its log, the timings, and the metrics as they come."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import polars as pl


class Events:
    """Appends one JSON object per line to `logs/attempt_<n>/`, `timings.jsonl` and `metrics.jsonl` of a run."""

    def __init__(self, run: Path, arm: str, seed: int, attempt: int) -> None:
        self._run, self._who, self._generation = run, {"arm": arm, "seed": seed}, 0
        self._log = log_file(run, attempt, arm, seed)
        self._log.parent.mkdir(parents=True, exist_ok=True)

    def write(self, event: dict[str, Any]) -> None:
        """Append an event to the attempt's log."""
        _append(self._log, [{"time": round(time.time(), 3), **self._who, **event}])

    def stage(self, event: dict[str, Any]) -> None:
        """A stage was computed (not looked up)."""
        self.write(event)
        _append(self._run / "timings.jsonl", [{**self._who, "generation": self._generation, **event}])

    def generation_done(self, generation: int, of: int) -> None:
        """A generation is measured and on disk."""
        self._generation = generation
        self.write({"event": "generation", "generation": generation, "of": of})

    def announce(self, rows: pl.DataFrame) -> None:
        """New rows of the metrics table, for `tail -f`."""
        _append(self._run / "metrics.jsonl", [{**self._who, **line} for line in rows.iter_rows(named=True)])


def log_file(run: Path, attempt: int, arm: str, seed: int) -> Path:
    """Where an attempt logs a lineage."""
    return run / "logs" / f"attempt_{attempt}" / f"{arm}-seed={seed}.jsonl"


def _append(path: Path, lines: list[dict[str, Any]]) -> None:
    """One write in append mode, so that lines of several processes do not mix."""
    with path.open("a", encoding="utf-8") as stream:
        stream.write("".join(json.dumps(line) + "\n" for line in lines))
