"""Difficulty of prompts by the solve rate of a frozen model."""

import numpy as np
import polars as pl
import pytest

from driftloop.evals.difficulty import difficulty, prompt_difficulty
from driftloop.evals.exam import sit
from driftloop.generators.worlds.targets import Targets

WORLD = Targets(limit=12)


class Even:
    """Gives every right answer of the world the same probability."""

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        return np.full(texts.height, np.log(0.01))


def test_difficulty_is_the_chance_to_fail_in_one_try() -> None:
    scores = sit(Even(), WORLD)  # type: ignore[arg-type]
    known = prompt_difficulty(scores)
    right = dict(WORLD.answers(known.select("prompt")).group_by("prompt").len().iter_rows())
    for prompt, value in known.iter_rows():
        assert value == pytest.approx(1 - 0.01 * right[prompt])


def test_a_choice_of_easy_prompts_is_easier_than_its_pool() -> None:
    known = pl.DataFrame({"prompt": ["a", "b", "c"], "difficulty": [0.1, 0.5, 0.9]})
    counts = pl.Series("count", [4, 4, 4, 8], dtype=pl.UInt64)
    pool = pl.DataFrame({"prompt": ["a", "b", "c", "unknown"], "count": counts})
    rows = {
        stage: dict(difficulty(frame, known, stage).select("metric", "value").iter_rows())
        for stage, frame in (("pool", pool), ("chosen", pool.head(2)))
    }
    assert rows["pool"]["complexity/difficulty_mean"] == pytest.approx(0.5)
    assert rows["chosen"]["complexity/difficulty_mean"] == pytest.approx(0.3)
    assert rows["pool"]["complexity/difficulty_p10"] == pytest.approx(0.1)
    assert rows["pool"]["complexity/difficulty_p90"] == pytest.approx(0.9)


def test_no_known_prompt_is_nan_and_no_known_world_is_no_row() -> None:
    known = pl.DataFrame({"prompt": ["a"], "difficulty": [0.1]})
    stranger = pl.DataFrame({"prompt": ["z"], "count": pl.Series([3], dtype=pl.UInt64)})
    assert difficulty(stranger, known, "pool")["value"].is_nan().all()
    assert difficulty(stranger, known.clear(), "pool").is_empty()
