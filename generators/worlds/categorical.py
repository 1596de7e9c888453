"""World `categorical`: a sample is one of K types. The world in which loops have closed forms."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec
from driftloop.generators.worlds import contexts


class Categorical(Spec):
    """Types "00".."99" with Zipf frequencies, rank^-exponent; no prompt, and every type is right.

    Mode and strategy are the type, complexity is 1 (a type has no structure). Types held out for `ood/types`
    never occur in real training data; the held-out ones are drawn by `holdout_seed`. With `contexts` there are as
    many prompts, each with these frequencies of its own: independent populations side by side. With `right` below 1
    only the first types are right, and real data too holds wrong ones.
    """

    kind: Literal["categorical"] = "categorical"
    types: int = Field(100, ge=1, le=10**6)
    exponent: float = Field(0.0, ge=0, description="of the Zipf frequencies; 0 = uniform")
    holdout: float = Field(
        0.0, ge=0, lt=1, description="least share of types kept for ood/types; 0 = no such split"
    )
    holdout_seed: int = Field(0, ge=0)
    contexts: int = Field(0, ge=0, le=10**6, description="prompts; 0 = none, the model writes the whole text")
    right: float = Field(
        1.0, gt=0, le=1, description="share of types that are right, the most frequent first"
    )

    @model_validator(mode="after")
    def _something_is_left(self) -> Categorical:
        if math.ceil(self.holdout * self.types) >= self.types:
            raise ValueError(
                f"holdout={self.holdout} of types={self.types} leaves none to train on; lower holdout"
            )
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """`id`, and `ood/types` where some types are held out."""
        return ("id", "ood/types") if self._held.any() else ("id",)

    @property
    def alphabet(self) -> str:
        """Digits, and a colon after a prompt."""
        return "0123456789" + self.separator

    @property
    def separator(self) -> str:
        """A colon, or nothing where there is no prompt."""
        return ":" if self.contexts else ""

    @property
    def max_tokens(self) -> int:
        """Digits of a type, and of a prompt with its colon."""
        return self._digits + len(contexts.names(self.contexts)[-1])

    def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n samples, as evenly over prompts as prompts are: one row per type drawn, however large n is."""
        truth = self.truth(split)
        asked = contexts.spread(n, self.contexts, seed=seed)
        share = truth["probability"].to_numpy()[: truth.height // len(asked)] * len(asked)
        counts = rng(seed).multinomial(asked.astype(np.int64), share / share.sum(), size=len(asked))
        drawn = pl.Series("count", counts.ravel().astype(np.uint64))
        return truth.select("prompt", "response", drawn).filter(pl.col("count") > 0)

    def prompts(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """n prompts as evenly as possible, which get one more is drawn; or the one, empty prompt n times."""
        self._known(split)
        return contexts.asked(n, self.contexts, seed=seed)

    def score(self, samples: pl.DataFrame) -> pl.DataFrame:
        """A response is valid where it names a type and answers a known prompt, and right where that type is."""
        return samples.with_columns(self._scores)

    def truth(self, split: str = "id") -> pl.DataFrame:
        """Every type of the split with its probability."""
        self._known(split)
        return self._truths[split]

    def answers(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """Every right type answers every prompt."""
        every = pl.concat([self.truth(split) for split in self.splits])
        right = every.filter(pl.col("response").cast(pl.UInt32) < self._right)
        asked = prompts.select("prompt").unique()
        return right.select("prompt", "response", "mode", "strategy").join(asked, on="prompt", how="semi")

    def _known(self, split: str) -> None:
        if split not in self.splits:
            raise ValueError(f"split must be one of {list(self.splits)}, got {split!r} (with these settings)")

    @cached_property
    def _scores(self) -> list[pl.Expr]:
        """The columns of `score`; built once, for building them takes a third of its time."""
        name = pl.col("response")
        number = name.cast(pl.UInt32, strict=False).fill_null(self.types)
        known = name.str.contains(f"^[0-9]{{{self._digits}}}$") & (number < self.types)
        known &= contexts.number(self.contexts).is_not_null()
        mode = pl.when(known).then(name)
        split = pl.lit("id")
        if self._held.any():
            held = name.is_in(self.truth("ood/types")["response"].unique().implode())
            split = pl.when(held).then(pl.lit("ood/types")).otherwise(split)
        return [
            known.alias("valid"),
            (known & (number < self._right)).cast(pl.Float64).alias("quality"),
            pl.when(known).then(1.0).alias("complexity"),
            mode.alias("mode"),
            mode.alias("strategy"),
            pl.when(known).then(split).alias("split"),
        ]

    @cached_property
    def _held(self) -> np.ndarray:
        held = np.zeros(self.types, bool)
        n_held = math.ceil(self.holdout * self.types)
        held[rng(self.holdout_seed, "holdout").permutation(self.types)[:n_held]] = True
        return held

    @property
    def _digits(self) -> int:
        return len(str(self.types - 1))

    @property
    def _right(self) -> int:
        """Types below this number are right."""
        return math.ceil(self.right * self.types)

    @cached_property
    def _truths(self) -> dict[str, pl.DataFrame]:
        mass = np.arange(1, self.types + 1) ** -self.exponent
        names = [f"{i:0{self._digits}}" for i in range(self.types)]
        every = pl.DataFrame({"response": names, "mode": names, "strategy": names, "probability": mass})
        parts = {"id": every.filter(~self._held), "ood/types": every.filter(self._held)}
        asked = contexts.names(self.contexts).to_frame()
        share = pl.col("probability") / pl.col("probability").sum()
        return {
            name: asked.join(part, how="cross", maintain_order="left_right").with_columns(
                share, complete=pl.lit(True)
            )
            for name, part in parts.items()
        }
