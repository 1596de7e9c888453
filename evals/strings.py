"""Measures of a plain list of texts: what the `evaluate` modules are made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from driftloop.evals.estimate import Context
from driftloop.evals.foreign import PLAIN, scored
from driftloop.evals.measured import sample_size
from driftloop.evals.stages import measures


def of_texts(
    texts: Sequence[str],
    names: Sequence[str],
    n: int | None = None,
    *,
    seed: int = 0,
    embedding_size: int = 256,
) -> dict[str, float]:
    """Value, standard error and 95 % interval of measures of a list of texts.

    Args:
        texts: each its own meaning: two equal texts share a mode.
        names: of measures, without "diversity/".
        n: common sample size; default all.
        seed: of the subsamples.
        embedding_size: length of the hashed vectors of Vendi scores.

    Returns:
        name, name_stderr, name_lo, name_hi for each, and n.

    Raises:
        ValueError: there are no texts, or n exceeds them.
    """
    samples = scored(
        pl.DataFrame({"text": list(texts)}, schema={"text": pl.String}), PLAIN, Path("predictions")
    )
    context = Context(sample_size(n, samples), seed, embedding_size)
    known = {measure.name.removeprefix("diversity/"): measure for measure in measures()}
    out: dict[str, float] = {"n": context.n}
    for name in names:
        found = known[name].compute(samples, context)
        out |= {
            name: found.value,
            f"{name}_stderr": found.stderr,
            f"{name}_lo": found.lo,
            f"{name}_hi": found.hi,
        }
    return out
