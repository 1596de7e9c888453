"""Random streams by name, so that no phase shares or shifts another's draws."""

from __future__ import annotations

import zlib

import numpy as np


def stream(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream named by `path` (generation, phase, shard, ...) under `seed`.

    Arms are no part of any path: arms are compared under common random numbers.
    """
    words = [part if isinstance(part, int) else zlib.crc32(part.encode()) for part in path]
    state = np.random.SeedSequence([seed, *words]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def rng(seed: int, *path: str | int) -> np.random.Generator:
    """A numpy generator on the stream named by `path`."""
    return np.random.default_rng(stream(seed, *path) if path else seed)
