"""The tiny transformer as a generator."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import polars as pl
import pytest
import torch

from driftloop.generators.contracts import Sampling
from driftloop.generators.models.transformer import TinyTransformer, Transformer
from driftloop.generators.worlds.targets import Targets

WORLD = Targets(limit=12)
SPEC = Transformer(width=16, layers=2, heads=2)
RETURNED = ["parent_id", "prompt", "response", "count", "logprob", "n_tokens"]


@pytest.fixture(scope="module")
def generator() -> TinyTransformer:
    return SPEC.fresh(WORLD, seed=1)


@pytest.mark.parametrize("engine", ["auto", "dense", "trie"])
def test_samples_carry_their_own_log_probability(generator: TinyTransformer, engine: str) -> None:
    generator = TinyTransformer(generator.model, generator.tokens, engine)  # type: ignore[arg-type]
    prompts = WORLD.prompts(300, seed=0)
    drawn = generator.sample(prompts, Sampling(temperature=0.7), seed=1)
    assert drawn.columns == RETURNED
    asked = prompts.select("parent_id", "prompt", "count")
    given = drawn.group_by("parent_id", "prompt").agg(pl.col("count").sum())
    assert given.sort("parent_id").equals(asked.sort("parent_id"))
    ended = drawn.filter(pl.col("response").str.len_chars() < pl.col("n_tokens"))
    assert ended.height > 20
    assert generator.logprob(ended) == pytest.approx(ended["logprob"].to_numpy(), abs=1e-4)
    cut = drawn.filter(pl.col("response").str.len_chars() == pl.col("n_tokens"))
    assert generator.logprob(cut, complete=False) == pytest.approx(cut["logprob"].to_numpy(), abs=1e-4)


def test_the_empty_prompt_writes_whole_texts(generator: TinyTransformer) -> None:
    drawn = generator.sample(pl.DataFrame({"prompt": [""], "count": [50]}), Sampling(), seed=1)
    assert drawn["count"].sum() == 50
    assert drawn["parent_id"].null_count() == drawn.height
    assert drawn["n_tokens"].max() == WORLD.max_tokens + 1


def test_no_prompts_give_no_samples(generator: TinyTransformer) -> None:
    none = WORLD.prompts(5, seed=0).clear()
    assert generator.sample(none, Sampling(), seed=1).columns == RETURNED
    assert generator.greedy(none).height == 0
    assert generator.logprob(none.with_columns(response=pl.lit(""))).shape == (0,)


def test_a_limit_on_tokens_holds(generator: TinyTransformer) -> None:
    drawn = generator.sample(WORLD.prompts(50, seed=0), Sampling(max_tokens=2), seed=1)
    assert drawn["n_tokens"].max() == 2


def test_scores_do_not_depend_on_the_company(generator: TinyTransformer) -> None:
    texts = pl.DataFrame({"prompt": ["03:", "", "03:", "1"], "response": ["02+01", "03:02+01", "", "1"]})
    together = generator.logprob(texts)
    alone = [generator.logprob(texts[i])[0] for i in range(texts.height)]
    assert together == pytest.approx(alone, abs=1e-4)
    assert together[1] < together[0]


def test_a_beginning_is_as_likely_as_all_that_begin_so(generator: TinyTransformer) -> None:
    """p(beginning) = p(it ends there) + sum over the next token of p(longer beginning)."""
    signs = [*WORLD.alphabet, "␀", "␂"]
    longer = pl.DataFrame({"prompt": "03:", "response": ["0" + sign for sign in signs]})
    one = longer[:1].with_columns(response=pl.lit("0"))
    parts = np.exp(generator.logprob(longer, complete=False)).sum() + np.exp(generator.logprob(one))[0]
    assert parts == pytest.approx(np.exp(generator.logprob(one, complete=False))[0], rel=1e-4)


def test_greedy_answers_are_the_likeliest_step_by_step(generator: TinyTransformer) -> None:
    prompts = pl.DataFrame({"prompt": ["07:", "03:", "07:"]})
    answered = generator.greedy(prompts)
    assert answered["prompt"].to_list() == prompts["prompt"].to_list()
    assert answered["response"][0] == answered["response"][2]
    begun = pl.DataFrame({"prompt": "07:", "response": list(WORLD.alphabet)})
    best = begun["response"][int(generator.logprob(begun, complete=False).argmax())]
    assert answered["response"][0][:1] == best


def test_a_generator_comes_back_from_its_folder(generator: TinyTransformer, tmp_path: Path) -> None:
    generator.save(tmp_path)
    read = SPEC.model_copy(update={"engine": "dense"}).load(tmp_path)
    assert torch.equal(read.model.flat, generator.model.flat)
    assert read.engine == "dense"
    truth = WORLD.truth("id").head(20)
    assert read.logprob(truth).tolist() == generator.logprob(truth).tolist()


def test_transformers_opens_the_folder_with_model_and_tokenizer(
    generator: TinyTransformer, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    generator.save(tmp_path)
    model, tokenizer = AutoModelForCausalLM.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = torch.tensor([[tokenizer.bos_token_id, *tokenizer("03:02+01").input_ids, tokenizer.eos_token_id]])
    with torch.inference_mode():
        logs = model(ids).logits.log_softmax(-1)[0, :-1].gather(-1, ids[0, 1:, None])
    whole = pl.DataFrame({"prompt": [""], "response": ["03:02+01"]})
    assert generator.logprob(whole)[0] == pytest.approx(float(logs.sum()), abs=1e-4)


def test_a_pickled_generator_can_still_be_trained(generator: TinyTransformer) -> None:
    copy: TinyTransformer = pickle.loads(pickle.dumps(generator))
    assert torch.equal(copy.model.flat, generator.model.flat)
    copy.model.flat.add_(1)
    assert torch.equal(copy.model.weights["norm"], generator.model.weights["norm"] + 1)
    assert copy.tokens.encode(["07:"])[0].tolist() == generator.tokens.encode(["07:"])[0].tolist()


def test_weights_depend_on_the_seed_alone() -> None:
    flats = [SPEC.fresh(WORLD, seed=s).model.flat for s in (1, 1, 2)]
    assert torch.equal(flats[0], flats[1])
    assert not torch.equal(flats[0], flats[2])


@pytest.mark.parametrize("tokenizer", ["byte", "bpe"])
def test_open_alphabets_work_too(tokenizer: str) -> None:
    spec = Transformer(width=16, layers=1, heads=2, tokenizer=tokenizer, vocab=270, context=24)
    generator = spec.fresh(WORLD, seed=0)
    assert generator.model.shape.vocab <= 270
    drawn = generator.sample(WORLD.prompts(20, seed=0), Sampling(), seed=0)
    assert drawn["count"].sum() == 20
    assert np.isfinite(generator.logprob(WORLD.truth("id"))).all()


def test_heads_that_do_not_divide_the_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"width=48 must be a multiple of 2·heads=10; change either"):
        Transformer(heads=5)


def test_a_prompt_without_room_for_an_answer_is_refused() -> None:
    generator = SPEC.model_copy(update={"context": 4}).fresh(WORLD, seed=0)
    with pytest.raises(ValueError, match="context"):
        generator.sample(WORLD.prompts(3, seed=0), Sampling(), seed=0)
