"""Rarity strata of real text: head, middle and tail of the real distribution."""

from __future__ import annotations

import numpy as np
import polars as pl

from driftloop.generators.contracts import World

STRATA = ("head", "middle", "tail")


def strata(likelihood: np.ndarray) -> np.ndarray:
    """Thirds by likelihood: "tail" is the least likely third, ties stay together, shape (rows,) str."""
    _, which, size = np.unique(likelihood, return_inverse=True, return_counts=True)
    place = (np.cumsum(size) - size / 2)[which] / max(len(likelihood), 1)
    return np.asarray(np.where(place < 1 / 3, "tail", np.where(place > 2 / 3, "head", "middle")))


def stratify(test: pl.DataFrame, world: World, split: str) -> pl.DataFrame:
    """Add `stratum` to a test set: by the mode's real probability where enumerable, else by byte bigrams.

    A world that states a stratum of its own keeps it.
    """
    if "stratum" in test.columns or not test.height:
        return test
    truth = world.truth(split)
    if truth is None:
        return test.with_columns(pl.Series("stratum", strata(bigram_likelihood(test["response"]))))
    modes = truth.group_by("mode", maintain_order=True).agg(pl.col("probability").sum())
    known = modes.select("mode", pl.Series("stratum", strata(modes["probability"].to_numpy())))
    return (
        world.score(test)
        .join(known, on="mode", how="left", maintain_order="left")
        .select(*test.columns, "stratum")
    )


def bigram_likelihood(texts: pl.Series) -> np.ndarray:
    """Mean log-frequency of each text's byte pairs among all the texts given, shape (texts,)."""
    length = texts.str.len_bytes().to_numpy().astype(np.int64) + 2
    joined = ("\x02" + "\x03\x02".join(texts) + "\x03").encode() if len(texts) else b""
    codes = np.frombuffer(joined, np.uint8).astype(np.int64)
    pairs, owner = codes[:-1] * 256 + codes[1:], np.repeat(np.arange(len(length)), length)
    inside = owner[:-1] == owner[1:]
    pairs, owner = pairs[inside], owner[:-1][inside]
    frequency = np.bincount(pairs, minlength=65536)
    return np.asarray(np.bincount(owner, np.log(frequency[pairs]), minlength=len(length)) / (length - 1))
