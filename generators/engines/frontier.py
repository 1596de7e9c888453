"""Distinct prefixes that wait for the model: which run next, where their parents' keys and values lie.

Keys and values that wait take at most `budget_bytes`, those in work at most three tiles more (a tile is a
quarter of it, or 16 rows where those need more). Beyond it the shallowest prefixes lose theirs and are read
again when their turn comes.
"""

from __future__ import annotations

from typing import NamedTuple, Self, final

import numpy as np

from driftloop.generators.engines.decoder import LANES, Decoder

WIDTH = 256  # prefixes in one tile: a row costs the same from 128 on, but wide tiles pay for fewer calls
BUDGET_BYTES = 512 * 2**20
CHEAP_BYTES = 2**21  # keys and values of a tile that are copied in less time than a step takes


class Nodes(NamedTuple):
    """Distinct prefixes of one depth, one per row; those that still read prompts have owner -1."""

    path: np.ndarray  # (n, depth + 1) token ids from the first on, the one to be fed last
    first: np.ndarray  # (n,) range of the sorted prompts that begin with this prefix
    last: np.ndarray
    owner: np.ndarray  # (n,) prompt that is being answered
    copies: np.ndarray  # (n,) how many of this answer are asked for
    logprob: np.ndarray  # (n,) f64, of the answer so far

    def take(self, index: np.ndarray | slice) -> Self:
        """Some of the rows."""
        return type(self)(*(column[index] for column in self))

    @property
    def size(self) -> int:
        """Number of rows."""
        return len(self.path)


def joined(parts: list[Nodes]) -> Nodes:
    """Rows of all parts, in order."""
    return (
        parts[0]
        if len(parts) == 1
        else Nodes(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    )


class _Block(NamedTuple):
    tile: np.ndarray | None  # keys and values of the parents; None = forgotten, or the root
    lane: np.ndarray  # (n,) each node's parent in it
    nodes: Nodes


class Turn(NamedTuple):
    """A tile that is ready for its next step."""

    tile: np.ndarray
    lane: np.ndarray  # (n,) each node's row in it
    nodes: Nodes
    depth: int

    @property
    def tokens(self) -> np.ndarray:
        """What to feed, shape (tile rows,); rows that belong to nobody get token 0."""
        fed = np.zeros(self.tile.shape[-1], np.int64)
        fed[self.lane] = self.nodes.path[:, -1]
        return fed


def _even(total: int, most: int) -> int:
    """Size of the parts when `total` is split into as few even ones as possible of at most `most`."""
    return -(-total // -(-total // most))


@final
class Frontier:
    """Waiting prefixes by depth.

    Early depths go first, in full tiles, while keys and values are cheap to copy: most branching is there.
    Then the deepest half-full tile goes first: few wait, and a tile stays in the processor's cache. Narrow
    ones merge.
    """

    def __init__(self, decoder: Decoder, *, width: int = WIDTH, budget_bytes: int = BUDGET_BYTES) -> None:
        self._decoder = decoder
        self._budget = budget_bytes
        fitting = budget_bytes // (4 * decoder.row_bytes * decoder.length) // LANES * LANES
        self.width = max(LANES, min(width, fitting))
        self._early = CHEAP_BYTES // (self.width * decoder.row_bytes)
        self._waiting: dict[int, list[_Block]] = {}

    def push(self, depth: int, tile: np.ndarray | None, lane: np.ndarray, nodes: Nodes) -> None:
        """Let `nodes`, whose parents are rows `lane` of `tile`, wait at `depth`."""
        if nodes.size:
            self._waiting.setdefault(depth, []).append(_Block(tile, lane, nodes))
            self._forget()

    def pop(self) -> Turn | None:
        """The next tile, parents' keys and values in place; None when nothing waits."""
        if not self._waiting:
            return None
        depth = self._next_depth()
        blocks = self._choose(depth)
        nodes = joined([block.nodes for block in blocks])
        if depth > self._early and self._fits(blocks):
            return Turn(blocks[0].tile, blocks[0].lane, nodes, depth)  # type: ignore[arg-type]
        early = depth < self._early
        tile = self._decoder.tile(nodes.size, depth + 1 if early else self._decoder.length)
        start = 0
        for block in blocks:
            self._settle(block, depth, tile, start)
            start += block.nodes.size
        return Turn(tile, np.arange(nodes.size), nodes, depth)

    def _next_depth(self) -> int:
        sizes = {depth: sum(b.nodes.size for b in blocks) for depth, blocks in self._waiting.items()}
        full = 2 * sum(self._tiles().values()) > self._budget
        early = [depth for depth in sizes if depth <= self._early]
        if early and not full:
            return min(early)
        ready = [depth for depth, size in sizes.items() if 2 * size >= self.width]
        return max(ready or sizes) if ready or full else min(sizes)

    def _choose(self, depth: int) -> list[_Block]:
        """A tile's width of nodes or so: one large block (its tile may go on) or several small ones."""
        chosen: list[_Block] = []
        blocks, alone = self._waiting[depth], depth > self._early
        room = self.width * 5 // 4 if alone else _even(sum(b.nodes.size for b in blocks), self.width)
        while blocks and room:
            size = blocks[-1].nodes.size
            if chosen and alone and 2 * size >= self.width:
                break
            block = blocks.pop()
            if size > room:
                part = room if chosen else _even(size, room)
                blocks.append(_Block(block.tile, block.lane[part:], block.nodes.take(slice(part, None))))
                block = _Block(block.tile, block.lane[:part], block.nodes.take(slice(part)))
            chosen.append(block)
            room -= block.nodes.size
            if alone and 2 * chosen[0].nodes.size >= self.width:
                break
        if not blocks:
            del self._waiting[depth]
        return chosen

    def _fits(self, blocks: list[_Block]) -> bool:
        """Whether the parents' tile can go on as the children's: no siblings, few idle rows, no others."""
        (tile, lane, nodes), *more = blocks
        if tile is None or more or any(b.tile is tile for others in self._waiting.values() for b in others):
            return False
        idle = tile.shape[-1] - nodes.size
        return bool((idle < LANES or 4 * idle <= tile.shape[-1]) and (np.diff(lane) > 0).all())

    def _settle(self, block: _Block, depth: int, tile: np.ndarray, start: int) -> None:
        source, lane = block.tile, block.lane
        if source is None and depth:
            source, lane = self._read_again(block.nodes.path[:, :-1]), np.arange(block.nodes.size)
        if source is not None:
            self._decoder.gather(source, lane, tile, start, depth)

    def _read_again(self, path: np.ndarray) -> np.ndarray:
        tile = self._decoder.tile(*path.shape)
        fed = np.zeros((path.shape[1], tile.shape[-1]), np.int64)
        fed[:, : len(path)] = path.T
        for t, tokens in enumerate(fed):
            self._decoder.step(tile, t, tokens)
        return tile

    def _tiles(self) -> dict[int, int]:
        waiting = (b.tile for blocks in self._waiting.values() for b in blocks)
        return {id(tile): tile.nbytes for tile in waiting if tile is not None}

    def _forget(self) -> None:
        while len(held := self._tiles()) > 1 and sum(held.values()) > self._budget:
            depth = min(d for d, bs in self._waiting.items() if any(b.tile is not None for b in bs))
            blocks = self._waiting[depth]
            victim = next(b.tile for b in blocks if b.tile is not None)
            self._waiting[depth] = [b._replace(tile=None) if b.tile is victim else b for b in blocks]
