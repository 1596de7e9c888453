"""Prompts and responses as the tokens that a Hugging Face model knows them by, with its chat template or without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np


@final
class Wording:
    """A tokenizer and how it begins and ends a response.

    The empty prompt means that the model writes the whole text: then there is no chat, only a begin mark.
    """

    def __init__(self, tokenizer: Any, *, chat: bool, ends: Sequence[int]) -> None:
        if tokenizer.eos_token_id is None:
            raise ValueError(
                "the tokenizer has no end mark (eos_token), so that no response would ever end; set one in its files"
            )
        self.tokenizer = tokenizer
        self.chat = chat
        self.end = int(tokenizer.eos_token_id)
        self.stop = tuple(dict.fromkeys([self.end, *ends]))

    def begun(self, prompts: Sequence[str]) -> list[np.ndarray]:
        """Token ids of everything before the response, at least one."""
        return [np.array(self._begin(prompt), np.int64) for prompt in prompts]

    def answered(self, responses: Sequence[str], *, complete: bool) -> list[np.ndarray]:
        """Token ids of responses, with the end mark where they are complete."""
        end = [self.end] if complete else []
        return [np.array([*ids, *end], np.int64) for ids in self._encode(responses)]

    def read(self, tokens: np.ndarray) -> list[str]:
        """The texts of token rows, shape (rows, length), padded with -1; marks are dropped."""
        if not len(tokens):
            return []  # the library reads no rows as one
        rows = [row[row >= 0].tolist() for row in tokens]
        texts: list[str] = self.tokenizer.batch_decode(
            rows, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        return texts

    def _begin(self, prompt: str) -> list[int]:
        if not prompt:
            first = self.tokenizer.bos_token_id
            return [self.end if first is None else first]
        if not self.chat:
            return list(self.tokenizer(prompt)["input_ids"])
        said = [{"role": "user", "content": prompt}]
        text = self.tokenizer.apply_chat_template(said, add_generation_prompt=True, tokenize=False)
        return list(self._encode([text])[0])

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        if not texts:
            return []
        found: list[list[int]] = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return found
