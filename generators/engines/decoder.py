"""The fused decoder: one forward step of a tile, features down and rows across, so that rows fill SIMD lanes.

Norm gains and 1/sqrt(head width) are folded into the matrices that follow them; the norm itself is a factor
per row that the compiled loops of `kernels` apply. Matrix products are torch's, fp32, one thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from driftloop.generators.engines import kernels

if TYPE_CHECKING:
    from driftloop.generators.models.llama import Shape

LANES = 16  # tiles are this many rows wide or a multiple: whole SIMD registers


class _Layer(NamedTuple):
    qkv: Tensor
    out: Tensor
    gate_up: Tensor
    down: Tensor


@final
class _Work:
    """Buffers of one tile width; every matrix is seen by torch and by numba without a copy."""

    def __init__(self, shape: Shape, lanes: int) -> None:
        s, hd = shape, shape.width // shape.heads
        self.x = torch.empty(s.width, lanes)
        self.qkv = torch.empty((s.heads + 2 * s.kv_heads) * hd, lanes)
        self.mixed = torch.empty(s.heads * hd, lanes)
        self.gate_up = torch.empty(2 * s.ff, lanes)
        self.hidden = torch.empty(s.ff, lanes)
        self.logits = torch.empty(s.vocab, lanes)
        self.log_sum = np.empty(lanes)
        names = ("x", "qkv", "mixed", "gate_up", "hidden", "logits")
        self.seen = tuple(getattr(self, name).numpy() for name in names)


@final
class Decoder:
    """A model ready to decode up to `length` positions.

    A tile's keys and values are one array (positions, layers, 2, kv_heads, head width, rows).
    """

    def __init__(self, shape: Shape, weights: dict[str, Tensor], length: int) -> None:
        self.shape = shape
        self.length = length
        w = {name: weight.detach().float() for name, weight in weights.items()}
        embedding = w["model.embed_tokens.weight"]
        self._table = embedding.T.contiguous().numpy()
        self._head = (embedding * w["model.norm.weight"]).contiguous()
        self._layers = [_fold(shape, w, f"model.layers.{i}.") for i in range(shape.layers)]
        half = np.arange(0, shape.width // shape.heads, 2, dtype=np.float64) / (shape.width // shape.heads)
        angles = np.arange(length)[:, None] / shape.rope_theta**half
        self._cos, self._sin = np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)
        self._eps = np.float32(shape.norm_eps)
        self._works: dict[int, _Work] = {}

    @property
    def row_bytes(self) -> int:
        """Bytes of one row's keys and values at one position."""
        s = self.shape
        return 8 * s.layers * s.kv_heads * (s.width // s.heads)

    def tile(self, rows: int, positions: int) -> np.ndarray:
        """Room for the keys and values of at least `rows` rows, uninitialised."""
        s = self.shape
        lanes = -(-rows // LANES) * LANES
        return np.empty((positions, s.layers, 2, s.kv_heads, s.width // s.heads, lanes), np.float32)

    def step(self, tile: np.ndarray, now: int, token_B: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Feed one token per row at position `now`.

        Returns logits (vocab, B) f32 and ln of their summed exp (B,) f64, which the next step overwrites.
        """
        lanes = tile.shape[-1]
        if lanes not in self._works:
            self._works[lanes] = _Work(self.shape, lanes)
        work = self._works[lanes]
        x, qkv, mixed, gate_up, hidden, logits = work.seen
        np.take(self._table, token_B, axis=1, out=x, mode="clip")
        for i, layer in enumerate(self._layers):
            torch.mm(layer.qkv, work.x, out=work.qkv)
            kernels.attend(x, qkv, tile, i, now, self._cos, self._sin, self._eps, mixed)
            work.x.addmm_(layer.out, work.mixed)
            torch.mm(layer.gate_up, work.x, out=work.gate_up)
            kernels.swiglu(x, gate_up, self._eps, hidden)
            work.x.addmm_(layer.down, work.hidden)
        torch.mm(self._head, work.x, out=work.logits)
        kernels.finish(x, logits, self._eps, work.log_sum)
        return logits, work.log_sum

    def gather(
        self, source: np.ndarray, lane: np.ndarray, target: np.ndarray, start: int, length: int
    ) -> None:
        """Copy the first `length` positions of `source`'s rows `lane` into `target` from row `start` on."""
        if length:
            flat = (length * source[0].size // source.shape[-1], -1)
            index = lane.astype(np.uint64)
            kernels.gather(source[:length].reshape(flat), index, target[:length].reshape(flat), start)


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: products this small lose time on more, and results must not depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _fold(shape: Shape, w: dict[str, Tensor], at: str) -> _Layer:
    first, second = w[at + "input_layernorm.weight"], w[at + "post_attention_layernorm.weight"]
    query = w[at + "self_attn.q_proj.weight"] / (shape.width // shape.heads) ** 0.5
    qkv = torch.cat((query, w[at + "self_attn.k_proj.weight"], w[at + "self_attn.v_proj.weight"]))
    gate_up = torch.cat((w[at + "mlp.gate_proj.weight"], w[at + "mlp.up_proj.weight"]))
    out, down = w[at + "self_attn.o_proj.weight"], w[at + "mlp.down_proj.weight"]
    return _Layer(
        (qkv * first).contiguous(), out.contiguous(), (gate_up * second).contiguous(), down.contiguous()
    )
