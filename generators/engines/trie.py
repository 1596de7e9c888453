"""Sampling by counts: the model runs once per distinct prefix, however many copies of it are asked for.

A prefix that stands for n copies gives its children multinomial(n, p) copies, so the rows are an exact
independent sample while the cost grows with the number of distinct prefixes: it falls as a model collapses.
Where all prefixes differ, this is plain batching, with nothing copied. Related: incremental sampling without
replacement (arXiv 2002.09067), which shares prefixes to avoid repeats; here repeats are counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from driftloop.generators.engines import kernels
from driftloop.generators.engines.decoder import Decoder, one_thread
from driftloop.generators.engines.dense import Drawn
from driftloop.generators.engines.frontier import BUDGET_BYTES, Frontier, Nodes, Turn
from driftloop.generators.engines.paths import Below, Paths
from driftloop.generators.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

    from driftloop.generators.contracts import Sampling
    from driftloop.generators.models.llama import Shape

    Choose = Callable[[np.ndarray, "_Items"], "Choice"]

Choice = tuple[np.ndarray, np.ndarray, np.ndarray]  # item, token and copies of every child
BULK = 256  # copies of one prefix from which binomials are cheaper than one inversion per copy


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
    budget_bytes: int = BUDGET_BYTES,
) -> Drawn:
    """Draw counts[i] continuations of prompts[i]: one row per distinct (prompt, continuation), by prompt.

    Args:
        shape, weights: the model, under Hugging Face's names, fp32.
        prompts: token ids of any lengths, begin mark included; shared beginnings are read once.
        counts: shape (prompts,); 0 is allowed.
        stop: the token that ends a continuation.
        limit: most new tokens; fewer where `shape.context` is reached.
        greedy: take the likeliest token (of equals the first) instead of drawing.
        budget_bytes: of keys and values that wait; prefixes that do not fit are read again, which costs time.

    Raises:
        ValueError: an empty prompt, one that fills `shape.context`, a negative count, or limit below 1.
    """
    counts = np.asarray(counts, np.int64)
    _check(shape, prompts, counts, limit)
    asked = np.flatnonzero(counts)
    length = np.array([len(p) for p in prompts], np.int64)
    room = np.minimum(limit, shape.context - length)
    done = _Done(limit, length)
    if len(asked):
        decoder = Decoder(shape, weights, int((length + room)[asked].max()) - 1)
        choose = _greedy if greedy else _chooser(sampling, rng(seed, "trie"))
        paths = Paths([prompts[i] for i in asked])
        given = _Given(paths, asked[paths.order], counts, length, room, stop)
        _descend(Frontier(decoder, budget_bytes=budget_bytes), decoder, given, choose, done)
    return done.drawn()


class _Given(NamedTuple):
    """What is asked for; `owner` translates sorted rows of `paths` to prompts."""

    paths: Paths
    owner: np.ndarray
    counts: np.ndarray
    length: np.ndarray
    room: np.ndarray
    stop: int


class _Items(NamedTuple):
    """Answers that get a token now: their node, row of the tile, prompt, copies, log-probability so far."""

    node: np.ndarray
    lane: np.ndarray
    owner: np.ndarray
    copies: np.ndarray
    logprob: np.ndarray


def _descend(frontier: Frontier, decoder: Decoder, given: _Given, choose: Choose, done: _Done) -> None:
    root = given.paths.root()
    frontier.push(0, None, np.zeros(root.size, np.int64), root)
    with one_thread():
        while turn := frontier.pop():
            logits, log_sum = decoder.step(turn.tile, turn.depth, turn.tokens)
            below = given.paths.below(turn.nodes)
            items = _items(turn, below, given)
            if len(items.node):
                item, token, count = choose(logits, items)
                lane = items.lane[item]
                logprob = items.logprob[item] + (logits[token, lane] - log_sum[lane])
                before = turn.nodes.path[items.node[item]]
                path = np.concatenate((before, token[:, None].astype(np.int32)), axis=1)
                owner = items.owner[item]
                none = np.zeros_like(owner)
                nodes = Nodes(path, none, none, owner, count, logprob)
                ends = (token == given.stop) | (turn.depth + 2 - given.length[owner] >= given.room[owner])
                if ends.any():
                    done.add(nodes.take(ends))
                    nodes, lane = nodes.take(~ends), lane[~ends]
                frontier.push(turn.depth + 1, turn.tile, lane, nodes)
            parent, nodes = given.paths.children(turn.nodes, below, turn.depth)
            frontier.push(turn.depth + 1, turn.tile, turn.lane[parent], nodes)


def _items(turn: Turn, below: Below, given: _Given) -> _Items:
    """The nodes that answer already, and the prompts that end at a node."""
    node = np.flatnonzero(turn.nodes.owner >= 0)
    old = _Items(node, turn.lane[node], *(column[node] for column in turn.nodes[3:]))
    ends = given.paths.length[below.row] == turn.depth + 1
    if not ends.any():
        return old
    node, owner = below.node[ends], given.owner[below.row[ends]]
    new = _Items(node, turn.lane[node], owner, given.counts[owner], np.zeros(len(node)))
    return _Items(*(np.concatenate(pair) for pair in zip(old, new, strict=True)))


def _greedy(logits: np.ndarray, items: _Items) -> Choice:
    return np.arange(len(items.lane)), logits.argmax(0)[items.lane], items.copies


def _chooser(sampling: Sampling, uniform: np.random.Generator) -> Choose:
    def choose(logits: np.ndarray, items: _Items) -> Choice:
        weight = np.empty(logits.shape)
        kernels.soften(logits, sampling.temperature, weight)
        truncate(weight, sampling)
        return share_out(weight, items.lane, items.copies, uniform)

    return choose


def truncate(weight: np.ndarray, sampling: Sampling) -> None:
    """Set to 0, in place, what min-p and top-p leave out of tempered weights (vocab, rows)."""
    if sampling.min_p == 0 and sampling.top_p == 1:
        return
    dropped = weight < sampling.min_p * weight.max(0)
    if sampling.top_p < 1:
        order = np.argsort(-weight, axis=0, kind="stable")
        falling = np.take_along_axis(weight, order, 0)
        before = falling.cumsum(0) - falling
        late = before >= sampling.top_p * falling.sum(0)
        late[0] = False
        beyond = np.empty_like(dropped)
        np.put_along_axis(beyond, order, late, 0)
        dropped |= beyond
    weight[dropped] = 0


def share_out(
    weight: np.ndarray, lane: np.ndarray, count: np.ndarray, uniform: np.random.Generator
) -> Choice:
    """Draw count[i] tokens from column lane[i] of weight (vocab, rows): item, token and copies of each."""
    single = count <= BULK
    copies = np.repeat(np.flatnonzero(single), count[single])
    token = np.empty(len(copies), np.int64)
    cumulative = np.empty_like(weight)
    kernels.accumulate(weight, cumulative)
    kernels.invert(cumulative, lane[copies], uniform.random(len(copies)), token)
    if len(copies) == len(lane) and (count == 1).all():
        return copies, token, count
    code, times = np.unique(copies * len(weight) + token, return_counts=True)
    item, token = np.divmod(code, len(weight))
    if single.all():
        return item, token, times
    many, kinds, sizes = _bulk(weight, lane, count, np.flatnonzero(~single), uniform)
    item = np.concatenate((item, many))
    order = np.argsort(item, kind="stable")
    return item[order], np.concatenate((token, kinds))[order], np.concatenate((times, sizes))[order]


def _bulk(
    weight: np.ndarray, lane: np.ndarray, count: np.ndarray, item: np.ndarray, uniform: np.random.Generator
) -> Choice:
    p = weight[:, lane[item]].T
    order = np.argsort(p, axis=1, kind="stable")  # the last one takes numpy's rounding error: the likeliest
    p = np.take_along_axis(p, order, 1)
    tally = uniform.multinomial(count[item], p / p.sum(1, keepdims=True))
    row, column = np.nonzero(tally)
    return item[row], order[row, column], tally[row, column]


class _Done:
    """Finished answers."""

    def __init__(self, limit: int, length: np.ndarray) -> None:
        self._limit, self._length = limit, length
        self._parts: list[Drawn] = []

    def add(self, nodes: Nodes) -> None:
        column = self._length[nodes.owner][:, None] + np.arange(self._limit)
        last = nodes.path.shape[1] - 1
        tokens = np.take_along_axis(nodes.path, np.minimum(column, last), 1)
        tokens[column > last] = -1
        self._parts.append(Drawn(nodes.owner, tokens, nodes.copies, nodes.logprob))

    def drawn(self) -> Drawn:
        if not self._parts:
            none = np.zeros(0, np.int64)
            return Drawn(none, np.zeros((0, self._limit), np.int32), none, np.zeros(0))
        whole = Drawn(*(np.concatenate(column) for column in zip(*self._parts, strict=True)))
        order = np.argsort(whole[0], kind="stable")
        return Drawn(*(column[order] for column in whole))


def _check(shape: Shape, prompts: list[np.ndarray], counts: np.ndarray, limit: int) -> None:
    if counts.shape != (len(prompts),) or (counts < 0).any():
        raise ValueError(
            f"counts: expected {len(prompts)} numbers of at least 0 (one per prompt), got {counts}"
        )
    if limit < 1:
        raise ValueError(f"limit: expected at least 1 new token, got {limit}")
    for i, prompt in enumerate(prompts):
        if not 0 < len(prompt) < shape.context:
            raise ValueError(
                f"prompts[{i}]: expected 1 to {shape.context - 1} tokens (one less than context), "
                f"got {len(prompt)}; prepend the begin mark or raise context"
            )
