"""World `gaussian`: a sample is one number. Its loop forgets its variance in closed form."""

from __future__ import annotations

from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field

from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec
from driftloop.generators.worlds import contexts, written_numbers


class Gaussian(Spec):
    """Numbers from a normal distribution; every finite number is right.

    A column of its own, `value` (f64), holds the number that `response` writes. Mode is the half-sd bin, strategy
    the side of the mean, complexity the distance from it in sd. Not enumerable. `contexts` as in `categorical`.
    """

    kind: Literal["gaussian"] = "gaussian"
    mean: float = 0.0
    sd: float = Field(1.0, gt=0)
    contexts: int = Field(0, ge=0, le=10**6, description="prompts; 0 = none, the model writes the whole text")

    @property
    def splits(self) -> tuple[str, ...]:
        """`id` alone."""
        return ("id",)

    @property
    def alphabet(self) -> str:
        """What numbers are written with, and a colon after a prompt."""
        return written_numbers.ALPHABET + self.separator

    @property
    def separator(self) -> str:
        """A colon, or nothing where there is no prompt."""
        return ":" if self.contexts else ""

    @property
    def max_tokens(self) -> int:
        """Characters of a number, and of a prompt with its colon."""
        return written_numbers.LONGEST + len(contexts.names(self.contexts)[-1])

    def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n numbers: frame (prompt, response, count, value), one row each."""
        asked = self.prompts(n, split, seed=seed)
        rows = asked["prompt"].gather(
            np.repeat(np.arange(asked.height), asked["count"].to_numpy().astype(np.int64))
        )
        values = rng(seed).normal(self.mean, self.sd, n)
        response, value = written_numbers.written(values)
        return pl.DataFrame([rows, response, pl.Series("count", np.ones(n, np.uint64)), value])

    def prompts(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """n prompts as evenly as possible, or the one, empty prompt n times."""
        if split != "id":
            raise ValueError(f"split must be one of ['id'], got {split!r} (with these settings)")
        return contexts.asked(n, self.contexts, seed=seed)

    def score(self, samples: pl.DataFrame) -> pl.DataFrame:
        """A response is right where it writes a finite number."""
        z = (
            pl.when(contexts.number(self.contexts).is_not_null()).then(written_numbers.read()) - self.mean
        ) / self.sd
        valid = z.is_finite().fill_null(False)
        return samples.with_columns(pl.when(z.is_finite()).then(z).alias("_z"), valid.alias("valid")).select(
            *samples.columns,
            "valid",
            pl.col("valid").cast(pl.Float64).alias("quality"),
            pl.col("_z").abs().alias("complexity"),
            written_numbers.bins(pl.col("_z")).alias("mode"),
            pl.when(pl.col("_z") < 0)
            .then(pl.lit("below"))
            .when("valid")
            .then(pl.lit("above"))
            .alias("strategy"),
            pl.when("valid").then(pl.lit("id")).alias("split"),
        )

    def truth(self, split: str = "id") -> None:
        """Numbers cannot be enumerated."""
        self.prompts(0, split, seed=0)

    def answers(self, prompts: pl.DataFrame) -> None:
        """Numbers cannot be enumerated."""
