"""Solve-rate difficulty: how often a frozen first model fails at the prompts that samples answer.

SPARQ (arXiv 2506.06499) takes 1 - pass@1 of a fixed reference model as the difficulty of a problem. Of a choice, it
says whether selection kept to what was easy from the start.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from driftloop.evals.complexity import quantile
from driftloop.evals.estimate import Estimate, mean, row, table
from driftloop.evals.exam import Scores
from driftloop.evals.generalization import right_mass

SCHEMA = {"prompt": pl.String, "difficulty": pl.Float64}
UNIT = "share"


def prompt_difficulty(scores: Scores) -> pl.DataFrame:
    """1 - pass@1, exact, of each prompt that has right answers: frame (prompt, difficulty).

    Args:
        scores: of the frozen reference model, from `driftloop.evals.exam.sit`. A world that lists no right answers
            gives no rows.
    """
    parts = [pl.DataFrame(schema=SCHEMA)]
    for split in scores.exam.answers:
        chance = pl.Series("difficulty", 1 - right_mass(scores, split))
        parts.append(scores.exam.questions[split].select("prompt", chance))
    return pl.concat(parts).filter(pl.col("difficulty").is_not_nan()).unique("prompt", maintain_order=True)


def difficulty(samples: pl.DataFrame, known: pl.DataFrame, stage: str) -> pl.DataFrame:
    """Mean, 10th and 90th percentile of the difficulty of the samples' prompts, one cluster per prompt.

    Args:
        samples: scored samples (prompt, count).
        known: from `prompt_difficulty`; samples of other prompts are left out. No rows where it is empty.
        stage: "model", "pool" or "chosen".
    """
    if not known.height:
        return table([])
    asked = (
        samples.join(known, on="prompt", how="inner")
        .group_by("prompt")
        .agg(pl.col("count").sum().cast(pl.Float64), pl.col("difficulty").first())
    )
    asked = asked.filter(pl.col("count") > 0).sort("prompt")
    values, weights = asked["difficulty"].to_numpy(), asked["count"].to_numpy()
    found = {
        "mean": mean(values, weights, np.arange(len(values))) if len(values) else Estimate.missing(),
        "p10": quantile(values, weights, 0.1),
        "p90": quantile(values, weights, 0.9),
    }
    return table(
        [row(stage, f"complexity/difficulty_{name}", "complexity", UNIT, e) for name, e in found.items()]
    )
