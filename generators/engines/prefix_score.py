"""Exact log-probabilities of many strings at once: the model runs once per distinct prefix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from driftloop.generators.engines.decoder import Decoder, one_thread
from driftloop.generators.engines.frontier import BUDGET_BYTES, Frontier
from driftloop.generators.engines.paths import Paths

if TYPE_CHECKING:
    from torch import Tensor

    from driftloop.generators.models.llama import Shape


def logprobs(
    shape: Shape,
    weights: dict[str, Tensor],
    prompts: list[np.ndarray],
    responses: list[np.ndarray],
    *,
    budget_bytes: int = BUDGET_BYTES,
) -> np.ndarray:
    """ln p(response | prompt) in nats, summed over the response's tokens, shape (rows,) f64.

    Args:
        shape, weights: the model, under Hugging Face's names, fp32.
        prompts, responses: token ids of each row; every prompt holds at least the begin mark. Rows may be longer
            than `shape.context`: rotary positions have no end.
        budget_bytes: of keys and values that wait.

    Raises:
        ValueError: not one response per prompt, or an empty prompt.
    """
    if len(prompts) != len(responses):
        raise ValueError(f"responses: expected one per prompt ({len(prompts)}), got {len(responses)}")
    if not all(map(len, prompts)):
        raise ValueError("prompts: every prompt needs at least its begin mark, got an empty one; prepend it")
    whole = [np.concatenate(pair).astype(np.int32) for pair in zip(prompts, responses, strict=True)]
    if not whole:
        return np.zeros(0)
    given = np.array([len(p) for p in prompts], np.int64)
    fed = [row[:-1] if len(row) > 1 else row for row in whole]  # the last token is asked for, never fed
    paths = Paths(fed)
    target = np.full((len(whole), max(map(len, whole)) + 1), -1, np.int32)
    for at, row in enumerate(paths.order):
        target[at, : len(whole[row])] = whole[row]
    decoder = Decoder(shape, weights, paths.ids.shape[1])
    total = _walk(decoder, paths, target, given[paths.order], budget_bytes)
    result = np.empty(len(whole))
    result[paths.order] = total
    return result


def _walk(decoder: Decoder, paths: Paths, target: np.ndarray, given: np.ndarray, budget: int) -> np.ndarray:
    total = np.zeros(len(target))
    frontier = Frontier(decoder, budget_bytes=budget)
    root = paths.root()
    frontier.push(0, None, np.zeros(root.size, np.int64), root)
    with one_thread():
        while turn := frontier.pop():
            logits, log_sum = decoder.step(turn.tile, turn.depth, turn.tokens)
            below = paths.below(turn.nodes)
            asked = target[below.row, turn.depth + 1]
            counts = (asked >= 0) & (turn.depth + 1 >= given[below.row])
            lane, row = turn.lane[below.node[counts]], below.row[counts]
            total[row] += logits[asked[counts], lane] - log_sum[lane]
            parent, nodes = paths.children(turn.nodes, below, turn.depth)
            frontier.push(turn.depth + 1, turn.tile, turn.lane[parent], nodes)
    return total
