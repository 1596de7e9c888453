"""Given token rows as a trie: sorted, so that the rows that share a prefix are a range."""

from __future__ import annotations

from typing import NamedTuple, final

import numpy as np

from driftloop.generators.engines.frontier import Nodes


class Below(NamedTuple):
    """The sorted rows under some nodes: which, and under which node."""

    row: np.ndarray
    node: np.ndarray


@final
class Paths:
    """Token rows of any lengths, sorted; a shorter row stands before those that begin with it."""

    def __init__(self, rows: list[np.ndarray]) -> None:
        length = np.array([len(row) for row in rows], np.int64)
        ids = np.full((len(rows), int(length.max(initial=0))), -1, np.int32)
        ids[np.arange(ids.shape[1]) < length[:, None]] = np.concatenate(rows) if rows else []
        self.order = np.lexsort(ids.T[::-1]) if ids.size else np.arange(len(rows))
        self.ids, self.length = ids[self.order], length[self.order]
        fresh = np.ones(ids.shape, bool)
        fresh[1:] = np.logical_or.accumulate(self.ids[1:] != self.ids[:-1], axis=1)
        self._fresh = fresh  # (rows, positions): the prefix up to here differs from the row above's

    def root(self) -> Nodes:
        """The distinct first tokens."""
        first = np.flatnonzero(self._fresh[:, 0])
        return self._nodes(np.empty((len(first), 0), np.int32), first, np.append(first[1:], len(self.ids)), 0)

    def below(self, nodes: Nodes) -> Below:
        """Every given row that begins with one of the nodes' prefixes."""
        size = nodes.last - nodes.first
        node = np.repeat(np.arange(nodes.size), size)
        start = np.repeat(nodes.first - (np.cumsum(size) - size), size)
        return Below(np.arange(len(node)) + start, node)

    def children(self, nodes: Nodes, below: Below, depth: int) -> tuple[np.ndarray, Nodes]:
        """Distinct prefixes one token longer than depth + 1, and the node that each comes from."""
        on = self.length[below.row] > depth + 1
        row, node = below.row[on], below.node[on]
        if not len(row):
            return node, nodes.take(slice(0))
        new = self._fresh[row, depth + 1].copy()
        new[0] = True
        new[1:] |= node[1:] != node[:-1]
        start = np.flatnonzero(new)
        last = row[np.append(start[1:], len(row)) - 1] + 1
        return node[start], self._nodes(nodes.path[node[start]], row[start], last, depth + 1)

    def _nodes(self, path: np.ndarray, first: np.ndarray, last: np.ndarray, depth: int) -> Nodes:
        n = len(first)
        path = np.concatenate((path, self.ids[first, depth, None]), axis=1)
        return Nodes(path, first, last, np.full(n, -1), np.zeros(n, np.int64), np.zeros(n))
