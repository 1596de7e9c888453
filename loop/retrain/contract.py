"""The noun that training brings: a retrainer turns a generator and weighted data into the next generator."""

from __future__ import annotations

from typing import Any, Protocol

import polars as pl


class TrainingDiverged(RuntimeError):
    """The loss is no longer a finite number."""


class Retrainer(Protocol):
    """A frozen `Spec` with a `kind`."""

    kind: str

    def fit(self, generator: Any, data: pl.DataFrame, *, seed: int) -> tuple[Any, dict[str, float]]:
        """The next generator and what it cost; `generator` itself is never changed.

        Args:
            generator: a model that this retrainer knows how to train.
            data: frame (prompt, response, count, weight); a row stands for count copies of `weight` each.
            seed: of the training's own stream.

        Returns:
            The generator, and {tokens_trained, optimizer_steps, final_loss (nats per token)}.

        Raises:
            TrainingDiverged: the loss became NaN or infinite.
            ValueError: the data has no row, or no weight.
        """
        ...


def weights_of(data: pl.DataFrame) -> pl.Series:
    """count · weight of every row (a frame without `weight` weighs 1).

    Raises:
        ValueError: no row, a negative or non-finite weight, or none above 0.
    """
    weight = data["count"].cast(pl.Float64) * (data["weight"] if "weight" in data.columns else 1.0)
    if not data.height or not weight.is_finite().all() or (weight < 0).any() or weight.sum() <= 0:
        raise ValueError(
            "training data must hold rows whose count·weight is finite and not negative, some above 0; got "
            f"{data.height} rows of {weight.min()!r} to {weight.max()!r}; keep more, or mix in real data"
        )
    return weight
