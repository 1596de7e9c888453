"""Forward and backward pass of the network by hand: products in torch, everything between them in `lanes`.

Against autograd over the usual operators this halves the time at widths below 100, where the products are not
what costs. Activations are (features, lanes), lanes = T·B with the position first; buffers outlive the call.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from driftloop.generators.engines import lanes
from driftloop.generators.models.llama import Llama, rotary


class Passes:
    """Passes through one model, whose weights may change in place between calls."""

    def __init__(self, model: Llama) -> None:
        self.model = model
        self._memory: dict[str, Tensor] = {}
        self._kept: dict[str, Tensor] = {}  # what the last forward pass left for the backward pass
        self._grid = (0, 0)  # T, B
        self._cos = self._sin = np.empty((0, 0), np.float32)
        self._ids = self._target = np.empty(0, np.int64)
        self._asked: Tensor | None = None

    def nll(self, ids_BxT: np.ndarray, asked_BxT: np.ndarray | None = None) -> np.ndarray:
        """-ln p in nats of every token after the first, or of those `asked`, given the tokens before it.

        Args:
            ids_BxT: token ids, padded anyhow on the right.
            asked_BxT: bool; None = all but the first column.

        Returns:
            Shape (tokens,) float32, position after position: the order of `np.nonzero(asked_BxT[:, 1:].T)`.
        """
        ids_TxB = np.ascontiguousarray(ids_BxT.T)
        asked = None if asked_BxT is None else np.flatnonzero(asked_BxT[:, 1:].T)
        target = ids_TxB[1:].ravel()
        self._target = target if asked is None else target[asked]
        shares = self.logits(ids_TxB[:-1], asked)
        nll = np.empty(len(self._target), np.float32)
        lanes.surprise(shares.numpy(), self._target, nll)
        return nll

    def logits(self, ids_TxB: np.ndarray, asked: np.ndarray | None = None) -> Tensor:
        """Next-token logits (vocab, lanes), or of the `asked` lanes; the next call overwrites them."""
        w = self.model.weights
        self._ids, self._grid = ids_TxB.ravel(), (ids_TxB.shape[0], ids_TxB.shape[1])
        self._asked = None if asked is None else torch.from_numpy(asked)
        x = self._keep("x", self.model.shape.width, ids_TxB.size)
        lanes.embed(w["embed"].numpy(), self._ids, x.numpy())
        for i in range(self.model.shape.layers):
            x = self._mlp(i, self._attention(i, x))
        if self._asked is not None:
            last = self._keep("last", len(x), len(self._asked))
            x = torch.index_select(x, 1, self._asked, out=last)
        return self._times(w["embed"], self._norm("norm", x), "logits")

    def backward(self, dnll: np.ndarray, grad: Llama) -> None:
        """Overwrite `grad`, a network of the same shape, with the gradient of dnll · (the last `nll`)."""
        w, g, kept = self.model.weights, grad.weights, self._kept
        lanes.surprise_back(dnll, self._target, kept["logits"].numpy())
        torch.mm(kept["logits"], kept["norm.out"].T, out=g["embed"])
        dlast = self._keep("dlast", *kept["norm.out"].shape).zero_()
        self._norm_back("norm", self._times(w["embed"].T, kept["logits"], "dhead"), dlast, g)
        dx = dlast
        if self._asked is not None:
            dx = self._keep("dx", len(dlast), len(self._ids)).zero_().index_copy_(1, self._asked, dlast)
        for i in reversed(range(self.model.shape.layers)):
            self._mlp_back(i, dx, g)
            self._attention_back(i, dx, g)
        lanes.embed_back(dx.numpy(), self._ids, g["embed"].numpy())

    def _attention(self, i: int, x: Tensor) -> Tensor:
        s, w = self.model.shape, self.model.weights
        qkv = self._times(w[f"{i}.qkv"], self._norm(f"{i}.norm", x), f"{i}.qkv")
        lanes.rotate(self._by_position(qkv), s.heads + s.kv_heads, *self._angles(1))
        mixed = self._keep(f"{i}.mixed", *x.shape)
        lanes.attend(qkv.numpy(), s.heads, s.kv_heads, self._grid[1], self._share(i), mixed.numpy())
        return torch.addmm(x, w[f"{i}.out"], mixed, out=self._keep(f"{i}.attended", *x.shape))

    def _attention_back(self, i: int, dx: Tensor, g: dict[str, Tensor]) -> None:
        s, w, kept = self.model.shape, self.model.weights, self._kept
        torch.mm(dx, kept[f"{i}.mixed"].T, out=g[f"{i}.out"])
        dmixed = self._times(w[f"{i}.out"].T, dx, "dhead").numpy()
        qkv, dqkv = kept[f"{i}.qkv"], self._keep("dqkv", *kept[f"{i}.qkv"].shape)
        sizes = s.heads, s.kv_heads, self._grid[1]
        lanes.attend_back(dmixed, qkv.numpy(), self._share(i), *sizes, dqkv.numpy())
        lanes.rotate(self._by_position(dqkv), s.heads + s.kv_heads, *self._angles(-1))
        torch.mm(dqkv, kept[f"{i}.norm.out"].T, out=g[f"{i}.qkv"])
        self._norm_back(f"{i}.norm", self._times(w[f"{i}.qkv"].T, dqkv, "dhead"), dx, g)

    def _mlp(self, i: int, x: Tensor) -> Tensor:
        w = self.model.weights
        gate_up = self._times(w[f"{i}.gate_up"], self._norm(f"{i}.norm2", x), f"{i}.gate_up")
        inner = self._keep(f"{i}.inner", len(gate_up) // 2, x.shape[1])
        lanes.swiglu(gate_up.numpy(), inner.numpy())
        return torch.addmm(x, w[f"{i}.down"], inner, out=self._keep(f"{i}.fed", *x.shape))

    def _mlp_back(self, i: int, dx: Tensor, g: dict[str, Tensor]) -> None:
        w, gate_up = self.model.weights, self._kept[f"{i}.gate_up"]
        torch.mm(dx, self._kept[f"{i}.inner"].T, out=g[f"{i}.down"])
        lanes.swiglu_back(self._times(w[f"{i}.down"].T, dx, "dinner").numpy(), gate_up.numpy())
        torch.mm(gate_up, self._kept[f"{i}.norm2.out"].T, out=g[f"{i}.gate_up"])
        self._norm_back(f"{i}.norm2", self._times(w[f"{i}.gate_up"].T, gate_up, "dhead"), dx, g)

    def _norm(self, name: str, x: Tensor) -> Tensor:
        self._kept[f"{name}.in"] = x
        out, scale = self._keep(f"{name}.out", *x.shape), self._keep(f"{name}.scale", x.shape[1])
        gain = self.model.weights[name].numpy()
        lanes.norm(x.numpy(), gain, self.model.shape.norm_eps, scale.numpy(), out.numpy())
        return out

    def _norm_back(self, name: str, dout: Tensor, dx: Tensor, g: dict[str, Tensor]) -> None:
        x, scale = self._kept[f"{name}.in"].numpy(), self._kept[f"{name}.scale"].numpy()
        gain, dgain = self.model.weights[name].numpy(), g[name].numpy()
        lanes.norm_back(dout.numpy(), x, gain, scale, dgain, dx.numpy())

    def _times(self, weight: Tensor, x: Tensor, name: str) -> Tensor:
        return torch.mm(weight, x, out=self._keep(name, len(weight), x.shape[1]))

    def _share(self, i: int) -> np.ndarray:
        heads, (T, B) = self.model.shape.heads, self._grid
        share: np.ndarray = self._keep(f"{i}.share", heads, T, T * B).numpy()
        return share

    def _by_position(self, x: Tensor) -> np.ndarray:
        rows: np.ndarray = x.view(-1, *self._grid).numpy()
        return rows

    def _angles(self, direction: int) -> tuple[np.ndarray, np.ndarray]:
        length = self._grid[0]
        if len(self._cos) < length:
            self._cos, self._sin = (table.numpy() for table in rotary(self.model.shape, length))
        return self._cos[:length], np.float32(direction) * self._sin[:length]

    def _keep(self, name: str, *size: int) -> Tensor:
        """Room for an activation: fresh pages of the system would cost more than some products."""
        wanted = math.prod(size)
        if name not in self._memory or self._memory[name].numel() < wanted:
            self._memory[name] = torch.empty(wanted)
        self._kept[name] = self._memory[name][:wanted].view(size)
        return self._kept[name]
