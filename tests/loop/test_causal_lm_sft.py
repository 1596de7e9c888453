"""Fine-tuning Hugging Face models: what is learned, what stays as it was, what is written."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftloop.generators.models.causal_lm import CausalLM, LanguageModel, Lora
from driftloop.generators.models.transformer import Transformer
from driftloop.generators.worlds.targets import Targets
from driftloop.loop.retrain.causal_lm_sft import SupervisedFineTuning
from driftloop.loop.retrain.contract import TrainingDiverged

WORLD = Targets(limit=12)
QUICK = SupervisedFineTuning(steps=12, batch=8, learning_rate=1e-2, warmup=2)
ADAPTER = Lora(rank=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint")
    Transformer(width=16, layers=2, heads=2, tokenizer="byte", context=24).fresh(WORLD, seed=1).save(path)
    return path


def base(folder: Path, lora: Lora | None) -> LanguageModel:
    return CausalLM(name=str(folder), context=24, chat="off", lora=lora).fresh(WORLD, seed=0)


def frame(*rows: tuple[str, str, int, float]) -> pl.DataFrame:
    columns = {"prompt": pl.String, "response": pl.String, "count": pl.UInt64, "weight": pl.Float64}
    return pl.DataFrame(rows, schema=columns, orient="row")


DATA = frame(("7=", "5+2", 3, 1.0), ("12=", "3*4", 1, 1.0))


@pytest.mark.parametrize("lora", [None, ADAPTER], ids=["whole", "adapter"])
def test_training_raises_the_likelihood_of_responses(folder: Path, lora: Lora | None) -> None:
    model = base(folder, lora)
    before = model.logprob(DATA)
    trained, report = QUICK.fit(model, DATA, seed=1)
    assert (trained.logprob(DATA) > before + 0.5).all()
    assert (model.logprob(DATA) == before).all()
    assert report["optimizer_steps"] == 12
    assert 0 < report["tokens_trained"] <= 12 * 8 * 4
    assert np.isfinite(report["final_loss"])


@pytest.mark.parametrize("lora", [None, ADAPTER], ids=["whole", "adapter"])
def test_a_trained_model_comes_back_from_its_folder(folder: Path, lora: Lora | None, tmp_path: Path) -> None:
    trained, _ = QUICK.fit(base(folder, lora), DATA, seed=1)
    trained.save(tmp_path)
    again = trained.settings.load(tmp_path)
    assert np.allclose(again.logprob(DATA), trained.logprob(DATA), atol=1e-6)
    expected = (
        {"adapter_model.safetensors"} if lora else {"model.safetensors", "tokenizer.json", "config.json"}
    )
    assert expected <= {p.name for p in tmp_path.iterdir()}
    assert ("model.safetensors" in {p.name for p in tmp_path.iterdir()}) == (lora is None)


def test_training_goes_on_from_an_adapter(folder: Path) -> None:
    once, _ = QUICK.fit(base(folder, ADAPTER), DATA, seed=1)
    twice, _ = QUICK.fit(once, DATA, seed=2)
    assert (twice.logprob(DATA) > once.logprob(DATA)).all()


def test_the_bases_files_never_change(folder: Path) -> None:
    def sums() -> list[str]:
        return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())]

    before = sums()
    for lora in (None, ADAPTER):
        QUICK.fit(base(folder, lora), DATA, seed=1)
    assert sums() == before


def test_a_seed_gives_the_same_weights(folder: Path) -> None:
    first, again, other = (QUICK.fit(base(folder, ADAPTER), DATA, seed=s)[0].logprob(DATA) for s in (1, 1, 2))
    assert (first == again).all()
    assert (first != other).any()


def test_counts_and_weights_are_the_same_thing(folder: Path) -> None:
    counted = frame(("7=", "5+2", 6, 1.0), ("12=", "3*4", 2, 1.0))
    weighted = frame(("7=", "5+2", 1, 3.0), ("12=", "3*4", 1, 1.0))
    a, b = (QUICK.fit(base(folder, None), data, seed=1)[0].logprob(DATA) for data in (counted, weighted))
    assert (a == b).all()


def test_rows_without_weight_are_not_learned(folder: Path) -> None:
    with_dead = pl.concat([DATA, frame(("9=", "1+8", 5, 0.0))])
    a, b = (QUICK.fit(base(folder, None), data, seed=1)[0].logprob(DATA) for data in (DATA, with_dead))
    assert (a == b).all()


def test_prompts_are_not_learned(folder: Path) -> None:
    """A prompt's own tokens have no gradient: an empty learning of them leaves the first token's odds nearly alone."""
    model = base(folder, None)
    prompt = pl.DataFrame({"prompt": [""], "response": ["7="]})
    texts = frame(("7=", "5+2", 1, 1.0))
    response, _ = QUICK.fit(model, texts, seed=1)
    whole, _ = QUICK.model_copy(update={"loss_on": "all"}).fit(model, texts, seed=1)
    assert whole.logprob(prompt, complete=False) > response.logprob(prompt, complete=False) + 1


def test_memory_settings_change_no_result(folder: Path) -> None:
    frugal = QUICK.model_copy(update={"at_once": 8, "gradient_checkpointing": True})
    a, b = (r.fit(base(folder, None), DATA, seed=1)[0].logprob(DATA) for r in (QUICK, frugal))
    assert np.allclose(a, b, atol=1e-3)


def test_no_steps_leave_the_model_as_it_is(folder: Path) -> None:
    model = base(folder, ADAPTER)
    same, report = SupervisedFineTuning(steps=0).fit(model, DATA, seed=1)
    assert same is model
    assert report == {"tokens_trained": 0.0, "optimizer_steps": 0.0}


def test_a_diverging_training_names_its_step(folder: Path) -> None:
    wild = SupervisedFineTuning(steps=5, batch=2, learning_rate=1e30, warmup=0, clip=1e30)
    with pytest.raises(TrainingDiverged, match=r"at step \d of 5, with learning_rate=1e\+30"):
        wild.fit(base(folder, None), DATA, seed=1)


def test_a_prompt_that_fills_the_context_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"prompt of 30 tokens.* context=24; raise model\.context"):
        QUICK.fit(base(folder, None), frame(("1" * 30, "2", 1, 1.0)), seed=1)


def test_responses_that_are_too_long_are_cut(folder: Path) -> None:
    trained, _ = QUICK.fit(base(folder, None), frame(("1", "2" * 60, 1, 1.0)), seed=1)
    assert trained.weights is not None


def test_a_layer_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match="not_a_layer"):
        QUICK.fit(base(folder, Lora(targets=("not_a_layer",))), DATA, seed=1)
