"""A frozen character n-gram model: how likely is a text, among texts like those it was fitted on?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

BITS = 8  # per character in a context's code
END = 1  # closes every text; 0 = before its begin, 2 = a character that is not among the known
KNOWN = 253


@dataclass(frozen=True)
class _Order:
    """Counts of one context length: contexts and context + character, as sorted codes."""

    contexts: np.ndarray
    total: np.ndarray  # times that the context was seen
    kinds: np.ndarray  # different characters seen after it
    grams: np.ndarray
    count: np.ndarray


class CharacterModel:
    """Characters given the `order - 1` before, interpolated over shorter contexts (Witten and Bell, 1991).

    p_k(c | h) = (count(h c) + kinds(h) · p_{k-1}(c | h')) / (count(h) + kinds(h)), where h' is h without
    its first character, kinds(h) the number of different characters seen after h, and p_{-1} uniform over
    the known characters.
    """

    def __init__(self, alphabet: np.ndarray, orders: tuple[_Order, ...]) -> None:
        self._alphabet = alphabet  # code points, sorted
        self._orders = orders

    @classmethod
    def fit(cls, texts: Sequence[str], order: int = 4) -> Self:
        """Count; texts shape (n,), order is the length of the longest gram, at most 7."""
        points, seen = np.unique(_points("".join(texts)), return_counts=True)
        alphabet = np.sort(points[np.argsort(-seen, kind="stable")[:KNOWN]])
        orders = []
        for length in range(order):
            context, gram = _coded(texts, alphabet, length)
            contexts, total = np.unique(context, return_counts=True)
            grams, count = np.unique(gram, return_counts=True)
            kinds = np.unique(grams >> np.uint64(BITS), return_counts=True)[1]
            orders.append(_Order(contexts, total, kinds, grams, count))
        return cls(alphabet, tuple(orders))

    def nats_per_character(self, texts: Sequence[str]) -> np.ndarray:
        """−ln p per character of each text, its end mark counted as one, shape (texts,)."""
        lengths = np.fromiter(map(len, texts), np.int64, len(texts)) + 1
        p = np.full(int(lengths.sum()), 1.0 / (len(self._alphabet) + 2))
        for length, table in enumerate(self._orders):
            context, gram = _coded(texts, self._alphabet, length)
            total, kinds = _found(table.contexts, context, table.total, table.kinds)
            (count,) = _found(table.grams, gram, table.count)
            p = np.where(total > 0, (count + kinds * p) / np.maximum(total + kinds, 1), p)
        owner = np.repeat(np.arange(len(texts)), lengths)
        return np.bincount(owner, weights=-np.log(p), minlength=len(texts)) / lengths


def _points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)


def _coded(texts: Sequence[str], alphabet: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """For every character and end mark: the code of the `length` before it, and of these with it."""
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    points = _points("".join(texts))
    place = np.searchsorted(alphabet, points).clip(max=max(len(alphabet) - 1, 0))
    known = alphabet[place] == points if len(alphabet) else np.zeros(len(points), bool)
    ends = lengths.cumsum() + np.arange(len(texts))
    code = np.empty(len(points) + len(texts), np.uint64)
    inside = np.ones(len(code), bool)
    inside[ends] = False
    code[inside] = np.where(known, place + 3, 2)
    code[ends] = END
    since = np.arange(len(code)) - np.repeat(ends - lengths, lengths + 1)
    context = np.zeros(len(code), np.uint64)
    for back in range(length, 0, -1):
        before = np.concatenate([np.zeros(back, np.uint64), code])[: len(code)]
        context = (context << np.uint64(BITS)) | np.where(since >= back, before, np.uint64(0))
    return context, (context << np.uint64(BITS)) | code


def _found(keys: np.ndarray, wanted: np.ndarray, *values: np.ndarray) -> tuple[np.ndarray, ...]:
    """The values of sorted keys, 0 where a key is missing."""
    place = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    hit = keys[place] == wanted
    return tuple(np.where(hit, value[place], 0) for value in values)
