"""A made-up run directory, shaped like a real one; its numbers mean nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import yaml

from driftloop.evals.estimate import ROWS
from driftloop.evals.report.records import KEYS
from driftloop.generators.samples import SELECTED

ARMS = ("random", "quality", "quota")
# metric, stage, axis, unit, start, ends per arm, spread between seeds
SHAPES: tuple[tuple[str, str, str, str, float, tuple[float, float, float], float], ...] = (
    ("id/accuracy_exact", "test", "id", "share", 0.93, (0.58, 0.99, 0.93), 0.012),
    ("id/accuracy_greedy", "test", "id", "share", 0.99, (0.83, 1.0, 0.99), 0.004),
    ("id/pass64", "test", "id", "share", 1.0, (0.99, 1.0, 1.0), 0.001),
    ("id/nll_head", "test", "id", "nats per token", 0.9, (0.95, 1.2, 0.92), 0.02),
    ("id/nll_middle", "test", "id", "nats per token", 1.3, (1.5, 2.4, 1.35), 0.03),
    ("id/nll_tail", "test", "id", "nats per token", 1.9, (2.5, 5.2, 2.0), 0.06),
    ("quality/valid_share", "model", "quality", "share", 0.97, (0.9, 1.0, 0.98), 0.004),
    ("quality/correct_share", "model", "quality", "share", 0.93, (0.6, 0.995, 0.94), 0.01),
    ("quality/mean", "model", "quality", "share", 0.93, (0.6, 0.995, 0.94), 0.01),
    ("diversity/hill1", "model", "diversity", "modes", 820.0, (410.0, 60.0, 700.0), 18.0),
    ("diversity/hill2", "model", "diversity", "modes", 610.0, (260.0, 42.0, 540.0), 15.0),
    ("diversity/hill1_per_prompt", "test", "diversity", "modes per prompt", 25.4, (9.6, 1.3, 18.4), 0.9),
    ("diversity/coverage64", "test", "diversity", "modes", 23.0, (10.2, 1.5, 20.1), 0.7),
    ("diversity/kl_truth", "test", "diversity", "nats", 0.3, (0.9, 3.6, 0.5), 0.05),
    ("diversity/distinct2", "model", "diversity", "share", 0.31, (0.24, 0.09, 0.29), 0.006),
    ("diversity/compression_ratio", "model", "diversity", "ratio", 3.1, (3.6, 8.8, 3.2), 0.1),
    ("diversity/strategy_hill1", "model", "diversity", "strategies", 2.8, (2.75, 2.3, 2.82), 0.05),
    ("diversity/strategy_share/add", "test", "diversity", "share", 0.41, (0.4, 0.3, 0.4), 0.02),
    ("diversity/strategy_share/subtract", "test", "diversity", "share", 0.37, (0.36, 0.13, 0.37), 0.02),
    ("diversity/strategy_share/multiply", "test", "diversity", "share", 0.22, (0.24, 0.57, 0.23), 0.02),
    ("complexity/structural_mean", "model", "complexity", "operations", 1.9, (1.9, 1.4, 2.0), 0.03),
    ("complexity/description_bytes", "model", "complexity", "bytes", 4.2, (4.0, 2.1, 4.3), 0.08),
    ("complexity/tokens_mean", "model", "complexity", "tokens", 5.2, (5.2, 4.9, 5.3), 0.03),
)
OOD = (
    ("accuracy_exact", 0.54, (0.3, 0.19, 0.54), 0.02),
    ("accuracy_greedy", 0.62, (0.35, 0.21, 0.61), 0.03),
    ("pass64", 1.0, (0.99, 0.74, 1.0), 0.01),
)
PHASE_SUMS = {
    "sampling": (0.02, -0.01, 0.03),
    "selection": (-0.05, -2.4, 0.9),
    "retraining": (-0.66, -0.2, -1.06),
}

WriteRun = Callable[..., Path]


@pytest.fixture(scope="session")
def write_run(tmp_path_factory: pytest.TempPathFactory) -> WriteRun:
    """`write_run(arms=..., seeds=..., ...)` writes a run directory and returns its path."""

    def write(
        name: str = "made-up",
        *,
        arms: tuple[str, ...] = ARMS,
        seeds: int = 3,
        generations: int = 6,
        ood: tuple[str, ...] = ("targets",),
        hostile: str = "",
        shift: float = 0.0,
    ) -> Path:
        folder = tmp_path_factory.mktemp("runs") / name
        folder.mkdir()
        rows = [
            row
            for number, arm in enumerate(arms)
            for seed in range(seeds)
            for row in _lineage(number % 3, arm, seed, generations, ood, shift)
        ]
        frame = pl.DataFrame(rows, schema=KEYS | ROWS, orient="row")
        frame.sort("arm", "seed", "generation", "stage", "metric").write_parquet(folder / "metrics.parquet")
        _records(folder, arms, seeds, generations)
        for arm in arms:
            _samples(folder / "lineages" / arm / "seed=0", generations, hostile, narrow=arm == "quality")
        return folder

    return write


def _lineage(
    number: int, arm: str, seed: int, generations: int, ood: tuple[str, ...], shift: float
) -> list[tuple[object, ...]]:
    rng = np.random.default_rng([seed, number])
    common = np.random.default_rng(seed)
    rows: list[tuple[object, ...]] = []
    shapes = [*SHAPES]
    for axis in ood:
        shapes += [(f"ood/{axis}/{m}", "test", "ood", "share", a, b, s) for m, a, b, s in OOD]
        shapes.append((f"gap/{axis}/accuracy_exact", "test", "gap", "share", 0.39, (0.28, 0.8, 0.39), 0.02))
    for metric, stage, axis, unit, start, ends, spread in shapes:
        offset = common.normal(0, spread)
        for t in range(generations + 1):
            value = start + (ends[number] - start) * (1 - (1 - t / max(generations, 1)) ** 1.7) + offset
            value += rng.normal(0, spread / 3) * (t > 0) + shift * t
            value = float(np.clip(value, 0.0, 1.0)) if unit == "share" else max(float(value), 0.01)
            rows.append(
                (arm, seed, t, stage, metric, axis, unit, value, 0.01, value - 0.02, value + 0.02, 1000)
            )
            if stage == "model" and t < generations:
                rows.append((arm, seed, t, "chosen", metric, axis, unit, value, 0.01, value, value, 1000))
                rows.append((arm, seed, t, "real", metric, axis, unit, start * 1.02, 0.01, 0.0, 1.0, 1000))
    size = 1800.0 if number == 0 else float("nan")
    rows.append(
        (
            arm,
            seed,
            generations,
            "loop",
            "loop/effective_population",
            "loop",
            "copies",
            size,
            90.0,
            0.0,
            9e3,
            6,
        )
    )
    for t in range(generations):
        total = 0.0
        for phase, sums in PHASE_SUMS.items():
            value = float(sums[number] / generations + rng.normal(0, 0.01))
            total += value
            rows += _phase(arm, seed, t, phase, value)
        rows += _phase(arm, seed, t, "total", total)
        for metric, unit, value in (
            ("loop/acceptance", "share", 0.33),
            ("loop/dropped/wrong", "share", 0.05 + 0.01 * number),
            ("loop/dropped/over budget", "share", 0.61),
            ("loop/ood_share", "share", 0.0),
        ):
            rows.append((arm, seed, t, "loop", metric, "loop", unit, value, 0.0, value, value, 3000))
        for metric, cost in (
            ("cost/tokens_generated", 24000.0),
            ("cost/tokens_trained", 64000.0),
            ("cost/optimizer_steps", 100.0),
        ):
            rows.append(
                (
                    arm,
                    seed,
                    t,
                    "loop",
                    metric,
                    "cost",
                    metric.split("/")[1].split("_")[0],
                    cost,
                    0.0,
                    cost,
                    cost,
                    1,
                )
            )
    return rows


def _phase(arm: str, seed: int, t: int, phase: str, value: float) -> list[tuple[object, ...]]:
    return [
        (
            arm,
            seed,
            t,
            "phase",
            f"attribution/{phase}_{q}",
            "diversity",
            "nats",
            value,
            0.0,
            value,
            value,
            1000,
        )
        for q in ("q1", "q2")
    ]


def _arm(arm: str, generations: int) -> dict[str, object]:
    return {
        "world": {"kind": "targets", "minimum_operand": 2},
        "model": {"kind": "llama", "width": 48},
        "loop": {
            "generations": generations,
            "start": "previous",
            "regime": "replace",
            "firewall": True,
            "real_fraction": 0.0,
        },
        "select": {"kind": arm, **({"dial": 0.5} if arm == "quality" else {})},
    }


def _records(folder: Path, arms: tuple[str, ...], seeds: int, generations: int) -> None:
    config = {
        "name": folder.name,
        "seeds": list(range(seeds)),
        "executor": {"kind": "inline", "workers": None},
        "arms": {arm: _arm(arm, generations) for arm in arms},
    }
    (folder / "config.resolved.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    provenance = {
        "command": ["driftloop", "run", "runs/quickstart.yaml", "loop.generations=6"],
        "driftloop": "0.1.0",
        "packages": {"numpy": "2.3.0", "polars": "2.1.0"},
        "hardware": {"cpu": "made-up processor", "cores": 2},
        "seeds": list(range(seeds)),
        "config_sha256": "0" * 64,
        "inputs": {},
    }
    (folder / "provenance.json").write_text(json.dumps(provenance))
    lines = [
        {"arm": arm, "seed": s, "generation": t, "phase": phase, "cpu_s": cpu, "wall_s": cpu * 1.1}
        for arm in arms
        for s in range(seeds)
        for t in range(generations)
        for phase, cpu in (("generate", 0.4), ("select", 0.05), ("retrain", 1.3), ("evaluate", 0.25))
    ]
    (folder / "timings.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def _samples(lineage: Path, generations: int, hostile: str, *, narrow: bool) -> None:
    for t in range(generations):
        folder = lineage / f"gen={t}"
        folder.mkdir(parents=True)
        late = narrow and t == generations - 1
        _pool(t, hostile, "synthetic", late).write_parquet(folder / "pool.parquet")
        _pool(t, hostile, "synthetic", late).write_parquet(folder / "chosen.parquet")
        if t == 0:
            _pool(0, hostile, "real", False).write_parquet(folder / "real.parquet")


def _pool(t: int, hostile: str, source: str, narrow: bool) -> pl.DataFrame:
    answers = {"12:": ["3*4", "2*6", "8+4", "7+5", "20-8"], "30:": ["5*6", "15+15", "40-10", "3*10", "17+13"]}
    texts = [(p, r) for p, rs in answers.items() for r in (rs[:1] if narrow else rs)] + (
        [("12:", hostile)] if hostile else []
    )
    n = len(texts)
    frame = pl.DataFrame({"prompt": [p for p, _ in texts], "response": [r for _, r in texts]}).with_columns(
        pl.Series("sample_id", range(t * 100, t * 100 + n)),
        pl.lit(None).alias("parent_id"),
        pl.lit(t).alias("generation"),
        pl.lit(source).alias("source"),
        pl.Series("count", [40 if narrow else 1 + i % 4 for i in range(n)]),
        pl.lit(-1.0).alias("logprob"),
        pl.lit(4).alias("n_tokens"),
        pl.lit(True).alias("valid"),
        pl.Series("quality", [1.0] * (n - bool(hostile)) + [0.0] * bool(hostile)),
        pl.lit(1.0).alias("complexity"),
        pl.col("response").alias("mode"),
        pl.lit("add").alias("strategy"),
        pl.lit("id").alias("split"),
        pl.lit(1).alias("kept"),
        pl.lit("kept").alias("reason"),
        pl.lit(1.0).alias("weight"),
    )
    return frame.select(pl.col(name).cast(kind) for name, kind in SELECTED.items())
