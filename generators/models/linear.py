"""Model `linear`: weights that label the inputs of world `regression`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self, final

import numpy as np
import polars as pl

from driftloop.generators.contracts import Sampling, World
from driftloop.generators.models import normal
from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec
from driftloop.generators.worlds import contexts, written_numbers

FILE = "linear.safetensors"


class LinearModel(Spec):
    """Labels x·weights + noise; the noise is the world's and is not learned."""

    kind: Literal["linear"] = "linear"

    def fresh(self, world: World, *, seed: int) -> LinearGenerator:
        """Weights of 0; `seed` changes nothing.

        Raises:
            ValueError: the world has no inputs.
        """
        design = getattr(world, "design", None)
        if design is None:
            raise ValueError(
                f"model: linear needs numeric inputs, world {world.kind!r} has none; use world: regression"
            )
        return LinearGenerator(design, np.zeros(design.shape[1]), getattr(world, "noise", 1.0))

    def load(self, path: Path) -> LinearGenerator:
        """Read a generator that `save` wrote."""
        return LinearGenerator.load(path)


@final
class LinearGenerator:
    """A linear labeller of fixed inputs. A label's probability is that of `normal.RESOLUTION` around it."""

    def __init__(self, design: np.ndarray, weights: np.ndarray, noise: float) -> None:
        self.design = design  # shape (inputs, dimensions)
        self.weights = weights  # shape (dimensions,)
        self.noise = noise  # standard deviation of a label

    def sample(self, prompts: pl.DataFrame, sampling: Sampling, *, seed: int) -> pl.DataFrame:
        """Draw `count` labels for each input, a row each, with their typed column `value`."""
        parent = "parent_id" if "parent_id" in prompts.columns else pl.lit(None, pl.UInt64).alias("parent_id")
        asked = prompts.select(parent, "prompt")
        rows = asked[np.repeat(np.arange(asked.height), prompts["count"].to_numpy().astype(np.int64))]
        mean, sd = self._of(rows)
        response, value = written_numbers.written(normal.draw(mean, sd, sampling, rng(seed)))
        return rows.with_columns(
            response,
            pl.Series("count", np.ones(rows.height, np.uint64)),
            pl.Series("logprob", normal.log_chance(value.to_numpy(), mean, sd)),
            response.str.len_chars().cast(pl.UInt32).alias("n_tokens"),
            value,
        )

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The label without noise."""
        return prompts.with_columns(written_numbers.written(self._of(prompts)[0])[0])

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        """ln p(response | prompt) in nats, shape (rows,); -inf where the response is no number.

        Raises:
            ValueError: `complete=False`; the beginning of a number has no probability here.
        """
        if not complete:
            raise ValueError(
                "model: linear has no probability for the beginning of a number; ask for whole ones"
            )
        values = texts.select(written_numbers.read().fill_null(float("nan")).alias("v"))["v"].to_numpy()
        return normal.log_chance(values, *self._of(texts))

    def save(self, path: Path) -> None:
        """Write inputs, weights and noise as safetensors."""
        from safetensors.numpy import save_file

        tensors = {"design": self.design, "weights": self.weights, "noise": np.array([self.noise])}
        save_file({name: np.ascontiguousarray(t) for name, t in tensors.items()}, path / FILE)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        from safetensors.numpy import load_file

        tensors = load_file(path / FILE)
        return cls(tensors["design"], tensors["weights"], float(tensors["noise"][0]))

    def find(self, rows: pl.DataFrame) -> np.ndarray:
        """Input of each row's prompt, shape (rows,).

        Raises:
            ValueError: a prompt that names no input.
        """
        found = rows.select(contexts.number(len(self.design)).alias("i"))["i"]
        if found.null_count():
            odd = rows["prompt"][int(found.is_null().arg_max() or 0)]
            raise ValueError(
                f"prompt {odd!r} names none of {len(self.design)} inputs; use the world's prompts"
            )
        return found.to_numpy()

    def _of(self, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
        mean = (self.design @ self.weights)[self.find(rows)]
        return mean, np.full(len(mean), self.noise)
