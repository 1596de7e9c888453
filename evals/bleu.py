"""Self-BLEU, exact: how well all the others predict each text; higher = more alike.

Texygen (arXiv 1802.01886): mean BLEU-4 of every text with all others as references, the closest length for the
brevity penalty, and 0.1 for an order without matches. Every text is a hypothesis: the two largest counts per n-gram
say what the others hold, so the cost is one sort and not a square. At most 131,072 texts are read, as `lexical` does: the
score grows with the number of texts, and that is then the common one.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from driftloop.evals.estimate import Context, Estimate, Measure, mean
from driftloop.evals.lexical import grams

ORDERS = (1, 2, 3, 4)
NO_MATCH = 0.1  # matches counted where an n-gram order has none (method 1 of Chen and Cherry 2014)


def precision(kind: np.ndarray, owner: np.ndarray, copies: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Clipped matches with all other texts, and n-grams, of each text: shape (texts,) each.

    Args:
        kind: which n-gram stands at each place, shape (places,).
        owner: whose text that is, shape (places,).
        copies: of each text, shape (texts,); a text with a twin finds itself among the others.
    """
    texts = len(copies)
    if not len(kind):
        return np.zeros(texts), np.zeros(texts)
    cell, count = np.unique(kind * texts + owner, return_counts=True)
    gram, text = cell // texts, cell % texts
    order = np.lexsort((-count, gram))
    start = np.flatnonzero(np.diff(gram[order], prepend=-1))
    best, holder = count[order][start], text[order][start]
    size = np.diff(start, append=len(order))
    second = np.where(size > 1, count[order][np.minimum(start + 1, len(order) - 1)], 0)
    alone = (holder[gram] == text) & (copies[text] < 2)
    other = np.where(alone, second[gram], best[gram])
    return np.bincount(text, np.minimum(count, other), texts), np.bincount(text, count, texts)


def brevity(length: np.ndarray, copies: np.ndarray) -> np.ndarray:
    """Brevity penalty of each text against the other of closest length (the shorter of two), shape (texts,)."""
    known, where = np.unique(length, return_inverse=True)
    others = np.bincount(where, copies)[where] - 1
    far = np.full(len(length), np.inf)
    below = np.where(where > 0, length - known[np.maximum(where - 1, 0)], far)
    above = np.where(where < len(known) - 1, known[np.minimum(where + 1, len(known) - 1)] - length, far)
    closest = np.where(others > 0, length, np.where(below <= above, length - below, length + above))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(closest <= length, 1.0, np.exp(1 - closest / length))


def self_bleu(samples: pl.DataFrame, context: Context) -> Estimate:
    """Mean BLEU-4 of each of context.n texts (at most 131,072) against the others; NaN for fewer than two texts."""
    found = [grams(samples, context, order) for order in ORDERS]
    copies = found[0].copies
    if copies.sum() < 2:
        return Estimate.missing(int(copies.sum()))
    log_mean, matched = np.zeros(len(copies)), np.zeros(len(copies))
    for order, one in zip(ORDERS, found, strict=True):
        hit, of = precision(one.kind, one.owner, copies)
        log_mean += np.log(np.where(hit > 0, hit, NO_MATCH) / np.maximum(of, 1)) / len(ORDERS)
        if order == 1:
            matched, length = hit, of
    value = np.where(matched > 0, brevity(length, copies) * np.exp(log_mean), 0.0)
    return mean(value, copies)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "diversity/self_bleu",
        "diversity",
        "share",
        "down",
        "How well do the other samples predict each sample?",
        self_bleu,
    ),
)
