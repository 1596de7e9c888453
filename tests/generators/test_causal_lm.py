"""Hugging Face models as generators: sampling, scoring, saving, chat, and the errors of a wrong set-up."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from driftloop.generators.contracts import Sampling
from driftloop.generators.engines import hugging_face
from driftloop.generators.models.causal_lm import CausalLM, LanguageModel, Lora
from driftloop.generators.models.transformer import TinyTransformer, Transformer
from driftloop.generators.worlds.targets import Targets

WORLD = Targets(limit=12)
CHAT = "{% for m in messages %}({{ m['content'] }}){% endfor %}{% if add_generation_prompt %}={% endif %}"


@pytest.fixture(scope="module")
def tiny() -> TinyTransformer:
    return Transformer(width=16, layers=2, heads=2, tokenizer="byte", context=24).fresh(WORLD, seed=1)


@pytest.fixture(scope="module")
def folder(tiny: TinyTransformer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint")
    tiny.save(path)
    return path


@pytest.fixture(scope="module")
def model(folder: Path) -> LanguageModel:
    return CausalLM(name=str(folder), context=24, chat="off", response_tokens=12).fresh(WORLD, seed=0)


def ask(n: int, *prompts: str) -> pl.DataFrame:
    return pl.DataFrame(
        {"parent_id": range(len(prompts)), "prompt": prompts, "count": [n] * len(prompts)},
        schema={"parent_id": pl.UInt64, "prompt": pl.String, "count": pl.UInt64},
    )


def test_the_same_checkpoint_has_the_same_probabilities_in_both_lanes(
    model: LanguageModel, tiny: TinyTransformer
) -> None:
    """The tiny lane begins every text with a mark; here the prompt is all there is before the response."""
    texts = pl.DataFrame({"prompt": ["", ""], "response": ["7=5+2", "12=3*4"]})
    assert np.allclose(model.logprob(texts), tiny.logprob(texts), atol=1e-4)


def test_samples_carry_their_own_log_probability(model: LanguageModel) -> None:
    rows, begun = model.ids(ask(1, "1", "12=").with_columns(response=pl.lit("")), complete=False)
    how = {"sampling": Sampling(temperature=2.0), "stop": [2], "limit": 12, "context": 24, "seed": 3}
    drawn = hugging_face.draw(model.network, rows, np.array([20, 20]), **how)  # type: ignore[arg-type]
    whole = [np.concatenate([rows[i], t[t >= 0]]) for i, t in zip(drawn.prompt, drawn.tokens, strict=True)]
    scored = hugging_face.score(model.network, whole, begun[drawn.prompt], 24)
    assert np.allclose(scored, drawn.logprob, atol=1e-4)
    assert (np.bincount(drawn.prompt) == 20).all()


def test_draws_follow_the_exact_distribution(model: LanguageModel) -> None:
    """One token after one prompt: shares within 4 standard errors of the softmax."""
    rows, n = model.wording.begun(["1"]), 4000
    drawn = hugging_face.draw(
        model.network, rows, np.array([n]), sampling=Sampling(), stop=[2], limit=1, context=24, seed=1
    )
    with torch.inference_mode():
        p = model.network(torch.from_numpy(rows[0])[None]).logits[0, -1].double().softmax(-1).numpy()
    seen = np.bincount(drawn.tokens[:, 0], minlength=len(p)) / n
    assert (np.abs(seen - p) < 4 * np.sqrt(p * (1 - p) / n) + 1e-3).all()


@given(limit=st.integers(1, 40), n=st.integers(0, 5), seed=st.integers(0, 5))
def test_counts_limits_and_seeds_are_kept(model: LanguageModel, limit: int, n: int, seed: int) -> None:
    prompts, sampling = ask(n, "1", "12="), Sampling(max_tokens=limit)
    drawn = model.sample(prompts, sampling, seed=seed)
    assert drawn.height == 2 * n
    assert (drawn["n_tokens"] <= min(limit, 23)).all()
    assert drawn.equals(model.sample(prompts, sampling, seed=seed))


def test_scores_do_not_depend_on_the_company(model: LanguageModel) -> None:
    texts = pl.DataFrame({"prompt": ["1", "12=", "7"], "response": ["", "3*4+11", "9"]})
    alone = [model.logprob(texts[i : i + 1])[0] for i in range(3)]
    assert np.allclose(model.logprob(texts), alone, atol=1e-4)


def test_greedy_takes_the_likeliest_first_token(model: LanguageModel) -> None:
    answer = model.greedy(ask(1, "12="))["response"][0]
    with torch.inference_mode():
        ids = torch.from_numpy(model.wording.begun(["12="])[0])[None]
        first = int(model.network(ids).logits[0, -1].argmax())
    assert model.wording.read(np.array([[first]]))[0] == answer[:1]


def test_a_chat_template_is_used_unless_it_is_switched_off(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config | {"chat_template": CHAT}))
    said = {}
    for chat in ("auto", "off"):
        model = CausalLM.model_validate({"name": str(tmp_path), "context": 24, "chat": chat}).fresh(
            WORLD, seed=0
        )
        said[chat] = model.wording.read(np.stack(model.wording.begun(["12"])))[0]
    assert said == {"auto": "(12)=", "off": "12"}


def test_an_untouched_base_is_saved_as_its_name_alone(model: LanguageModel, tmp_path: Path) -> None:
    model.save(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["driftloop.json"]
    texts = pl.DataFrame({"prompt": ["1"], "response": ["2"]})
    assert model.settings.load(tmp_path).logprob(texts) == model.logprob(texts)


def test_other_weights_in_the_folder_are_another_model(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    same, other = CausalLM(name=str(folder)).fingerprint(), CausalLM(name=str(tmp_path))
    assert other.fingerprint() == same
    raw = bytearray((tmp_path / "model.safetensors").read_bytes())
    raw[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(raw)
    assert other.fingerprint() != same


def test_an_unknown_model_says_where_models_come_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(
        ValueError, match=r"'nobody/nothing' is no folder here and no model that the hub gives"
    ):
        CausalLM(name="nobody/nothing").fresh(WORLD, seed=0)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"is a folder that transformers cannot read .* it needs config\.json"
    ):
        CausalLM(name=str(tmp_path)).fresh(WORLD, seed=0)


def test_a_folder_without_tokenizer_is_refused(folder: Path, tmp_path: Path) -> None:
    for file in folder.iterdir():
        if "tokenizer" not in file.name:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    with pytest.raises(ValueError, match=r"has no tokenizer .* put tokenizer\.json and"):
        CausalLM(name=str(tmp_path), context=24).fresh(WORLD, seed=0)


def test_a_context_beyond_the_models_positions_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"model\.context=25 is more than the 24 positions"):
        CausalLM(name=str(folder), context=25).fresh(WORLD, seed=0)


def test_a_prompt_that_fills_the_context_is_refused(model: LanguageModel) -> None:
    with pytest.raises(ValueError, match=r"leave room in context=24, got 24 tokens"):
        model.sample(ask(1, "1" * 24), Sampling(), seed=0)


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("can't allocate memory: 1 TB")]
)
def test_a_full_device_is_told_with_the_way_out(error: Exception) -> None:
    with (
        pytest.raises(hugging_face.OutOfMemory, match=r"out of memory while sampling: lower loop\.pool"),
        hugging_face.enough_memory("sampling: lower loop.pool"),
    ):
        raise error


def test_adapters_leave_the_output_layer_alone() -> None:
    with pytest.raises(ValueError, match=r"inner layers, not \['lm_head'\]"):
        Lora(targets=("q_proj", "lm_head"))
