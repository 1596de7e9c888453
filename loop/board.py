"""The progress board: one line per lineage while a run goes on; plain lines where there is no terminal."""

from __future__ import annotations

import json
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from driftloop.loop.events import log_file


class Board:
    """Follows the logs of an attempt from a thread of its own; the executor knows nothing of it."""

    def __init__(self, run: Path, attempt: int, lineages: list[tuple[str, int]], *, quiet: bool) -> None:
        self._files = {who: log_file(run, attempt, *who) for who in lineages}
        self._read = dict.fromkeys(lineages, 0)
        self._quiet, self._stop = quiet, threading.Event()
        self._console = Console(stderr=True)
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._bars: dict[tuple[str, int], TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=self._console,
        )

    def __enter__(self) -> Board:
        if self._quiet:
            return self
        if self._console.is_terminal:
            self._progress.start()
            self._bars = {
                who: self._progress.add_task(
                    f"{who[0]} · seed {who[1]}", total=None, note="waiting", start=False
                )
                for who in self._files
            }
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._quiet:
            return
        self._stop.set()
        self._thread.join()
        self._poll()
        if self._bars:
            self._progress.stop()

    def _follow(self) -> None:
        while not self._stop.wait(0.3):
            self._poll()

    def _poll(self) -> None:
        for who, file in self._files.items():
            if not file.exists():
                continue
            with file.open("rb") as stream:
                stream.seek(self._read[who])
                whole = stream.read().rpartition(b"\n")[0]
            self._read[who] += len(whole) + (1 if whole else 0)
            for line in whole.splitlines():
                self._show(who, json.loads(line))

    def _show(self, who: tuple[str, int], event: dict[str, Any]) -> None:
        kind = event["event"]
        if self._bars:
            bar = self._bars[who]
            if not self._progress.tasks[bar].started:
                self._progress.start_task(bar)
            if kind == "generation":
                note = f"generation {event['generation']} of {event['of']}"
                self._progress.update(bar, completed=event["generation"], total=event["of"], note=note)
            elif kind == "stage":
                self._progress.update(bar, note=f"{event['phase']} {event['wall_s']:.1f} s")
            else:
                self._progress.update(bar, note="done")
        elif kind == "generation":
            print(
                f"{who[0]}, seed {who[1]}: generation {event['generation']} of {event['of']}",
                file=sys.stderr,
                flush=True,
            )
