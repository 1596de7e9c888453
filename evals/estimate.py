"""What every measure returns, and what every measure declares."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import polars as pl

Axis = Literal["quality", "diversity", "complexity", "id", "ood", "gap", "loop", "cost"]
Better = Literal["up", "down", "neither"]


class Estimate(NamedTuple):
    """A number with its uncertainty: value, standard error, 95 % interval, and the n it rests on.

    An exact value has stderr 0 and lo = hi = value. What cannot be estimated is NaN, never a plausible number.
    """

    value: float
    stderr: float
    lo: float
    hi: float
    n: int

    @classmethod
    def exact(cls, value: float, n: int = 0) -> Estimate:
        """A number without sampling error."""
        return cls(value, 0.0, value, value, n)

    @classmethod
    def normal(cls, value: float, stderr: float, n: int) -> Estimate:
        """A number with a symmetric 95 % interval of ±1.96 standard errors."""
        return cls(value, stderr, value - 1.959964 * stderr, value + 1.959964 * stderr, n)

    @classmethod
    def missing(cls, n: int = 0) -> Estimate:
        """Not estimable from what came."""
        return cls(math.nan, math.nan, math.nan, math.nan, n)


@dataclass(frozen=True)
class Context:
    """What a measure may need besides the samples: the common sample size and a seed for its own resampling."""

    n: int  # equal sample size of all stages (rarefaction)
    seed: int
    embedding_size: int = 128
    embedding: str = "hash"  # hashed byte n-grams; "minilm" or the folder of a sentence encoder


@dataclass(frozen=True)
class Measure:
    """A measure of one frame of scored samples."""

    name: str  # "diversity/hill1"
    axis: Axis
    unit: str  # "modes", "share", "nats", "bytes", ...
    better: Better
    question: str  # what a newcomer asks it, in one plain sentence
    compute: Callable[[pl.DataFrame, Context], Estimate]
    descriptive: bool = False  # its interval is not calibrated, or its bias passes 2 % at 1,000 samples


def mean(values: np.ndarray, weights: np.ndarray, clusters: np.ndarray | None = None) -> Estimate:
    """Weighted mean with a standard error, clustered where samples share a prompt (cluster-robust linearisation).

    Args:
        values: shape (rows,).
        weights: shape (rows,), multiplicities.
        clusters: shape (rows,), equal values share a cluster; None = every copy is its own.
    """
    total = float(weights.sum())
    if total <= 0 or not len(values):
        return Estimate.missing()
    centre = float((values * weights).sum() / total)
    if not math.isfinite(
        centre
    ):  # a type that the model has lost: infinitely surprising, without a standard error
        return Estimate(centre, math.nan, math.nan, math.nan, int(total))
    residual = values - centre
    if clusters is None:
        if total <= 1:
            return Estimate(centre, math.nan, math.nan, math.nan, int(total))
        return Estimate.normal(
            centre, math.sqrt(float((weights * residual**2).sum()) / (total - 1) / total), int(total)
        )
    _, member = np.unique(clusters, return_inverse=True)
    sums = np.bincount(member, weights=weights * residual)
    groups = len(sums)
    if groups <= 1:
        return Estimate(centre, math.nan, math.nan, math.nan, int(total))
    stderr = math.sqrt(float((sums**2).sum()) * groups / (groups - 1)) / total
    return Estimate.normal(centre, stderr, int(total))


ROWS: dict[str, pl.DataType] = {
    "stage": pl.String(),  # real, model, pool, chosen, test, phase, loop
    "metric": pl.String(),
    "axis": pl.String(),
    "unit": pl.String(),
    "value": pl.Float64(),
    "stderr": pl.Float64(),
    "lo": pl.Float64(),
    "hi": pl.Float64(),
    "n": pl.Int64(),
}


def row(stage: str, metric: str, axis: Axis, unit: str, estimate: Estimate) -> tuple[object, ...]:
    """One line of the metrics table, in the order of `ROWS`."""
    return (stage, metric, axis, unit, *estimate)


def table(rows: list[tuple[object, ...]]) -> pl.DataFrame:
    """The lines as a frame with the columns of `ROWS`."""
    return pl.DataFrame(rows, schema=ROWS, orient="row")
