"""Model `gaussian`: a mean and a variance per prompt."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, Self, final

import numpy as np
import polars as pl

from driftloop.generators.contracts import Sampling, World
from driftloop.generators.models import normal
from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec
from driftloop.generators.worlds import contexts, written_numbers

FILE = "moments.parquet"


class GaussianModel(Spec):
    """A normal distribution per prompt: what a model with the right shape and no more would learn."""

    kind: Literal["gaussian"] = "gaussian"

    def fresh(self, world: World, *, seed: int) -> GaussianGenerator:
        """Mean 0 and variance 1 for each prompt; `seed` changes nothing.

        Raises:
            ValueError: the world's responses are not numbers.
        """
        if world.kind != "gaussian":
            raise ValueError(
                f"model: gaussian writes numbers, world {world.kind!r} wants texts; use world: gaussian"
            )
        prompts = contexts.names(getattr(world, "contexts", 0)).to_list()
        return GaussianGenerator(prompts, np.zeros(len(prompts)), np.ones(len(prompts)))

    def load(self, path: Path) -> GaussianGenerator:
        """Read a generator that `save` wrote."""
        return GaussianGenerator.load(path)


@final
class GaussianGenerator:
    """Normal distributions by prompt. A number's probability is that of `normal.RESOLUTION` around it."""

    def __init__(self, prompts: list[str], mean: np.ndarray, variance: np.ndarray) -> None:
        self.prompts = prompts
        self.mean = mean  # shape (prompts,)
        self.variance = variance  # shape (prompts,)

    def sample(self, prompts: pl.DataFrame, sampling: Sampling, *, seed: int) -> pl.DataFrame:
        """Draw `count` numbers for each prompt, a row each, with their typed column `value`."""
        parent = "parent_id" if "parent_id" in prompts.columns else pl.lit(None, pl.UInt64).alias("parent_id")
        asked = prompts.select(parent, "prompt")
        rows = asked[np.repeat(np.arange(asked.height), prompts["count"].to_numpy().astype(np.int64))]
        mean, sd = self._of(rows["prompt"])
        response, value = written_numbers.written(normal.draw(mean, sd, sampling, rng(seed)))
        return rows.with_columns(
            response,
            pl.Series("count", np.ones(rows.height, np.uint64)),
            pl.Series("logprob", normal.log_chance(value.to_numpy(), mean, sd)),
            response.str.len_chars().cast(pl.UInt32).alias("n_tokens"),
            value,
        )

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The mean of each prompt."""
        return prompts.with_columns(written_numbers.written(self._of(prompts["prompt"])[0])[0])

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        """ln p(response | prompt) in nats, shape (rows,); -inf where the response is no number.

        Raises:
            ValueError: `complete=False`; the beginning of a number has no probability here.
        """
        if not complete:
            raise ValueError(
                "model: gaussian has no probability for the beginning of a number; ask for whole ones"
            )
        values = texts.select(written_numbers.read().fill_null(float("nan")).alias("v"))["v"].to_numpy()
        return normal.log_chance(values, *self._of(texts["prompt"]))

    def save(self, path: Path) -> None:
        """Write the moments as parquet."""
        table = {"prompt": self.prompts, "mean": self.mean, "variance": self.variance}
        pl.DataFrame(table).write_parquet(path / FILE)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pl.read_parquet(path / FILE)
        return cls(table["prompt"].to_list(), table["mean"].to_numpy(), table["variance"].to_numpy())

    def find(self, prompts: pl.Series) -> np.ndarray:
        """Row of each prompt, shape (rows,).

        Raises:
            ValueError: a prompt that the model does not know.
        """
        rows = np.array([self._row.get(prompt, -1) for prompt in prompts.to_list()], np.int64)
        if (rows < 0).any():
            odd = prompts[int(rows.argmin())]
            raise ValueError(
                f"prompt {odd!r} is not the model's, whose begin {self.prompts[:3]}; use the world's prompts"
            )
        return rows

    def _of(self, prompts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
        rows = self.find(prompts)
        return self.mean[rows], np.sqrt(self.variance[rows])

    @cached_property
    def _row(self) -> dict[str, int]:
        return {prompt: i for i, prompt in enumerate(self.prompts)}
