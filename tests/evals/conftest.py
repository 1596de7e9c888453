"""Scored samples from plain lists."""

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import pytest

from driftloop.generators.samples import stamp

Scored = Callable[..., pl.DataFrame]


@pytest.fixture(scope="session")
def scored() -> Scored:
    """Build a frame of responses, with copies, prompts and quality of each; modes are responses."""

    def build(
        responses: Sequence[str],
        count: Sequence[int] | None = None,
        prompts: Sequence[int] | None = None,
        quality: Sequence[float] | None = None,
    ) -> pl.DataFrame:
        n = len(responses)
        parents = pl.Series("parent_id", prompts if prompts is not None else [None] * n, dtype=pl.UInt64)
        drawn = pl.DataFrame(
            {
                "prompt": [f"{p}:" for p in prompts] if prompts is not None else [""] * n,
                "response": list(responses),
                "count": pl.Series(np.ones(n) if count is None else count, dtype=pl.UInt64),
                "parent_id": parents,
            },
            schema_overrides={"prompt": pl.String, "response": pl.String},
        )
        good = pl.Series([1.0] * n if quality is None else quality, dtype=pl.Float64)
        return stamp(drawn, generation=0, source="synthetic", seed=1).with_columns(
            pl.lit(True).alias("valid"),
            good.alias("quality"),
            pl.col("response").str.len_chars().cast(pl.Float64).alias("complexity"),
            pl.col("response").alias("mode"),
            pl.col("response").str.slice(0, 1).alias("strategy"),
            pl.lit("id").alias("split"),
        )

    return build
