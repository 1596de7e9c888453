"""A transformers network sampled and scored in batches with plain torch: the oracle of vLLM."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from driftloop.generators.engines.dense import Drawn
from driftloop.generators.seeds import rng

if TYPE_CHECKING:
    from torch import Tensor

    from driftloop.generators.contracts import Sampling

ROWS = 64  # sampled side by side
TOKENS_AT_ONCE = 2048  # scored in one batch


class OutOfMemory(RuntimeError):
    """A device has no room for what was asked; the message says what to lower."""


def draw(
    network: Any,
    prompts: Sequence[np.ndarray],
    counts: np.ndarray,
    *,
    sampling: Sampling,
    stop: Sequence[int],
    limit: int,
    context: int,
    seed: int,
    greedy: bool = False,
) -> Drawn:
    """Draw counts[i] continuations of prompts[i], one row each; `greedy` takes the likeliest token.

    Args:
        network: from transformers, in evaluation mode.
        prompts: token ids, begin mark included.
        counts: shape (prompts,).
        stop: tokens that end a continuation.
        limit: most new tokens; fewer where `context` is reached.

    Raises:
        ValueError: a prompt that fills the context.
        OutOfMemory: the device is full.
    """
    must_fit(prompts, context)
    lengths = np.array([len(p) for p in prompts], np.int64)
    index = np.repeat(np.arange(len(prompts)), counts)
    room = np.minimum(limit, context - lengths[index])
    tokens = np.full((len(index), int(room.max(initial=0))), -1)
    logprob, uniform = np.zeros(len(index)), rng(seed, "hugging face")
    order = np.argsort(lengths[index], kind="stable")
    with enough_memory("sampling: lower loop.pool, sampling.max_tokens or model.context"):
        for rows in np.split(order, range(ROWS, len(order), ROWS)) if len(order) else []:
            _continue(network, prompts, index, rows, room, tokens, logprob, sampling, stop, uniform, greedy)
    return Drawn(index, tokens, np.ones(len(index), np.int64), logprob)


def score(network: Any, rows: Sequence[np.ndarray], given: np.ndarray, context: int) -> np.ndarray:
    """ln p of the tokens of each row after its first given[i], nats, shape (rows,).

    Raises:
        ValueError: a row that fills the context.
        OutOfMemory: the device is full.
    """
    import torch

    must_fit(rows, context)
    result, lengths = np.zeros(len(rows)), np.array([len(row) for row in rows], np.int64)
    with torch.inference_mode(), enough_memory("scoring: lower model.context"):
        for batch in batches(lengths, TOKENS_AT_ONCE):
            ids, mask = left_padded([rows[i] for i in batch], network.device)
            answer = int((lengths[batch] - given[batch]).max())
            logits = network(**inputs(ids, mask), logits_to_keep=answer + 1).logits[:, :-1].float()
            nll = surprise(logits, ids[:, ids.shape[1] - answer :])
            asked = np.arange(answer)[None] >= (answer - (lengths[batch] - given[batch]))[:, None]
            result[batch] = -np.where(asked, nll.double().cpu().numpy(), 0).sum(1)
    return result


def must_fit(rows: Sequence[np.ndarray], context: int) -> None:
    """Every row leaves room for one token.

    Raises:
        ValueError: one does not.
    """
    longest = max((len(row) for row in rows), default=0)
    if longest >= context:
        raise ValueError(
            f"texts must leave room in context={context}, got {longest} tokens, marks included; raise model.context, or "
            "shorten the prompts"
        )


@contextlib.contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """What a full device says, with the way out.

    Raises:
        OutOfMemory: instead of torch's own error.
    """
    import torch

    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise OutOfMemory(f"out of memory while {advice} ({error})") from error
    except RuntimeError as error:
        if "allocate memory" not in str(error):
            raise
        raise OutOfMemory(f"out of memory while {advice} ({error})") from error


def batches(lengths: np.ndarray, tokens: int) -> Iterator[np.ndarray]:
    """Row indices by rising length, at most `tokens` padded tokens (or one row) at a time."""
    batch: list[int] = []
    for i in np.argsort(lengths, kind="stable"):
        if batch and (len(batch) + 1) * lengths[i] > tokens:
            yield np.array(batch)
            batch = []
        batch.append(int(i))
    if batch:
        yield np.array(batch)


def left_padded(rows: Sequence[np.ndarray], device: Any) -> tuple[Tensor, Tensor]:
    """Ids and mask, each (rows, longest), every row at the right edge."""
    import torch

    width = max(len(row) for row in rows)
    ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
    for i, row in enumerate(rows):
        ids[i, width - len(row) :], mask[i, width - len(row) :] = row, 1
    return torch.from_numpy(ids).to(device), torch.from_numpy(mask).to(device)


def surprise(logits: Tensor, ids: Tensor) -> Tensor:
    """-ln p of every token, nats, shape (rows, length); the vocabulary must be last, torch is coarse elsewhere."""
    import torch

    nll = torch.nn.functional.cross_entropy(logits.flatten(0, 1), ids.flatten(), reduction="none")
    return nll.view(ids.shape)


def inputs(ids: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """What a network is asked with: ids (rows, new), mask (rows, all so far); positions count from the text's start."""
    return {
        "input_ids": ids,
        "attention_mask": mask,
        "position_ids": (mask.cumsum(-1) - 1).clamp(min=0)[:, -ids.shape[1] :],
    }


def _continue(
    network: Any,
    prompts: Sequence[np.ndarray],
    index: np.ndarray,
    rows: np.ndarray,
    room: np.ndarray,
    tokens: np.ndarray,
    logprob: np.ndarray,
    sampling: Sampling,
    stop: Sequence[int],
    uniform: np.random.Generator,
    greedy: bool,
) -> None:
    """Fill `rows` of tokens and logprob; a prompt is read once for all of its copies."""
    import torch
    from transformers import DynamicCache

    from driftloop.generators.engines.dense import pick, tempered

    with torch.inference_mode():
        distinct, member = np.unique(index[rows], return_inverse=True)
        ids, mask = left_padded([prompts[i] for i in distinct], network.device)
        cache, copies = DynamicCache(config=network.config), torch.from_numpy(member).to(ids.device)
        said = network(**inputs(ids, mask), past_key_values=cache, use_cache=True, logits_to_keep=1)
        cache.batch_select_indices(copies)
        logits, mask = said.logits[copies, -1].float().cpu(), mask[copies]
        for t in range(int(room[rows].max())):
            drawn = logits.argmax(-1) if greedy else pick(tempered(logits, sampling), uniform)
            chosen = drawn.numpy()
            tokens[rows, t] = chosen
            logprob[rows] += logits.double().log_softmax(-1).gather(-1, drawn[:, None])[:, 0].numpy()
            on = ~np.isin(chosen, stop) & (t + 1 < room[rows])
            if not on.any():
                return
            rows, drawn = rows[on], drawn[torch.from_numpy(on)]
            if not on.all():
                left = torch.from_numpy(np.flatnonzero(on)).to(mask.device)
                cache.batch_select_indices(left)
                mask = mask[left]
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            step = inputs(drawn[:, None].to(mask.device), mask)
            logits = network(**step, past_key_values=cache, use_cache=True).logits[:, -1].float().cpu()
