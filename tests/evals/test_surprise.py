"""Entropies from log-probabilities against closed forms and simulation."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest

from driftloop.evals.estimate import Context, Estimate
from driftloop.evals.stages import measures

Scored = Callable[..., pl.DataFrame]
COMPUTE = {m.name: m.compute for m in measures()}
P = np.array([0.5, 0.25, 0.125, 0.125])


def drawn(scored: Scored, counts: np.ndarray) -> pl.DataFrame:
    """Four texts with probabilities P; the i-th has i + 1 tokens."""
    samples = scored(list("abcd"), list(counts))
    tokens = pl.Series("n_tokens", [1, 2, 3, 4], dtype=pl.UInt32)
    return samples.with_columns(pl.Series("logprob", np.log(P)), tokens).filter(pl.col("count") > 0)


def of(samples: pl.DataFrame, name: str) -> Estimate:
    return COMPUTE[f"concentration/{name}_entropy"](samples, Context(1000, 0))


def test_at_the_expected_counts_it_is_the_entropy(scored: Scored) -> None:
    samples = drawn(scored, (P * 800).astype(int))
    entropy = float(-(P * np.log(P)).sum())
    assert of(samples, "sequence").value == pytest.approx(entropy)
    assert of(samples, "token").value == pytest.approx(entropy / float((P * [1, 2, 3, 4]).sum()))


@pytest.mark.parametrize("name", ["sequence", "token"])
def test_standard_errors_match_the_scatter_of_repeated_samples(scored: Scored, name: str) -> None:
    counts = np.random.default_rng(0).multinomial(300, P, size=400)
    found = [of(drawn(scored, c), name) for c in counts]
    claimed, scatter = np.mean([e.stderr for e in found]), np.std([e.value for e in found])
    assert 0.85 < claimed / scatter < 1.15


def test_real_data_has_no_generating_model(scored: Scored) -> None:
    real = drawn(scored, np.array([5, 5, 5, 5])).with_columns(
        pl.lit("real", pl.Enum(["real", "synthetic"])).alias("source")
    )
    assert math.isnan(of(real, "sequence").value)
    assert math.isnan(of(real, "token").value)
