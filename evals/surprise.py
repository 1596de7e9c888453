"""Entropy of what is said, from the model's own log-probabilities: whole samples, and per token.

The mean surprise of a model at its own samples is the entropy of its sequences. That holds for samples at
temperature 1; of a hotter or colder pool, or of a choice, it is the cross-entropy under the generating model.
"""

from __future__ import annotations

import polars as pl

from driftloop.evals.abundance import clusters
from driftloop.evals.estimate import Context, Estimate, Measure, mean


def _drawn(samples: pl.DataFrame) -> pl.DataFrame:
    """Samples that a model scored: real data has no generating model."""
    return samples.filter((pl.col("source") == "synthetic") & pl.col("logprob").is_finite())


def _per_sequence(samples: pl.DataFrame, context: Context) -> Estimate:
    drawn = _drawn(samples)
    surprise = -drawn["logprob"].to_numpy()
    return mean(surprise, drawn["count"].to_numpy().astype(float), clusters(drawn))


def _per_token(samples: pl.DataFrame, context: Context) -> Estimate:
    """Ratio of sums; its error from what each sample adds beyond its tokens' share."""
    drawn = _drawn(samples)
    surprise, tokens = -drawn["logprob"].to_numpy(), drawn["n_tokens"].to_numpy().astype(float)
    count = drawn["count"].to_numpy().astype(float)
    total = float((count * tokens).sum())
    if total <= 0:
        return Estimate.missing()
    rate = float((count * surprise).sum()) / total
    rest = mean(surprise - rate * tokens, count, clusters(drawn))
    return Estimate.normal(rate, rest.stderr * rest.n / total, rest.n)


MEASURES: tuple[Measure, ...] = (
    Measure(
        "concentration/sequence_entropy",
        "diversity",
        "nats",
        "up",
        "How unpredictable is a whole sample to the model that wrote it?",
        _per_sequence,
    ),
    Measure(
        "concentration/token_entropy",
        "diversity",
        "nats per token",
        "up",
        "How unpredictable is a token to the model that wrote it?",
        _per_token,
    ),
)
