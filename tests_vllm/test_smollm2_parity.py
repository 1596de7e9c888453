"""SmolLM2-135M in fp32: vLLM and plain torch give one text the same probability, with and without an adapter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftloop.generators.contracts import Sampling
from driftloop.generators.models.causal_lm import CausalLM, LanguageModel, Lora
from driftloop.generators.worlds.targets import Targets
from driftloop.loop.retrain.causal_lm_sft import SupervisedFineTuning

WORLD = Targets(limit=12)
TEXTS = pl.DataFrame(
    {
        "prompt": ["What is 3 + 4?", "Name a colour.", "", "Write a word that rhymes with cat."],
        "response": ["7", "Blue, like the sky in autumn.", "The old house stood", "hat 帽子 🎩"],
        "count": [1, 1, 1, 1],
    },
    schema_overrides={"count": pl.UInt64},
)


@pytest.fixture(scope="module")
def plain(smollm2: Path) -> LanguageModel:
    settings = CausalLM(name=str(smollm2), context=96, response_tokens=8, lora=Lora(rank=4))
    return settings.fresh(WORLD, seed=0)


@pytest.fixture(scope="module")
def trained(plain: LanguageModel) -> LanguageModel:
    learn = SupervisedFineTuning(steps=3, batch=4, learning_rate=1e-3, warmup=1)
    return learn.fit(plain, TEXTS, seed=1)[0]


def on_vllm(model: LanguageModel) -> LanguageModel:
    return LanguageModel(model.settings.model_copy(update={"engine": "vllm"}), model.weights)


def per_token(model: LanguageModel, difference: np.ndarray) -> float:
    rows, given = model.ids(TEXTS)
    return float((np.abs(difference) / (np.array([len(row) for row in rows]) - given)).max())


def test_the_base_scores_texts_alike_on_both_engines(plain: LanguageModel) -> None:
    assert per_token(plain, on_vllm(plain).logprob(TEXTS) - plain.logprob(TEXTS)) < 1e-3


def test_an_adapter_scores_texts_alike_on_both_engines(plain: LanguageModel, trained: LanguageModel) -> None:
    assert per_token(trained, on_vllm(trained).logprob(TEXTS) - trained.logprob(TEXTS)) < 1e-3
    assert per_token(plain, trained.logprob(TEXTS) - plain.logprob(TEXTS)) > 0.1


def test_the_base_comes_back_after_an_adapter(plain: LanguageModel, trained: LanguageModel) -> None:
    on_vllm(trained).logprob(TEXTS)
    assert per_token(plain, on_vllm(plain).logprob(TEXTS) - plain.logprob(TEXTS)) < 1e-3


def test_drawn_tokens_carry_the_log_probability_that_torch_gives(plain: LanguageModel) -> None:
    """Scored as token ids: a drawn text may be spelled in other tokens than its own tokenizer would choose."""
    from driftloop.generators.engines import hugging_face

    begun = plain.wording.begun(["What is 3 + 4?", "Name a colour."])
    how = {"sampling": Sampling(), "stop": plain.wording.stop, "limit": 8, "seed": 3}
    drawn = on_vllm(plain).served().draw(begun, np.array([3, 3]), **how)  # type: ignore[arg-type]
    rows = [np.concatenate([begun[i], t[t >= 0]]) for i, t in zip(drawn.prompt, drawn.tokens, strict=True)]
    given = np.array([len(begun[i]) for i in drawn.prompt])
    scored = hugging_face.score(plain.network, rows, given, 96)
    assert (np.abs(scored - drawn.logprob) / (drawn.tokens >= 0).sum(1)).max() < 1e-3


def test_greedy_answers_are_torchs(plain: LanguageModel) -> None:
    asked = TEXTS.select("prompt").head(2)
    assert on_vllm(plain).greedy(asked).equals(plain.greedy(asked))
