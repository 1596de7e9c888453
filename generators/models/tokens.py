"""Texts to token ids and back: a world's characters, bytes or byte pairs, in one Hugging Face file."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

PAD, BOS, EOS = 0, 1, 2
MARKS = ("<pad>", "<bos>", "<eos>")
SIGNS = ("␀", "␂")  # what <pad> and <bos> in the middle of a text read as: no world parses them

TokenizerKind = Literal["char", "byte", "bpe"]


class Tokens:
    """A tokenizer that adds no marks: models put BOS before and EOS after; prompt and response are cut apart.

    Characters are looked up in numpy (30 times the library's speed on strings of ten characters); bytes and
    byte pairs go through `tokenizers`.
    """

    def __init__(self, file: str) -> None:
        from tokenizers import Tokenizer

        self.file = file  # the JSON text of tokenizer.json
        self._library = Tokenizer.from_str(file)
        self._library.encode_special_tokens = True  # "<eos>" in somebody's text is text
        self._is_char = json.loads(file)["model"]["type"] == "WordLevel"

    def __reduce__(self) -> tuple[type[Tokens], tuple[str]]:
        return Tokens, (self.file,)

    @property
    def size(self) -> int:
        """Number of tokens, marks included."""
        return int(self._library.get_vocab_size())

    def encode(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of each text, without marks.

        Raises:
            ValueError: a character that a char tokenizer does not know.
        """
        if not self._is_char:
            found = self._library.encode_batch_fast(list(texts), add_special_tokens=False)
            return [np.array(e.ids, np.int64) for e in found]
        ids, ends = self._look_up("".join(texts)), accumulate(map(len, texts), initial=0)
        return [ids[start:end] for start, end in pairwise(ends)]

    def decode(self, tokens: np.ndarray) -> list[str]:
        """The texts of token rows, shape (rows, length), padded with -1; an EOS is dropped."""
        if self._is_char:
            points = np.ascontiguousarray(self._points[tokens])  # the last entry, -1, and EOS are 0 = nothing
            return points.view(f"U{points.shape[1]}").ravel().tolist() if points.size else [""] * len(tokens)
        rows = [row[(row >= 0) & (row != EOS)].tolist() for row in tokens]
        if not any(PAD in row or BOS in row for row in rows):
            return list(self._library.decode_batch(rows))
        texts = self._library.decode_batch(rows, skip_special_tokens=False)
        return [t.replace(MARKS[PAD], SIGNS[PAD]).replace(MARKS[BOS], SIGNS[BOS]) for t in texts]

    def _look_up(self, text: str) -> np.ndarray:
        points = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
        ids = self._ids[np.minimum(points, len(self._ids) - 1)]
        if (ids < 0).any():
            odd = sorted({text[i] for i in np.flatnonzero(ids < 0)})
            known = "".join(chr(p) for p in np.sort(self._points) if p and chr(p) not in SIGNS)
            raise ValueError(
                f"texts hold {odd[:5]}, which the alphabet {known!r} lacks; use tokenizer: byte or bpe"
            )
        return ids

    @cached_property
    def _points(self) -> np.ndarray:
        """Code point of each token id; one more entry for the padding -1."""
        points = np.zeros(self.size + 1, np.uint32)
        for text, token in self._library.get_vocab().items():
            points[token] = ord(text) if token > EOS else 0
        points[[PAD, BOS]] = [ord(sign) for sign in SIGNS]
        return points

    @cached_property
    def _ids(self) -> np.ndarray:
        """Token id of each code point, -1 where unknown."""
        ids = np.full(int(self._points.max()) + 2, -1, np.int64)
        tokens = np.flatnonzero(self._points)
        ids[self._points[tokens]] = tokens
        return ids


def characters(alphabet: str) -> Tokens:
    """One token per character of `alphabet`, in sorted order."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers

    words = [*MARKS, *sorted(set(alphabet))]
    library = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token=MARKS[PAD]))
    library.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    library.decoder = decoders.Fuse()
    return _finished(library)


def byte_values() -> Tokens:
    """One token per byte of the text's UTF-8."""
    return byte_pairs([], len(MARKS) + 256)


def byte_pairs(texts: Sequence[str], size: int) -> Tokens:
    """Byte pairs learned on `texts`, at most `size` tokens in all (259 = bytes alone)."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    library = Tokenizer(models.BPE())
    library.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    library.decoder = decoders.ByteLevel()
    learner: Any = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(MARKS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    library.train_from_iterator(texts, learner)
    return _finished(library)


def fitted(
    kind: TokenizerKind, alphabet: str | None, size: int, corpus: Callable[[], Sequence[str]]
) -> Tokens:
    """The tokenizer of `kind` for a world; `corpus` is only read to learn byte pairs.

    Raises:
        ValueError: kind `char` for open text.
    """
    if kind == "byte":
        return byte_values()
    if kind == "bpe":
        return byte_pairs(corpus(), size)
    if alphabet is None:
        raise ValueError(
            "tokenizer: char needs a world with an alphabet; this one has open text: use byte or bpe"
        )
    return characters(alphabet)


def save(tokens: Tokens, folder: Path) -> None:
    """Write tokenizer.json and tokenizer_config.json, which transformers opens."""
    (folder / "tokenizer.json").write_text(tokens.file, encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": MARKS[PAD],
        "bos_token": MARKS[BOS],
        "eos_token": MARKS[EOS],
        "clean_up_tokenization_spaces": False,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")


def load(folder: Path) -> Tokens:
    """Read the tokenizer that `save` wrote."""
    return Tokens((folder / "tokenizer.json").read_text(encoding="utf-8"))


def _finished(library: Any) -> Tokens:
    from tokenizers import AddedToken

    library.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return Tokens(library.to_str())
