"""The frozen reference: a proper distribution that knows its own kind of text."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.generators.worlds.ngrams import CharacterModel


def plain(texts: list[str], order: int, text: str) -> float:
    """The slow oracle: −ln p per character, by the formula, with dictionaries."""
    alphabet = sorted(set("".join(texts)))
    marked = ["^" * (order - 1) + t + "$" for t in texts]
    total = 0.0
    coded = "^" * (order - 1) + "".join(c if c in alphabet else "?" for c in text) + "$"
    for place in range(order - 1, len(coded)):
        p = 1 / (len(alphabet) + 2)
        for length in range(order):
            context = coded[place - length : place]
            after = [
                m[i + length]
                for m in marked
                for i in range(order - 1 - length, len(m) - length)
                if m[i : i + length] == context
            ]
            if after:
                p = (after.count(coded[place]) + len(set(after)) * p) / (len(after) + len(set(after)))
        total -= math.log(p)
    return total / (len(text) + 1)


@settings(max_examples=60, deadline=None)
@given(
    texts=st.lists(st.text("ab c", max_size=8), min_size=1, max_size=6),
    text=st.text("abcd", max_size=8),
    order=st.integers(1, 4),
)
def test_it_agrees_with_the_formula_spelled_out(texts: list[str], text: str, order: int) -> None:
    got = CharacterModel.fit(texts, order).nats_per_character([text])
    assert got[0] == pytest.approx(plain(texts, order, text))


def test_all_texts_together_have_probability_one() -> None:
    """Texts of up to eight characters hold nearly all of it; "?" stands for every unknown character."""
    model = CharacterModel.fit(["abba", "baab", "ab"], 3)
    texts = ["".join(t) for n in range(9) for t in product("ab?", repeat=n)]
    lengths = np.array([len(t) + 1 for t in texts])
    total = np.exp(-model.nats_per_character(texts) * lengths).sum()
    assert 0.8 < total <= 1 + 1e-9


def test_known_kinds_of_text_are_likelier_than_others() -> None:
    texts = [f"the {a} sat on the {b}" for a, b in product(["cat", "dog", "hen"], ["mat", "log", "pen"])]
    likely, shuffled = CharacterModel.fit(texts[::2], 4).nats_per_character([texts[1], texts[1][::-1]])
    assert likely < shuffled / 2


def test_an_empty_text_is_its_end_alone_and_no_text_is_no_number() -> None:
    model = CharacterModel.fit(["ab"], 2)
    assert model.nats_per_character([]).shape == (0,)
    assert np.isfinite(model.nats_per_character([""])).all()
