"""Contamination: exact and near-duplicate shares."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from driftloop.evals.overlap import NEAR, contamination, near, signatures


def frame(responses: list[str], count: list[int] | None = None) -> pl.DataFrame:
    copies = pl.Series("count", count or [1] * len(responses), dtype=pl.UInt64)
    return pl.DataFrame(
        {"prompt": "", "response": responses, "count": copies}, schema_overrides={"response": pl.String}
    )


FOX = "the quick brown fox jumps over the lazy dog and runs away"


def shares(train: pl.DataFrame, tests: dict[str, pl.DataFrame]) -> dict[str, float]:
    return dict(contamination(train, tests).select("metric", "value").iter_rows())


def test_exact_and_near_duplicates_are_counted_by_copies_and_by_split() -> None:
    train = frame([FOX, FOX[:-1] + "s", "something else entirely, with words"], [1, 2, 7])
    found = shares(train, {"id": frame([FOX]), "ood/x": frame(["unrelated text of some length"])})
    assert found["loop/contamination_exact"] == pytest.approx(0.1)
    assert found["loop/contamination_near"] == pytest.approx(0.3)
    assert found["loop/contamination_near_id"] == pytest.approx(0.3)
    assert found["loop/contamination_near_x"] == 0


def test_a_prompt_counts_as_part_of_the_text() -> None:
    test = frame(["b"]).with_columns(pl.lit("a:").alias("prompt"))
    assert shares(frame(["b"]), {"id": test})["loop/contamination_exact"] == 0
    assert shares(test, {"id": test})["loop/contamination_exact"] == 1


def test_signatures_agree_with_the_true_jaccard_similarity() -> None:
    draw = np.random.default_rng(0)
    words = ["".join(chr(97 + c) for c in row) for row in draw.integers(0, 6, (60, 30))]
    words += [w[:20] + v[20:] for w, v in pairwise(words)]
    grams = [{("\x02\x02" + w + "\x03\x03")[i : i + 3] for i in range(len(w) + 2)} for w in words]
    found = signatures(pl.Series(words))
    errors = []
    for i in range(59):
        true = len(grams[i] & grams[60 + i]) / len(grams[i] | grams[60 + i])
        errors.append((found[i] == found[60 + i]).mean() - true)
    # 64 permutations: standard deviation at most 1/16 for one pair
    assert abs(np.mean(errors)) < 4 / 16 / np.sqrt(59)
    assert NEAR == 0.8


def test_near_finds_equal_texts_and_no_strangers() -> None:
    texts = signatures(pl.Series([FOX, "another sentence that shares little", ""]))
    assert near(texts, texts).all()
    assert not near(texts[1:], texts[:1]).any()
    assert not near(texts, texts[:0]).any()


def test_no_training_data_gives_nan_and_no_tests_give_no_rows() -> None:
    found = contamination(frame([]), {"id": frame(["a"])})
    assert found["value"].is_nan().all()
    assert contamination(frame(["a"]), {"id": frame([])}).height == 0
