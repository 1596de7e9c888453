"""Numbers as responses: the text is the shortest that reads back as the same float, column `value` holds it typed."""

from __future__ import annotations

import numpy as np
import polars as pl

ALPHABET = "0123456789+-.e"
LONGEST = 26  # characters of a float
PATTERN = r"^-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]+)?$"


def written(values: np.ndarray) -> tuple[pl.Series, pl.Series]:
    """Columns `response` and `value` of finite numbers."""
    typed = pl.Series("value", values, dtype=pl.Float64)
    return typed.cast(pl.String).alias("response"), typed


def read() -> pl.Expr:
    """The number that a row's `response` writes; null where it is none, or none that is finite."""
    text = pl.col("response")
    value = text.cast(pl.Float64, strict=False)
    return pl.when(text.str.contains(PATTERN) & value.is_finite()).then(value)


def bins(z: pl.Expr) -> pl.Expr:
    """A mode for a standardised number: its half-unit bin, everything beyond 20 being one."""
    return (z.clip(-20, 20) * 2).floor().cast(pl.Int32).cast(pl.String)
