"""The weights of a Llama of 10k to 1M parameters; at the border, in Hugging Face's names and files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor


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


class Llama:
    """Weights by name, as views of one flat vector, so that clipping and AdamW are one call each.

    Query, key and value are one matrix, and so are gate and up.
    """

    def __init__(self, shape: Shape, flat: Tensor) -> None:
        self.shape = shape
        self.flat = flat
        self.weights: dict[str, Tensor] = {}
        start = 0
        for name, size in _layout(shape):
            self.weights[name] = flat[start : start + math.prod(size)].view(size)
            start += math.prod(size)

    @staticmethod
    def size(shape: Shape) -> int:
        """Number of parameters (the output matrix is the embedding)."""
        return sum(math.prod(size) for _, size in _layout(shape))

    @classmethod
    def fresh(cls, shape: Shape, *, seed: int) -> Llama:
        """Random weights; logits × 4/√width live in the last norm's gain: Llama has no logit scale."""
        import torch

        model = cls(shape, torch.empty(cls.size(shape)))
        generator = torch.Generator().manual_seed(seed)
        for name, weight in model.weights.items():
            if weight.dim() == 1:
                weight.fill_(4 / math.sqrt(shape.width) if name == "norm" else 1.0)
            else:
                std = 0.25 if name == "embed" else 1 / math.sqrt(weight.shape[1])
                deep = 1 / math.sqrt(2 * shape.layers) if name.endswith(("out", "down")) else 1.0
                weight.normal_(0, std * deep, generator=generator)
        return model

    @property
    def matrices(self) -> int:
        """How many of the parameters are in matrices: they come first in `flat`, the gains last."""
        return self.size(self.shape) - (2 * self.shape.layers + 1) * self.shape.width

    def copy(self) -> Llama:
        """The same weights in memory of their own."""
        return Llama(self.shape, self.flat.detach().clone())

    def __reduce__(self) -> tuple[Callable[[Shape, np.ndarray], Llama], tuple[Shape, np.ndarray]]:
        """Pickled one by one, the views would no longer share memory with `flat`."""
        return _restored, (self.shape, self.flat.numpy())

    def hf_state(self) -> dict[str, Tensor]:
        """Weights under Hugging Face's names (views, fp32)."""
        s, hd = self.shape, self.shape.head_width
        state = {
            "model.embed_tokens.weight": self.weights["embed"],
            "model.norm.weight": self.weights["norm"],
        }
        for i in range(s.layers):
            at, w = f"model.layers.{i}.", self.weights
            q, k, v = w[f"{i}.qkv"].tensor_split((s.heads * hd, (s.heads + s.kv_heads) * hd))
            gate, up = w[f"{i}.gate_up"].chunk(2)
            state |= {
                at + "input_layernorm.weight": w[f"{i}.norm"],
                at + "self_attn.q_proj.weight": q,
                at + "self_attn.k_proj.weight": k,
                at + "self_attn.v_proj.weight": v,
                at + "self_attn.o_proj.weight": w[f"{i}.out"],
                at + "post_attention_layernorm.weight": w[f"{i}.norm2"],
                at + "mlp.gate_proj.weight": gate,
                at + "mlp.up_proj.weight": up,
                at + "mlp.down_proj.weight": w[f"{i}.down"],
            }
        return {name: weight.detach() for name, weight in state.items()}

    @classmethod
    def from_hf_state(cls, shape: Shape, state: dict[str, Tensor]) -> Llama:
        """A network with the weights of a Hugging Face state dict.

        Raises:
            ValueError: a weight is missing or has another shape.
        """
        import torch

        model = cls(shape, torch.empty(cls.size(shape)))
        for name, weight in model.hf_state().items():
            if name not in state or state[name].shape != weight.shape:
                got = tuple(state[name].shape) if name in state else "nothing"
                raise ValueError(f"{name}: expected {tuple(weight.shape)} for {shape}, got {got}")
            weight.copy_(state[name])
        return model


def rotary(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles, each (length, head_width / 2)."""
    import torch

    half = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
    angles = torch.arange(length, dtype=torch.float32)[:, None] / shape.rope_theta**half
    return angles.cos(), angles.sin()


def save(model: Llama, folder: Path) -> None:
    """Write config.json, generation_config.json and model.safetensors, which transformers and vLLM open."""
    from safetensors.torch import save_file

    from driftloop.generators.models.tokens import BOS, EOS, PAD

    s = model.shape
    marks = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD}
    config = marks | {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": s.vocab,
        "hidden_size": s.width,
        "num_hidden_layers": s.layers,
        "num_attention_heads": s.heads,
        "num_key_value_heads": s.kv_heads,
        "head_dim": s.head_width,
        "intermediate_size": s.ff,
        "rope_theta": s.rope_theta,
        "rms_norm_eps": s.norm_eps,
        "max_position_embeddings": s.context,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": True,
        "torch_dtype": "float32",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "generation_config.json").write_text(json.dumps(marks | {"do_sample": True}, indent=2))
    state = {name: weight.contiguous() for name, weight in model.hf_state().items()}
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def load(folder: Path) -> Llama:
    """Read the network that `save` (or transformers, with tied embeddings) wrote."""
    from safetensors.torch import load_file

    c = json.loads((folder / "config.json").read_text())
    theta = c["rope_theta"] if "rope_theta" in c else c["rope_parameters"]["rope_theta"]
    shape = Shape(
        vocab=c["vocab_size"],
        width=c["hidden_size"],
        layers=c["num_hidden_layers"],
        heads=c["num_attention_heads"],
        kv_heads=c["num_key_value_heads"],
        ff=c["intermediate_size"],
        rope_theta=theta,
        norm_eps=c["rms_norm_eps"],
        context=c["max_position_embeddings"],
    )
    return Llama.from_hf_state(shape, load_file(folder / "model.safetensors"))


def _restored(shape: Shape, flat: np.ndarray) -> Llama:
    import torch

    return Llama(shape, torch.from_numpy(flat.copy()))


def _layout(s: Shape) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes of the fused weights, matrices first: only they decay in training."""
    yield "embed", (s.vocab, s.width)
    for i in range(s.layers):
        yield f"{i}.qkv", ((s.heads + 2 * s.kv_heads) * s.head_width, s.width)
        yield f"{i}.out", (s.width, s.heads * s.head_width)
        yield f"{i}.gate_up", (2 * s.ff, s.width)
        yield f"{i}.down", (s.width, s.ff)
    for i in range(s.layers):
        yield f"{i}.norm", (s.width,)
        yield f"{i}.norm2", (s.width,)
    yield "norm", (s.width,)
