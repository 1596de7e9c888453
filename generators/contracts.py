"""The nouns that generators bring: World, Generator, ModelSpec. Names and shapes are the contract."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, Self

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.spec import Spec


class Sampling(Spec):
    """How a generator is sampled."""

    temperature: float = Field(1.0, gt=0, le=10)
    top_p: float = Field(1.0, gt=0, le=1)
    min_p: float = Field(0.0, ge=0, lt=1)
    max_tokens: int | None = Field(None, ge=1, description="per response; null = the world's own limit")


class World(Protocol):
    """A source of real data with prompts, an exact verifier (or a stated proxy), modes, and ID and OOD splits.

    A world is a frozen `Spec` with a `kind`. Every method is pure: what draws takes `seed`.
    """

    @property
    def kind(self) -> str:
        """Its name in a configuration."""
        ...

    @property
    def splits(self) -> tuple[str, ...]:
        """`"id"` first, then named OOD axes such as `"ood/targets"`."""
        ...

    @property
    def alphabet(self) -> str | None:
        """Characters that texts are made of; None = open text (byte or BPE tokenizer)."""
        ...

    @property
    def separator(self) -> str:
        """Ends every prompt (part of it); in propose mode the text is cut after its first occurrence. "" = no prompt."""
        ...

    @property
    def max_tokens(self) -> int:
        """Most tokens of one sample, prompt and response together, begin and end marks excluded."""
        ...

    def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n real samples: frame (prompt, response, count u64), counts sum to n."""
        ...

    def prompts(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """n prompts: frame (parent_id u64, prompt, count u64), distinct prompts, counts sum to n, as even as possible."""
        ...

    def score(self, samples: pl.DataFrame) -> pl.DataFrame:
        """Add valid, quality, complexity, mode, strategy, split to a frame that has prompt and response.

        An exception in a verifier is an error, never a quality of 0. A response that does not parse is valid=False, quality=0.
        """
        ...

    def truth(self, split: str = "id") -> pl.DataFrame | None:
        """The real distribution where it can be enumerated: frame (prompt, response, mode, strategy, probability, complete).

        Probabilities sum to 1 over the split. `complete=False`: (prompt + response) is a prefix whose probability is the
        mode's (then it is meant for whole texts, without a prompt). None where the world is not enumerable.
        """
        ...

    def answers(self, prompts: pl.DataFrame) -> pl.DataFrame | None:
        """Every right response to every given prompt: frame (prompt, response, mode, strategy); None where not enumerable."""
        ...


class Generator(Protocol):
    """Everything one can draw samples from. A value: never mutated; retraining gives a new one."""

    def sample(self, prompts: pl.DataFrame, sampling: Sampling, *, seed: int) -> pl.DataFrame:
        """Draw `count` responses to each prompt of frame (parent_id, prompt, count).

        Returns frame (parent_id, prompt, response, count u64, logprob f64, n_tokens u32): distinct or not, counts sum to the
        counts asked for. `logprob` is at temperature 1 without truncation, end mark included. The empty prompt means
        that the model writes the whole text.
        """
        ...

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The most likely response, token by token, to each row of (prompt): the frame with `response` added, same order."""
        ...

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        """ln p(response | prompt), nats, of each row of (prompt, response), shape (rows,); `complete` includes the end mark."""
        ...

    def save(self, path: Path) -> None:
        """Write the generator into the existing empty folder `path`."""
        ...

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        ...


class ModelSpec(Protocol):
    """How a generator is born and read back: a frozen `Spec` with a `kind`."""

    @property
    def kind(self) -> str:
        """Its name in a configuration."""
        ...

    def fresh(self, world: World, *, seed: int) -> Generator:
        """An untrained generator that fits the world's texts."""
        ...

    def load(self, path: Path) -> Generator:
        """Read a generator that `save` wrote."""
        ...
