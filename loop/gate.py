"""The base gate: a loop on a base that is weaker than its keep share collapses under every policy."""

from __future__ import annotations

import warnings

import polars as pl

from driftloop.loop.settings import Arm


class WeakBase(ValueError):
    """The base model's correct share is below the share that selection wants to keep."""


def check_base(arm: Arm, rows: pl.DataFrame) -> None:
    """Stop (or warn) when the base's own correct share is below the keep share.

    Args:
        arm: its `loop.gate` says what happens.
        rows: the metric rows of generation 0.

    Raises:
        WeakBase: with `loop.gate=stop`.
    """
    mine = rows.filter((pl.col("stage") == "model") & (pl.col("metric") == "quality/correct_share"))["value"]
    needed = arm.loop.keep / arm.loop.pool
    threshold = getattr(arm.select, "threshold", 0.0)
    if arm.loop.gate == "ignore" or not len(mine) or threshold < 1 or mine[0] >= needed:
        return
    advice = (
        f"the base model is right in {mine[0]:.2f} of its samples, but selection wants to keep {needed:.2f} of them: modes "
        "that are never solved cannot be kept, and every policy collapses. Train the base longer (base.retrain.steps, "
        "base.samples), draw more (loop.pool), keep fewer (loop.keep), or set loop.gate=warn to see it happen"
    )
    if arm.loop.gate == "stop":
        raise WeakBase(advice)
    warnings.warn(advice, stacklevel=2)
