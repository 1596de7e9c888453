"""A run directory from its first byte to its report: start, resume, fork."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from driftloop.loop import cluster
from driftloop.loop.board import Board
from driftloop.loop.compose import build
from driftloop.loop.ledger import set_aside, write_atomic
from driftloop.loop.lineage import follow, parquet
from driftloop.loop.provenance import provenance
from driftloop.loop.settings import Config


class RunError(RuntimeError):
    """A run directory that cannot be used as asked, or lineages that stopped."""


def run(
    config: Config,
    out: Path,
    *,
    address: str | None = None,
    command: list[str] | None = None,
    quiet: bool = False,
) -> Path:
    """Start a run in the new directory `out` and play every lineage to its end.

    Raises:
        RunError: `out` exists, or a lineage stopped (all others are finished and kept).
    """
    create(config, out, command or [])
    return advance(out, address=address, quiet=quiet)


def create(config: Config, out: Path, command: list[str]) -> None:
    """Write a run directory's manifest; refuses to touch one that exists."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise RunError(
            f"{out} already exists and is not overwritten; choose another --out, go on with `driftloop resume {out}`, "
            "or remove it yourself"
        )
    out.mkdir(parents=True, exist_ok=True)
    write_atomic(out / "provenance.json", json.dumps(provenance(config, command), indent=1).encode())
    tree = config.model_dump(mode="json")
    write_atomic(
        out / "config.resolved.yaml", yaml.safe_dump(tree, sort_keys=False, allow_unicode=True).encode()
    )


def resume(out: Path, *, address: str | None = None, repair: bool = False, quiet: bool = False) -> Path:
    """Go on with a run that was interrupted; a finished one is only checked.

    Raises:
        RunError: `out` is no run directory, or a lineage stopped.
    """
    config = manifest(out)
    if repair:
        set_aside(out / "store", next(iter(config.arms.values())).model)
    return advance(out, address=address, quiet=quiet)


def manifest(out: Path) -> Config:
    """The resolved configuration of a run directory."""
    file = out / "config.resolved.yaml"
    if not file.is_file():
        raise RunError(
            f"{out} is no run directory (it has no config.resolved.yaml); `driftloop run CONFIG --out {out}` starts one"
        )
    return build(yaml.safe_load(file.read_text(encoding="utf-8")))


def advance(out: Path, *, address: str | None, quiet: bool) -> Path:
    """Play all lineages through the executor, then gather their metrics."""
    config = manifest(out)
    shutil.rmtree(out / "store" / "drafts", ignore_errors=True)  # what a killed attempt left half-written
    attempt = 1 + len(list((out / "logs").glob("attempt_*")))
    (out / "logs" / f"attempt_{attempt}").mkdir(parents=True)
    jobs = [
        (out.resolve(), name, config.arms[name], seed, config.ledger.keep_models, attempt)
        for name, seed in order(config)
    ]
    with Board(out, attempt, [(name, seed) for _, name, _, seed, _, _ in jobs], quiet=quiet):
        failed = play_all(jobs, config, address)
    gather(out, config)
    if failed:
        lines = [f"{jobs[i][1]}, seed {jobs[i][3]}: {message}" for i, message in sorted(failed.items())]
        raise RunError(
            f"{len(failed)} of {len(jobs)} lineages stopped; the others are kept in {out}\n"
            + "\n".join(lines)
        )
    return out


def play_all(jobs: list[tuple[Any, ...]], config: Config, address: str | None) -> dict[int, str]:
    """The messages of the lineages that stopped, by index."""
    if config.executor.kind == "ray":
        return cluster.execute(jobs, follow, config.executor, address)
    results = {i: cluster.guarded(follow, job) for i, job in enumerate(jobs)}
    return {i: message for i, message in results.items() if message}


def order(config: Config) -> list[tuple[str, int]]:
    """Lineages in the order they are started: one per seed first, so that base models are trained side by side."""
    names = list(config.arms)
    return [(names[0], seed) for seed in config.seeds] + [
        (name, seed) for seed in config.seeds for name in names[1:]
    ]


def gather(out: Path, config: Config) -> None:
    """All finished lineages' rows in one table, in an order that no executor can change."""
    files = [
        out / "lineages" / name / f"seed={seed}" / "metrics.parquet"
        for name in config.arms
        for seed in config.seeds
    ]
    parts = [pl.read_parquet(file) for file in files if file.exists()]
    if parts:
        metrics = pl.concat(parts).sort("arm", "seed", "generation", "stage", "metric")
        write_atomic(out / "metrics.parquet", parquet(metrics))


def fork(
    source: Path, at: str, overrides: dict[str, Any], out: Path, *, command: list[str] | None = None
) -> Config:
    """Make a run directory that shares a lineage of `source` up to a generation and plays on with other settings.

    Args:
        at: `ARM/SEED/GENERATION`.
        overrides: dotted keys and values that hold from that generation on; `loop.generations` is the new last one.

    Raises:
        RunError: there is no such lineage, or nothing would be left to play.
    """
    config = manifest(source)
    name, seed, generation = point(config, at)
    tree = config.arms[name].model_dump(mode="json")
    last = overrides.pop("loop.generations", tree["loop"]["generations"])
    if last <= generation:
        raise RunError(
            f"--at {at}: loop.generations is {last}, nothing is left to play; add loop.generations={generation + 4}"
        )
    tree["loop"]["generations"] = last
    tree["changes"] = (
        [*tree["changes"], {"at": generation, "set": overrides}] if overrides else tree["changes"]
    )
    label = f"{name}@{generation}"
    rest = config.model_dump(mode="json", exclude={"arms", "seeds", "name"})
    forked = build({**rest, "name": f"{config.name}-fork", "seeds": [seed], "arms": {label: tree}})
    create(forked, out, command or [])
    shutil.copytree(
        source / "store",
        out / "store",
        copy_function=hard_link,
        ignore=shutil.ignore_patterns("drafts", "locks", "damaged"),
    )
    return forked


def point(config: Config, at: str) -> tuple[str, int, int]:
    """`ARM/SEED/GENERATION` as its parts, checked."""
    name, _, rest = at.rpartition("/")[0].rpartition("/")
    generation = at.rpartition("/")[2]
    if (
        not rest.isdigit()
        or not generation.isdigit()
        or name not in config.arms
        or int(rest) not in config.seeds
    ):
        raise RunError(
            f"--at {at!r}: expected ARM/SEED/GENERATION with an arm of {list(config.arms)}, a seed of {list(config.seeds)}, "
            f"and a generation up to {config.arms[next(iter(config.arms))].loop.generations}"
        )
    return name, int(rest), int(generation)


def hard_link(source: str, target: str) -> str:
    """Share a file between two runs; copy it where the file system cannot."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
    return target
