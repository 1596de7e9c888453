"""What the loop itself costs: a tabular round, Ray on top of the work, a second worker.

    python benchmarks/orchestration.py [--rounds 5] [--quick]

1. Milliseconds of `loop.round.play` in the world of types, phase by phase: no ledger, no evaluation.
2. The same lineage of many rounds, through ledger and evaluation, in this process and on a Ray actor: the median
   time between two finished rounds, and what a run takes besides.
3. Lineages per second on one and on two workers, from runs of two sizes, so that start-up cancels.

Contenders take turns; medians over rounds. `--quick` is a smoke test whose figures mean nothing. Prints Markdown.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = os.environ["POLARS_MAX_THREADS"] = os.environ["NUMBA_NUM_THREADS"] = "1"

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any

from driftloop.loop import cluster
from driftloop.loop.compose import build
from driftloop.loop.round import begin, plain, play
from driftloop.loop.run import run
from driftloop.loop.settings import Arm, Config, Executor

HUGE = 10**12
CASES = {
    "N = 100, keep 50, uniform": (100, 50, "uniform"),
    "N = 100, all": (100, 100, "all"),
    "N = 10^12, all": (HUGE, HUGE, "all"),
}
LONG = 60  # rounds of the lineage that is played with and without Ray
FEW, MANY = 1, 4  # lineages per worker: the slope between them is a lineage
LINEAGE: dict[str, Any] = {  # about two CPU-seconds of a small transformer
    "world": {"kind": "targets", "limit": 60},
    "model": {"kind": "transformer"},
    "base": {"samples": 9600, "retrain": {"kind": "supervised", "steps": 100, "batch": 96}},
    "loop": {"generations": 3, "pool": 1000, "keep": 300, "gate": "ignore"},
    "retrain": {"kind": "supervised", "steps": 50},
    "arms": {"random": {"select": {"kind": "uniform"}}},
}


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--quick", action="store_true", help="a smoke test")
    asked = options.parse_args()
    print(machine(), "\n")
    print_rounds(20 if asked.quick else 200, asked.rounds)
    with tempfile.TemporaryDirectory() as place:
        print_ray(Path(place), *((3, 1) if asked.quick else (LONG, asked.rounds)))
        print_workers(
            Path(place), *((1, 2, 1) if asked.quick else (FEW, MANY, asked.rounds)), quick=asked.quick
        )


def machine() -> str:
    """Machine, load and versions in one line."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((x.split(":")[1].strip() for x in lines if "model name" in x), platform.machine())
    versions = ", ".join(f"{name} {version(name)}" for name in ("polars", "ray", "torch", "numpy"))
    return f"{os.cpu_count()} cores {cpu}, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, {versions}"


def tabular(pool: int, keep: int, policy: str, generations: int = 1) -> dict[str, Any]:
    """Twenty types, a table as model, counting as training."""
    return {
        "world": {"kind": "categorical", "types": 20, "exponent": 1.0},
        "model": {"kind": "categorical"},
        "base": {"samples": 10**6, "retrain": {"kind": "counts"}},
        "loop": {"generations": generations, "mode": "propose", "pool": pool, "keep": keep, "gate": "ignore"},
        "select": {"kind": policy},
        "retrain": {"kind": "counts"},
    }


def tabular_rounds(pool: int, keep: int, policy: str, repeats: int) -> dict[str, float]:
    """CPU milliseconds of one round from the base model, in all and per phase, medians over seeds."""
    arm = Arm.model_validate(tabular(pool, keep, policy))
    base = begin(arm, seed=0)
    times: dict[str, list[float]] = defaultdict(list)

    def watched(phase: Callable[..., Any], *args: Any, **settings: Any) -> Any:
        return clocked(times[phase.__name__], lambda: plain(phase, *args, **settings))

    play(arm, base, (), seed=0)
    for seed in range(repeats):
        clocked(times["round"], lambda seed=seed: play(arm, base, (), seed=seed))
        play(arm, base, (), seed=seed, step=watched)
    return {name: statistics.median(all_of) for name, all_of in times.items()}


def clocked(times: list[float], work: Callable[[], Any]) -> Any:
    """Run `work` and note its CPU milliseconds."""
    begun = time.process_time()
    result = work()
    times.append(1000 * (time.process_time() - begun))
    return result


def print_rounds(repeats: int, rounds: int) -> None:
    """CPU milliseconds of a tabular round."""
    found: dict[str, list[dict[str, float]]] = defaultdict(list)
    for _ in range(rounds):
        for name, case in CASES.items():
            found[name].append(tabular_rounds(*case, repeats=repeats))
    phases = ("round", "generate", "judge", "take", "retrain")
    print(f"A tabular round, 20 types, CPU ms, median of {rounds} x {repeats} (target 2):\n")
    print(f"| case | {' | '.join(phases)} |\n| --- {'| --- ' * len(phases)}|")
    for name, parts in found.items():
        cells = [f"{statistics.median(part[phase] for part in parts):.2f}" for phase in phases]
        print(f"| {name} | {' | '.join(cells)} |")
    print()


def config(settings: dict[str, Any], seeds: int, executor: dict[str, Any]) -> Config:
    """A whole configuration."""
    arms = settings.get("arms", {"only": {}})
    return build({"name": "benchmark", **settings, "arms": arms, "seeds": seeds, "executor": executor})


def wall(
    settings: dict[str, Any], seeds: int, place: Path, **executor: Any
) -> tuple[float, list[float], float]:
    """Wall seconds of a whole run, and between the finished rounds of its lineages; CPU seconds of all stages."""
    with tempfile.TemporaryDirectory(dir=place) as folder:
        begun = time.perf_counter()
        out = run(config(settings, seeds, executor), Path(folder) / "run", quiet=True)
        took, apart = time.perf_counter() - begun, []
        for log in (out / "logs" / "attempt_1").glob("*.jsonl"):
            events = map(json.loads, log.read_text().splitlines())
            ends = [event["time"] for event in events if event["event"] == "generation"]
            apart += [b - a for a, b in pairwise(ends)]
        stages = map(json.loads, (out / "timings.jsonl").read_text().splitlines())
        cpu = sum(stage["cpu_s"] for stage in stages if stage["phase"] != "found")
    return took, apart, cpu


def print_ray(place: Path, length: int, rounds: int) -> None:
    """What Ray adds to a round of a lineage, and to a run."""
    begun = time.perf_counter()
    cluster.connect(None, Executor(workers=2))
    init = time.perf_counter() - begun
    executors: dict[str, dict[str, Any]] = {
        "inline": {"kind": "inline"},
        "Ray": {"kind": "ray", "workers": 1},
    }
    per_round: dict[str, list[float]] = defaultdict(list)
    rest: dict[str, list[float]] = defaultdict(list)
    work: dict[str, list[float]] = defaultdict(list)
    wall(tabular(100, 50, "uniform"), 1, place, kind="inline")
    for _ in range(rounds):
        for name, executor in executors.items():
            took, apart, cpu = wall(tabular(100, 50, "uniform", length), 1, place, **executor)
            per_round[name].append(statistics.median(apart))
            rest[name].append(took - sum(apart))
            work[name].append(cpu / length)
    added = statistics.median(r - i for r, i in zip(per_round["Ray"], per_round["inline"], strict=True))
    print(
        f"A lineage of {length} tabular rounds, in this process and on a Ray actor, wall, median of {rounds}:\n"
    )
    print("| | ms per round, ledger and evaluation included | CPU ms of its stages | s per run besides |")
    print("| --- | --- | --- | --- |")
    for name in executors:
        ms, cpu = (1000 * statistics.median(times[name]) for times in (per_round, work))
        print(f"| {name} | {ms:.1f} | {cpu:.1f} | {statistics.median(rest[name]):.2f} |")
    print(f"| Ray adds | {1000 * added:.1f} (target 50) | | start of the cluster, once: {init:.2f} |\n")


def print_workers(place: Path, few: int, many: int, rounds: int, *, quick: bool) -> None:
    """Lineages per second on one worker and on two."""
    settings = LINEAGE if not quick else tabular(100, 50, "uniform", 2)
    rates: dict[int, list[float]] = defaultdict(list)
    for _ in range(rounds):
        for workers in (1, 2):
            a, b = (wall(settings, workers * n, place, kind="ray", workers=workers)[0] for n in (few, many))
            rates[workers].append(workers * (many - few) / (b - a))
    gain = statistics.median(two / one for one, two in zip(rates[1], rates[2], strict=True))
    print(f"Lineages of a 56k transformer, median of {rounds} rounds, load {os.getloadavg()[0]:.1f}:\n")
    print("| workers | lineages per second |\n| --- | --- |")
    for workers, found in rates.items():
        print(f"| {workers} | {statistics.median(found):.3f} |")
    print(f"| 2 / 1 | {gain:.2f} (target 1.8) |\n")


if __name__ == "__main__":
    main()
