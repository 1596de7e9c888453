"""Lexical diversity: distinct n-grams at equal token counts. Form only: never the sole sign of diversity.

A token is a word where a text has white space between words, else a character. At most 131,072 texts are read, and
as many n-grams compared: where the common sample size is larger, this is the common size.
EAD: Rethinking and Refining the Distinct Metric (arXiv 2202.13587).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import polars as pl

from driftloop.evals.abundance import per_frame, texts
from driftloop.evals.estimate import Context, Estimate, Measure
from driftloop.evals.hill import log_absent

MOST = 131_072  # texts that are read: a share of distinct n-grams is known to 0.3 % then


class Grams(NamedTuple):
    """n-grams of distinct texts."""

    kind: np.ndarray  # index of the n-gram at each place, shape (places,)
    owner: np.ndarray  # text of each place, shape (places,)
    copies: np.ndarray  # of each text, shape (texts,) f64
    counts: np.ndarray  # of each kind, copies included, shape (kinds,) f64


def bounded(context: Context) -> Context:
    """The context with a sample size of at most `MOST`."""
    return replace(context, n=min(context.n, MOST))


@per_frame
def _tokens(samples: pl.DataFrame, context: Context) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Token keys (u64) and owner of each place; copies of each text."""
    distinct = texts(samples, bounded(context))
    text = pl.col("response")
    spaced = text.str.strip_chars().str.contains(r"\s")
    words = pl.when(spaced).then(text.str.extract_all(r"\S+")).otherwise(text.str.extract_all(r"(?s)."))
    lists = distinct.select(words.alias("token"))["token"]
    owner = np.repeat(np.arange(distinct.height), lists.list.len().to_numpy())
    keys = lists.explode(empty_as_null=False).hash(seed=0).to_numpy()
    return keys, owner, distinct["count"].to_numpy().astype(float)


@per_frame
def grams(samples: pl.DataFrame, context: Context, order: int) -> Grams:
    """All n-grams of length `order` in a subsample of context.n texts, at most `MOST`."""
    keys, owner, copies = _tokens(samples, context)
    places = max(len(keys) - order + 1, 0)
    key = keys[:places].copy()
    for step in range(1, order):
        key = key * np.uint64(0x9E3779B97F4A7C15) + keys[step : places + step]
    inside = owner[:places] == owner[order - 1 :] if places else np.zeros(0, bool)
    _, kind = np.unique(key[inside], return_inverse=True)
    mine = owner[:places][inside]
    return Grams(kind, mine, copies, np.bincount(kind, copies[mine]) if len(kind) else np.zeros(0))


def expected_distinct(found: Grams, n: int) -> Estimate:
    """Expected distinct n-grams among n of them (Hurlbert 1971), its error over texts, not over tokens."""
    total = float(found.counts.sum())
    if total <= 0:
        return Estimate.missing()
    size = min(n, int(total))
    value = float(-np.expm1(log_absent(found.counts, size)).sum())
    rate = found.counts / total
    # what one copy less of each n-gram would take away: exact where few copies stand for each
    pull = total * (
        np.exp(log_absent(found.counts - 1, size, total)) - np.exp(log_absent(found.counts, size))
    )
    texts_, length = len(found.copies), total / float(found.copies.sum())
    own = np.bincount(found.owner, pull[found.kind], minlength=texts_)
    long = np.bincount(found.owner, minlength=texts_)
    influence = (own - long * float((rate * pull).sum())) / length
    n_texts = float(found.copies.sum())
    variance = float((found.copies * influence**2).sum()) / n_texts / max(n_texts - 1, 1)
    return Estimate.normal(value, math.sqrt(variance), size)


def ead(distinct: float, tokens: float, vocabulary: float) -> float:
    """Distinct tokens over what uniform draws of as many tokens from the vocabulary would give."""
    if vocabulary <= 1:
        return math.nan
    return distinct / (vocabulary * -math.expm1(tokens * math.log1p(-1 / vocabulary)))


def _distinct(order: int) -> Callable[[pl.DataFrame, Context], Estimate]:
    def compute(samples: pl.DataFrame, context: Context) -> Estimate:
        found = expected_distinct(grams(samples, context, order), bounded(context).n)
        return (
            found if not found.n else Estimate.normal(found.value / found.n, found.stderr / found.n, found.n)
        )

    return compute


def _ead2(samples: pl.DataFrame, context: Context) -> Estimate:
    """The vocabulary of bigrams is the square of the distinct unigrams among as many tokens."""
    single = expected_distinct(grams(samples, context, 1), bounded(context).n)
    double = expected_distinct(grams(samples, context, 2), bounded(context).n)
    if not (double.value > 0 and single.value > 1):
        return Estimate.missing(double.n)
    scale = ead(1.0, double.n, single.value**2)
    return Estimate.normal(double.value * scale, double.stderr * scale, double.n)


MEASURES: tuple[Measure, ...] = (
    Measure("diversity/distinct1", "diversity", "share", "up", "How rarely are tokens reused?", _distinct(1)),
    Measure(
        "diversity/distinct2",
        "diversity",
        "share",
        "up",
        "How rarely are pairs of tokens reused?",
        _distinct(2),
    ),
    Measure(
        "diversity/distinct3",
        "diversity",
        "share",
        "up",
        "How rarely are triples of tokens reused?",
        _distinct(3),
    ),
    Measure(
        "diversity/ead2",
        "diversity",
        "share",
        "up",
        "How much of the possible pairs of tokens is used?",
        _ead2,
    ),
)
