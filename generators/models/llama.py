"""The Llama network at 10k to 1M parameters, in plain torch, with Hugging Face's names and layout at its border."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Shape:
    """Everything that fixes the network's function besides its weights."""

    vocab: int
    width: int
    layers: int
    heads: int
    kv_heads: int
    ff: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-6
    context: int = 64  # most positions of one sequence, begin and end marks included

    @property
    def head_width(self) -> int:
        """Width of one attention head."""
        return self.width // self.heads
