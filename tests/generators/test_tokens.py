"""Tokenizers give transformers' ids, and give back the text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.generators.models.tokens import (
    BOS,
    EOS,
    PAD,
    Tokens,
    byte_pairs,
    byte_values,
    characters,
    fitted,
    load,
    save,
)

ALPHABET = "0123456789:+-*"
CORPUS = ["the cat sat on the mat", "the dog sat on the log", "a mat, a log; a cat: a dog!"] * 5
KINDS = {"char": characters(ALPHABET), "byte": byte_values(), "bpe": byte_pairs(CORPUS, 300)}


def padded(rows: list[np.ndarray]) -> np.ndarray:
    out = np.full((len(rows), max([len(r) for r in rows], default=0) + 1), -1)
    for row, ids in zip(out, rows, strict=True):
        row[: len(ids)] = ids
    return out


@given(st.lists(st.text(alphabet=ALPHABET, max_size=12), min_size=1, max_size=9))
def test_characters_come_back(texts: list[str]) -> None:
    tokens = KINDS["char"]
    rows = tokens.encode(texts)
    assert [len(r) for r in rows] == [len(t) for t in texts]
    assert tokens.decode(padded(rows)) == texts


@pytest.mark.parametrize("kind", ["byte", "bpe"])
@given(texts=st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=5))
def test_any_text_comes_back_from_bytes(kind: str, texts: list[str]) -> None:
    tokens = KINDS[kind]
    assert tokens.decode(padded(tokens.encode(texts))) == texts


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_transformers_opens_the_file_and_agrees(kind: str, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    save(KINDS[kind], tmp_path)
    theirs = AutoTokenizer.from_pretrained(tmp_path)
    texts = ["07:05+02", "1*1", ""] if kind == "char" else ["the cat sat on", "né: 07\n", "a  b"]
    assert [theirs(t).input_ids for t in texts] == [row.tolist() for row in KINDS[kind].encode(texts)]
    assert (theirs.pad_token_id, theirs.bos_token_id, theirs.eos_token_id) == (PAD, BOS, EOS)
    assert load(tmp_path).file == KINDS[kind].file


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_the_end_mark_is_dropped_and_other_marks_are_seen(kind: str) -> None:
    tokens = KINDS[kind]
    (one,) = tokens.encode(["1"])
    rows = np.array([[*one, EOS, -1, -1], [*one, PAD, *one, EOS], [*one, BOS, *one, EOS]])
    assert tokens.decode(rows) == ["1", "1␀1", "1␂1"]


def test_marks_inside_characters_survive_a_round_trip() -> None:
    rows = np.array([[PAD, 5, BOS, 6]])
    tokens = KINDS["char"]
    assert tokens.encode(tokens.decode(rows))[0].tolist() == rows[0].tolist()


@pytest.mark.parametrize("kind", ["byte", "bpe"])
def test_a_mark_spelled_out_in_a_text_is_text(kind: str) -> None:
    (row,) = KINDS[kind].encode(["<eos>"])
    assert EOS not in row


def test_byte_pairs_learn_the_same_from_the_same_texts() -> None:
    assert byte_pairs(CORPUS, 300).file == KINDS["bpe"].file
    (long,), (short,) = KINDS["byte"].encode(["the cat sat"]), KINDS["bpe"].encode(["the cat sat"])
    assert len(short) < len(long)


def test_sizes_count_the_marks() -> None:
    assert (KINDS["char"].size, KINDS["byte"].size) == (17, 259)
    assert 259 < KINDS["bpe"].size <= 300


def test_a_character_outside_the_alphabet_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"texts hold \['x', '😀'\], which the alphabet '\*\+-0123456789:' lacks"
    ):
        KINDS["char"].encode(["1+1", "x😀"])


def test_characters_need_an_alphabet() -> None:
    with pytest.raises(ValueError, match="tokenizer: char needs a world with an alphabet"):
        fitted("char", None, 300, list)


def test_nothing_encodes_to_nothing() -> None:
    tokens: Tokens = KINDS["char"]
    assert tokens.encode([]) == []
    assert tokens.decode(np.zeros((0, 3), np.int64)) == []
    assert tokens.decode(np.full((2, 3), -1)) == ["", ""]
