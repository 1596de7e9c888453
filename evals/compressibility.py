"""Compression ratio: how much shorter the samples get together; a plain sign of repetition."""

from __future__ import annotations

import math
import zlib

import numpy as np
import polars as pl

from driftloop.evals.abundance import subsample, texts
from driftloop.evals.estimate import Context, Estimate, Measure
from driftloop.generators.seeds import rng

PARTS = 10  # blocks that the standard error comes from
MOST = 10_000  # copies that are compressed: deflate looks back 32 KiB only, more copies say nothing new


def ratio(lines: list[bytes]) -> float:
    """Raw over deflated bytes of newline-joined lines; higher = more repetitive (arXiv 2403.00553)."""
    raw = b"\n".join(lines)
    return len(raw) / len(zlib.compress(raw, 9))


def _compression(samples: pl.DataFrame, context: Context) -> Estimate:
    """On sorted lines, so that row order cannot matter; the error from ten random blocks."""
    distinct = texts(samples, context)
    counts = subsample(distinct["count"].to_numpy(), MOST, seed=context.seed)
    copies = int(counts.sum())
    if not copies:
        return Estimate.missing()
    coded = [text.encode() for text in distinct["response"].filter(counts > 0)]
    order = np.repeat(np.arange(len(coded)), counts[counts > 0])
    value = ratio([coded[i] for i in order])
    if copies < 2 * PARTS:
        return Estimate(value, math.nan, math.nan, math.nan, copies)
    part = rng(context.seed, "compression").permutation(copies) % PARTS
    blocks = [ratio([coded[i] for i in order[part == block]]) for block in range(PARTS)]
    relative = float(np.std(blocks, ddof=1) / np.mean(blocks)) / math.sqrt(PARTS)
    return Estimate.normal(value, value * relative, copies)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "diversity/compression_ratio",
        "diversity",
        "ratio",
        "down",
        "How many times shorter do the samples get when compressed together?",
        _compression,
        descriptive=True,  # its interval holds the mean in 73 % of samples of a steep law
    ),
)
