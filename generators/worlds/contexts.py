"""Prompts that are nothing but a number and a colon: independent populations side by side in one world."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl

from driftloop.generators.seeds import rng


@lru_cache(maxsize=8)
def names(contexts: int) -> pl.Series:
    """Every prompt, "00:" and so on; without contexts the empty one."""
    wide = len(str(contexts - 1))
    return pl.Series("prompt", [f"{i:0{wide}}:" for i in range(contexts)] or [""])


def spread(n: int, contexts: int, *, seed: int) -> np.ndarray:
    """Samples per prompt as even as possible, shape (prompts,) u64; which get one more is drawn."""
    prompts = max(contexts, 1)
    share, rest = divmod(n, prompts)
    counts = np.full(prompts, share, np.uint64)
    if rest:
        counts[rng(seed, "spread").permutation(prompts)[:rest]] += np.uint64(1)
    return counts


def asked(n: int, contexts: int, *, seed: int) -> pl.DataFrame:
    """n prompts: frame (parent_id, prompt, count)."""
    counts = spread(n, contexts, seed=seed)
    ids = np.arange(len(counts), dtype=np.uint64)
    rows = pl.DataFrame([pl.Series("parent_id", ids), names(contexts), pl.Series("count", counts)])
    return rows if n >= len(counts) else rows.filter(pl.col("count") > 0)


def number(contexts: int) -> pl.Expr:
    """The number of a row's `prompt`, u32; null where it is no prompt of ours; 0 for every row without contexts."""
    if not contexts:
        return pl.lit(0, pl.UInt32)
    prompt = pl.col("prompt")
    found = prompt.str.strip_suffix(":").cast(pl.UInt32, strict=False)
    ours = prompt.str.contains(f"^[0-9]{{{len(str(contexts - 1))}}}:$") & (found < contexts)
    return pl.when(ours).then(found)
