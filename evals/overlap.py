"""Contamination: how much of the training data stands in the test sets, word for word or nearly."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache

import numpy as np
import polars as pl

from driftloop.evals.abundance import subsample
from driftloop.evals.estimate import Estimate, mean, row, table
from driftloop.evals.exam import Same

NEAR = 0.8  # Jaccard similarity of byte 3-grams from which two texts are near-duplicates
BANDS, ROWS_PER_BAND = 16, 4  # a pair at 0.8 shares a band with chance 0.9998
PERMUTATIONS = BANDS * ROWS_PER_BAND
MOST = 20_000  # copies of the training data that are compared


def signatures(texts: pl.Series) -> np.ndarray:
    """MinHash signatures of byte 3-grams (ends marked), shape (texts, 64) u32."""
    from rensa import RMinHash

    if not len(texts):
        return np.zeros((0, PERMUTATIONS), np.uint32)
    length = texts.str.len_bytes().to_numpy().astype(np.int64) + 4
    joined = ("\x02\x02" + "\x03\x03\x02\x02".join(texts) + "\x03\x03").encode()
    codes = np.frombuffer(joined, np.uint8).astype(np.uint64)
    key = (codes[:-2] * np.uint64(65536) + codes[1:-1] * np.uint64(256) + codes[2:]) * np.uint64(
        0x9E3779B97F4A7C15
    )
    owner = np.repeat(np.arange(len(length)), length)
    grams = key[owner[:-2] == owner[2:]]
    ends = np.concatenate([[0], np.cumsum(length - 2)]).astype(np.uint64)
    matrix = RMinHash.digest_matrix_from_flat_token_hashes(grams, ends, PERMUTATIONS, 0)
    return np.asarray(matrix.to_rows(), dtype=np.uint32)


def near(texts: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Which signatures have a near-duplicate among `others`, shape (texts,) bool."""
    pairs = (
        _banded(texts, "text")
        .join(_banded(others, "other"), on=["band", "key"])
        .select("text", "other")
        .unique()
    )
    text, other = pairs["text"].to_numpy(), pairs["other"].to_numpy()
    alike = (texts[text] == others[other]).mean(axis=1) >= NEAR
    found = np.zeros(len(texts), bool)
    found[text[alike]] = True
    return found


def _banded(signature: np.ndarray, name: str) -> pl.DataFrame:
    n = len(signature)
    parts = signature.reshape(n * BANDS, ROWS_PER_BAND).astype(np.uint64)
    odd = np.array(
        [0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9, 0x27D4EB2F165667C5], np.uint64
    )
    key = (parts * odd).sum(axis=1, dtype=np.uint64)
    band, which = np.tile(np.arange(BANDS), n), np.repeat(np.arange(n), BANDS)
    return pl.DataFrame({"band": band, "key": key, name: which})


def contamination(train: pl.DataFrame, tests: Mapping[str, pl.DataFrame], *, seed: int = 0) -> pl.DataFrame:
    """Shares of the training data that stand in the test sets: rows of stage `loop`, in all and in each.

    `loop/contamination_exact` counts equal prompt and response, `loop/contamination_near` adds texts whose
    byte 3-grams overlap by 0.8 or more; `_id` and `_<axis>` name the split. In a small enumerable world
    training and test data share texts by nature: there only the OOD splits say something.

    Args:
        train: training data (prompt, response, count).
        tests: fixed test sets by split (prompt, response).
        seed: of the 20,000 copies that are compared where there are more.
    """
    whole = (pl.col("prompt") + pl.col("response")).alias("text")
    distinct = train.select(whole, "count").group_by("text").agg(pl.col("count").sum()).sort("text")
    kept = subsample(distinct["count"].to_numpy(), MOST, seed=seed)
    texts, weight = distinct["text"].filter(kept > 0), kept[kept > 0].astype(float)
    mine = signatures(texts)
    hits = {split: _hits(texts, mine, test) for split, test in tests.items() if test.height}
    if hits:
        hits = {"": (_any(hits, 0), _any(hits, 1))} | hits
    rows: list[tuple[object, ...]] = []
    for split, found in hits.items():
        suffix = f"_{split.removeprefix('ood/')}" if split else ""
        for kind, hit in zip(("exact", "near"), found, strict=True):
            share = mean(hit.astype(float), weight) if len(weight) else Estimate.missing()
            rows.append(row("loop", f"loop/contamination_{kind}{suffix}", "loop", "share", share))
    return table(rows)


def _any(hits: dict[str, tuple[np.ndarray, np.ndarray]], kind: int) -> np.ndarray:
    return np.asarray(np.any([found[kind] for found in hits.values()], axis=0))


def _hits(texts: pl.Series, mine: np.ndarray, test: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    known, theirs = _test(Same(test))
    same = texts.is_in(known.implode()).to_numpy()
    return same, same | near(mine, theirs)


@lru_cache(maxsize=32)
def _test(test: Same) -> tuple[pl.Series, np.ndarray]:
    frame: pl.DataFrame = test.value
    texts = frame.select((pl.col("prompt") + pl.col("response")).unique().sort()).to_series()
    return texts, signatures(texts)
