"""Plain batching on the fused decoder: every copy is a row of its own; only prompts are shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from driftloop.generators.engines import trie
from driftloop.generators.engines.dense import Drawn

if TYPE_CHECKING:
    from torch import Tensor

    from driftloop.generators.contracts import Sampling
    from driftloop.generators.models.llama import Shape


def draw(
    shape: Shape,
    weights: dict[str, Tensor],
    prompts: list[np.ndarray],
    counts: np.ndarray,
    *,
    sampling: Sampling,
    stop: int,
    limit: int,
    seed: int,
    greedy: bool = False,
) -> Drawn:
    """Draw counts[i] continuations of prompts[i], one row per copy; arguments as in `trie.draw`.

    Raises:
        ValueError: as `trie.draw`.
    """
    copies = np.repeat(np.arange(len(prompts)), counts)
    rows = [prompts[i] for i in copies]
    each = np.ones(len(rows), np.int64)
    drawn = trie.draw(
        shape, weights, rows, each, sampling=sampling, stop=stop, limit=limit, seed=seed, greedy=greedy
    )
    return Drawn(copies[drawn[0]], *drawn[1:])
