"""The slow oracle of every engine."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from driftloop.generators.models.llama import Shape

Reference = Callable[[Shape, dict[str, torch.Tensor], np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def reference() -> Reference:
    """ln p of every token after every prefix from transformers, shape (rows, positions, vocab)."""
    return _reference


def _reference(shape: Shape, state: dict[str, torch.Tensor], ids: np.ndarray) -> np.ndarray:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=shape.vocab,
        hidden_size=shape.width,
        intermediate_size=shape.ff,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        rms_norm_eps=shape.norm_eps,
        rope_parameters={"rope_type": "default", "rope_theta": shape.rope_theta},
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
    )
    peer = LlamaForCausalLM(config).eval()
    peer.load_state_dict(state | {"lm_head.weight": state["model.embed_tokens.weight"]})
    with torch.inference_mode():
        logits: torch.Tensor = peer(torch.from_numpy(ids)).logits
    return logits.double().log_softmax(-1).numpy()
