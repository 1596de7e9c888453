"""Which prefixes run when is a matter of speed and memory alone: results do not depend on it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from driftloop.generators.contracts import Sampling
from driftloop.generators.engines import frontier, prefix_score, trie
from driftloop.generators.engines.frontier import Frontier
from driftloop.generators.models.llama import Llama, Shape

SHAPE = Shape(vocab=12, width=16, layers=2, heads=2, kv_heads=2, ff=24, context=20)


def weights() -> dict[str, torch.Tensor]:
    return Llama.fresh(SHAPE, seed=3).hf_state()


def test_forgotten_prefixes_are_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a budget of a few rows tiles are forgotten, and every log-probability is still right."""
    read: list[int] = []
    again = Frontier._read_again

    def counting(self: Frontier, path: np.ndarray) -> np.ndarray:
        read.append(len(path))
        return again(self, path)

    monkeypatch.setattr(Frontier, "_read_again", counting)
    prompts = [np.array([0]), np.array([0, 3, 4])]
    drawn = trie.draw(
        SHAPE,
        weights(),
        prompts,
        np.array([900, 300]),
        sampling=Sampling(),
        stop=11,
        limit=12,
        seed=1,
        budget_bytes=20_000,
    )
    assert len(read) > 3
    assert np.bincount(drawn[0], drawn[2]).tolist() == [900, 300]
    answers = [tokens[tokens >= 0] for tokens in drawn[1]]
    scored = prefix_score.logprobs(SHAPE, weights(), [prompts[i] for i in drawn[0]], answers)
    np.testing.assert_allclose(drawn[3], scored, atol=1e-4)


@pytest.mark.parametrize("early", [0, 2**20])
@pytest.mark.parametrize("width", [16, 48, 128])
def test_scores_do_not_depend_on_the_order_of_work(
    early: int, width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(0)
    prompts = [np.append(0, rng.integers(0, 4, rng.integers(0, 4))) for _ in range(300)]
    answers = [rng.integers(0, 12, rng.integers(0, 9)) for _ in range(300)]
    expected = prefix_score.logprobs(SHAPE, weights(), prompts, answers)
    monkeypatch.setattr(frontier, "CHEAP_BYTES", early)
    monkeypatch.setattr(Frontier.__init__, "__kwdefaults__", {"width": width, "budget_bytes": 2**22})
    np.testing.assert_allclose(prefix_score.logprobs(SHAPE, weights(), prompts, answers), expected, atol=1e-4)
