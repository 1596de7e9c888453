"""Plain batched sampling with a preallocated key/value cache: the oracle of the faster engines."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from driftloop.generators.contracts import Sampling
from driftloop.generators.models.llama import Llama, Shape, rotary
from driftloop.generators.seeds import rng

ROWS = 2048  # sampled side by side


class Drawn(NamedTuple):
    """What every engine returns, one row per draw (or per distinct draw, with its count)."""

    prompt: np.ndarray  # (rows,) index into the prompts given
    tokens: np.ndarray  # (rows, limit) padded with -1; the stop token is there where it was drawn
    copies: np.ndarray  # (rows,) draws that this row stands for
    logprob: np.ndarray  # (rows,) f64 nats at temperature 1 without truncation, stop token included


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
    """Draw counts[i] continuations of prompts[i], one row each; `greedy` takes the likeliest token.

    Args:
        weights: under Hugging Face's names, fp32.
        prompts: token ids, begin mark included.
        counts: shape (prompts,).
        stop: the token that ends a continuation.
        limit: most new tokens; fewer where `shape.context` is reached.

    Raises:
        ValueError: a prompt that fills `shape.context`.
    """
    model = Llama.from_hf_state(shape, weights)
    uniform = rng(seed, "dense")
    lengths = np.array([len(p) for p in prompts], np.int64)
    if len(prompts) and lengths.max() >= shape.context:
        got = f"a prompt of {lengths.max()} tokens, begin mark included"
        raise ValueError(f"prompts must leave room in context={shape.context}, got {got}; raise the context")
    tokens = np.full((int(counts.sum()), limit), -1)
    logprob, index = np.zeros(len(tokens)), np.repeat(np.arange(len(prompts)), counts)
    with torch.inference_mode():
        for length in np.unique(lengths):
            members = np.flatnonzero(lengths[index] == length)
            for rows in np.array_split(members, max(1, -(-len(members) // ROWS))):
                room = min(limit, shape.context - int(length))
                drawn = _continue(model, prompts, index[rows], sampling, stop, room, uniform, greedy)
                tokens[rows, :room], logprob[rows] = drawn
    return Drawn(index, tokens, np.ones(len(index), np.int64), logprob)


def tempered(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution that tokens are drawn from, shape (rows, vocab): temperature, then min-p and top-p."""
    p = torch.softmax(logits / sampling.temperature, -1)
    kept = p
    if sampling.min_p > 0:
        kept = kept * (p >= sampling.min_p * p.amax(-1, keepdim=True))
    if sampling.top_p < 1:
        order = p.argsort(stable=True, dim=-1, descending=True)
        falling = p.gather(-1, order)
        before = falling.cumsum(-1) - falling
        kept = kept * torch.zeros_like(p).scatter(-1, order, (before < sampling.top_p).to(p.dtype))
    return kept / kept.sum(-1, keepdim=True)


def _continue(
    model: Llama,
    prompts: list[np.ndarray],
    rows: np.ndarray,
    sampling: Sampling,
    stop: int,
    limit: int,
    uniform: np.random.Generator,
    greedy: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens (rows, limit) and log-probabilities of one continuation per row; prompts have one length."""
    tokens = np.full((len(rows), limit), -1)
    logprob = np.zeros(len(rows))
    if not len(rows):
        return tokens, logprob
    distinct, member = np.unique(rows, return_inverse=True)
    start = np.stack([prompts[i] for i in distinct])
    length = start.shape[1]
    cache = _cache(model.shape, len(distinct), length + limit)
    for t in range(length):
        logits = _step(model, cache, torch.from_numpy(start[:, t]), t)
    cache, logits = cache[:, :, torch.from_numpy(member)], logits[torch.from_numpy(member)]
    alive = np.arange(len(rows))
    for t in range(limit):
        drawn = logits.argmax(-1) if greedy else pick(tempered(logits, sampling), uniform)
        tokens[alive, t] = drawn.numpy()
        logprob[alive] += logits.double().log_softmax(-1).gather(-1, drawn[:, None])[:, 0].numpy()
        on = drawn != stop
        alive, drawn = alive[on.numpy()], drawn[on]
        if t + 1 == limit or not len(alive):
            break
        cache = cache if bool(on.all()) else cache[:, :, on]
        logits = _step(model, cache, drawn, length + t)
    return tokens, logprob


def pick(p: Tensor, uniform: np.random.Generator) -> Tensor:
    """One index per row by inversion; never one of probability 0."""
    below = p.double().cumsum(-1)
    u = torch.from_numpy(uniform.random((len(p), 1))) * below[:, -1:]
    picked = torch.searchsorted(below, u, right=True)[:, 0]
    return picked.clamp(max=p.shape[1] - 1)


def _cache(s: Shape, rows: int, positions: int) -> Tensor:
    return torch.empty(s.layers, 2, rows, s.kv_heads, positions, s.head_width)


def _step(model: Llama, cache: Tensor, ids: Tensor, t: int) -> Tensor:
    """Logits (rows, vocab) after tokens `ids` (rows,) at position t; keys and values go to the cache."""
    s, w = model.shape, model.weights
    cos, sin = (table[t] for table in rotary(s, t + 1))
    x = w["embed"][ids]
    for i in range(s.layers):
        h = F.rms_norm(x, (s.width,), w[f"{i}.norm"], s.norm_eps)
        heads = F.linear(h, w[f"{i}.qkv"]).view(len(ids), -1, s.head_width)
        q, k, v = heads.tensor_split((s.heads, s.heads + s.kv_heads), 1)
        cache[i, 0, :, :, t], cache[i, 1, :, :, t] = _turn(k, cos, sin), v
        past = cache[i, 0, :, :, : t + 1], cache[i, 1, :, :, : t + 1]
        grouped = s.heads != s.kv_heads
        o = F.scaled_dot_product_attention(_turn(q, cos, sin)[:, :, None], *past, enable_gqa=grouped)
        x = x + F.linear(o.reshape(len(ids), -1), w[f"{i}.out"])
        h = F.rms_norm(x, (s.width,), w[f"{i}.norm2"], s.norm_eps)
        gate, up = F.linear(h, w[f"{i}.gate_up"]).chunk(2, -1)
        x = x + F.linear(F.silu(gate) * up, w[f"{i}.down"])
    return F.linear(F.rms_norm(x, (s.width,), w["norm"], s.norm_eps), w["embed"])


def _turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate (..., T, head_width) as Hugging Face does: component i turns with i + head_width/2."""
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)
