"""Retraining a table is counting, and resampling it is the Wright-Fisher model."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from driftloop.generators.contracts import Sampling
from driftloop.generators.models.categorical import CategoricalModel
from driftloop.generators.worlds.categorical import Categorical
from driftloop.generators.worlds.targets import Targets
from driftloop.loop.retrain.counts import Counts

WORLD = Categorical(types=4)
FRESH = CategoricalModel().fresh(WORLD, seed=0)


def frame(rows: list[tuple[str, str, int, float]]) -> pl.DataFrame:
    columns = {"prompt": pl.String, "response": pl.String, "count": pl.UInt64, "weight": pl.Float64}
    return pl.DataFrame(rows, schema=columns, orient="row")


def shares(smoothing: float, rows: list[tuple[str, str, int, float]]) -> list[float]:
    fitted, _ = Counts(smoothing=smoothing).fit(FRESH, frame(rows), seed=0)
    every: list[float] = np.exp(fitted.logprob(WORLD.truth())).tolist()
    return every


def test_the_table_is_the_weighted_counts() -> None:
    rows = [("", "0", 2, 1.5), ("", "2", 4, 0.25), ("", "0", 1, 1.0)]
    assert shares(0, rows) == pytest.approx([0.8, 0, 0.2, 0])
    assert shares(1, rows) == pytest.approx([5 / 9, 1 / 9, 2 / 9, 1 / 9])


def test_the_report_counts_samples_and_gives_the_cross_entropy() -> None:
    fitted, report = Counts().fit(FRESH, frame([("", "0", 3, 1.0), ("", "1", 1, 1.0)]), seed=0)
    assert report["tokens_trained"] == 4
    assert report["optimizer_steps"] == 0
    assert report["final_loss"] == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))
    assert FRESH.weights.tolist() == [1, 1, 1, 1]
    assert fitted.weights.tolist() == [3, 1, 0, 0]


def test_prompts_without_data_keep_what_they_had() -> None:
    world = Targets(limit=12)
    fresh = CategoricalModel().fresh(world, seed=0)
    fitted, _ = Counts().fit(fresh, frame([("06:", "04+02", 1, 1.0)]), seed=0)
    other = world.truth().filter(pl.col("prompt") != "06:")
    assert fitted.logprob(other).tolist() == fresh.logprob(other).tolist()


def test_heterozygosity_falls_as_wright_and_fisher_say() -> None:
    """E[1 - sum p²] shrinks by 1 - 1/n a generation; 400 replicates of 10 generations, 4 standard errors."""
    n, generations, left = 20, 10, []
    for replicate in range(400):
        model = FRESH
        for t in range(generations):
            drawn = model.sample(WORLD.prompts(n, seed=0), Sampling(), seed=replicate * generations + t)
            model, _ = Counts().fit(model, drawn, seed=0)
        p = model.weights / model.weights.sum()
        left.append(1 - (p**2).sum())
    expected = 0.75 * (1 - 1 / n) ** generations
    assert abs(np.mean(left) - expected) < 4 * np.std(left) / np.sqrt(len(left))


def test_a_string_outside_the_world_is_named() -> None:
    with pytest.raises(ValueError, match=r"met \('', '9'\), which is no string of the world; select valid"):
        Counts().fit(FRESH, frame([("", "0", 1, 1.0), ("", "9", 1, 1.0)]), seed=0)


def test_no_data_is_refused() -> None:
    with pytest.raises(ValueError, match="keep more, or mix in real data"):
        Counts().fit(FRESH, frame([]), seed=0)
