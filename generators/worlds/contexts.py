"""Prompts that are nothing but a number and a colon: independent populations side by side in one world."""

from __future__ import annotations

import numpy as np
import polars as pl

from driftloop.generators.seeds import rng


def names(contexts: int) -> list[str]:
    """Every prompt, "00:" and so on; without contexts the empty one."""
    wide = len(str(contexts - 1))
    return [f"{i:0{wide}}:" for i in range(contexts)] or [""]


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
    columns = {"parent_id": pl.UInt64, "prompt": pl.String, "count": pl.UInt64}
    rows = {"parent_id": np.arange(len(counts)), "prompt": names(contexts), "count": counts}
    return pl.DataFrame(rows, schema=columns).filter(pl.col("count") > 0)


def number(contexts: int) -> pl.Expr:
    """The number of a row's `prompt`, u32; null where it is no prompt of ours; 0 for every row without contexts."""
    if not contexts:
        return pl.lit(0, pl.UInt32)
    prompt = pl.col("prompt")
    found = prompt.str.strip_suffix(":").cast(pl.UInt32, strict=False)
    ours = prompt.str.contains(f"^[0-9]{{{len(str(contexts - 1))}}}:$") & (found < contexts)
    return pl.when(ours).then(found)
