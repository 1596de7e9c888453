"""Accuracy, pass@k and surprise on fixed tests, against closed forms and brute force."""

import math
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl
import pytest

from driftloop.evals.estimate import Context
from driftloop.evals.exam import sit
from driftloop.evals.generalization import generalization, pass_at_k, right_mass, test_sets
from driftloop.evals.rarity import strata, stratify
from driftloop.generators.contracts import Sampling
from driftloop.generators.seeds import rng
from driftloop.generators.worlds.categorical import Categorical
from driftloop.generators.worlds.rewrite import Rewrite
from driftloop.generators.worlds.targets import Targets

CONTEXT = Context(100, 7)
WORLD = Targets(limit=12)


class Guess:
    """Answers each prompt rightly with a chance of its own, else with nonsense."""

    def __init__(self, world: Targets, skill: Callable[[str], float]) -> None:
        self.world, self.skill = world, skill

    def _right(self, prompts: pl.DataFrame) -> dict[str, list[str]]:
        found = self.world.answers(prompts).group_by("prompt").agg("response")
        return dict(found.iter_rows())

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        right = self._right(texts)
        rows = texts.select("prompt", "response").iter_rows()
        return np.array([math.log(self.skill(p) / len(right[p])) for p, _ in rows])

    def sample(self, prompts: pl.DataFrame, sampling: Sampling, *, seed: int) -> pl.DataFrame:
        draw, right = rng(seed), self._right(prompts)
        rows = []
        for parent, prompt, count in prompts.select("parent_id", "prompt", "count").iter_rows():
            hits = int(draw.binomial(count, self.skill(prompt)))
            rows += [(parent, prompt, right[prompt][0], hits), (parent, prompt, "?", count - hits)]
        schema = {"parent_id": pl.UInt64, "prompt": pl.String, "response": pl.String, "count": pl.UInt64}
        return pl.DataFrame(rows, schema=schema, orient="row").filter(pl.col("count") > 0)

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        right = self._right(prompts)
        said = [right[p][0] if self.skill(p) > 0.5 else "?" for p in prompts["prompt"]]
        return prompts.with_columns(pl.Series("response", said))

    def save(self, path: Path) -> None:
        raise NotImplementedError

    @classmethod
    def load(cls, path: Path) -> Self:
        raise NotImplementedError


def skill(prompt: str) -> float:
    return 0.1 + 0.05 * (int(prompt[:-1]) % 16)


def rows(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    return {line["metric"]: line for line in frame.iter_rows(named=True)}


@pytest.mark.parametrize("k", [1, 3, 5])
def test_pass_at_k_is_the_share_of_subsets_with_a_right_answer(k: int) -> None:
    for right in range(6):
        answers = [1] * right + [0] * (5 - right)
        share = np.mean([any(subset) for subset in combinations(answers, k)])
        assert pass_at_k(np.array([5]), np.array([right]), k)[0] == pytest.approx(share)


@pytest.mark.parametrize("k", [1, 8, 64])
def test_pass_at_k_is_unbiased(k: int) -> None:
    p, n, prompts = 0.1, 64, 20_000
    right = np.random.default_rng(k).binomial(n, p, prompts)
    found = pass_at_k(np.full(prompts, n), right, k)
    assert abs(found.mean() - (1 - (1 - p) ** k)) < 2 * max(found.std(), 1e-9) / math.sqrt(prompts)


def test_pass_at_k_beyond_the_answers_drawn_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"pass@9: needs k <= n, got 8 answers to a prompt; draw more or lower k"
    ):
        pass_at_k(np.array([10, 8]), np.array([1, 1]), 9)


def test_exact_accuracy_is_the_mean_chance_of_a_right_answer() -> None:
    tests = test_sets(WORLD, 300, seed=0)
    found = rows(generalization(Guess(WORLD, skill), WORLD, tests, CONTEXT))
    chances = {s: np.array([skill(p) for p in WORLD.truth(s)["prompt"].unique()]) for s in WORLD.splits}
    for split, chance in chances.items():
        line = found[f"{split}/accuracy_exact"]
        assert line["value"] == pytest.approx(chance.mean())
        assert line["stderr"] == pytest.approx(chance.std(ddof=1) / math.sqrt(len(chance)))
        assert line["n"] == len(chance)
        assert found[f"{split}/pass8"]["value"] == pytest.approx((1 - (1 - chance) ** 8).mean())
        assert found[f"{split}/accuracy_greedy"]["value"] == pytest.approx((chance > 0.5).mean())
        assert line["axis"] == ("id" if split == "id" else "ood")
    gap, a, b = (
        found[k] for k in ("gap/targets/accuracy_exact", "id/accuracy_exact", "ood/targets/accuracy_exact")
    )
    assert gap["value"] == pytest.approx(a["value"] - b["value"])
    assert gap["stderr"] == pytest.approx(math.hypot(a["stderr"], b["stderr"]))


def test_without_listed_answers_pass_at_k_is_sampled_and_agrees() -> None:
    class Unlisted(Targets):
        def truth(self, split: str = "id") -> None:  # type: ignore[override]
            return None

        def answers(self, prompts: pl.DataFrame) -> None:  # type: ignore[override]
            return None

    open_world = Unlisted(limit=12)
    tests = {
        s: WORLD.real(400, s, seed=1).with_columns(stratum=pl.lit("head"), n_tokens=pl.lit(6))
        for s in WORLD.splits
    }
    model = Guess(WORLD, skill)
    found = rows(generalization(model, open_world, tests, CONTEXT, draws=64))
    assert "id/accuracy_exact" not in found
    weight = tests["id"].group_by("prompt").agg(pl.col("count").sum())
    chance = np.array([skill(p) for p in weight["prompt"]])
    share = weight["count"].to_numpy() / weight["count"].sum()
    for k in (1, 8):
        true, line = float((share * (1 - (1 - chance) ** k)).sum()), found[f"id/pass{k}"]
        assert abs(line["value"] - true) < 4 * math.sqrt(0.25 / 64 / len(chance))
    few = rows(generalization(model, open_world, tests, CONTEXT, draws=8))
    assert "id/pass8" in few
    assert "id/pass64" not in few


def test_surprise_is_per_token_and_by_stratum() -> None:
    tests = test_sets(WORLD, 300, seed=0)
    model = Guess(WORLD, skill)
    found = rows(generalization(model, WORLD, tests, CONTEXT))
    test = tests["id"].with_columns(pl.Series("logprob", model.logprob(tests["id"])))
    for stratum in ("head", "middle", "tail"):
        part = test.filter(pl.col("stratum") == stratum)
        logs, tokens, copies = (part[c].to_numpy() for c in ("logprob", "n_tokens", "count"))
        total = -(logs * copies).sum() / (tokens * copies).sum()
        assert found[f"id/nll_{stratum}"]["value"] == pytest.approx(total)
        assert found[f"id/nll_{stratum}"]["n"] == part["count"].sum()


class Echo:
    """Answers with a chance of 0.2, and of 0.1 where the rule is of the rarest third; greedily with nothing."""

    def __init__(self, world: Rewrite) -> None:
        truth = world.truth("id")
        assert truth is not None
        rare = strata(truth["probability"].to_numpy()) == "tail"
        self.rare = set(truth["prompt"].filter(pl.Series(rare)))

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        return np.log(
            [0.1 if (p + r)[:2] in self.rare else 0.2 for p, r in texts.select("prompt", "response").rows()]
        )

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        return prompts.with_columns(pl.lit("").alias("response"))


def test_ability_is_told_by_rarity_where_the_prompt_names_the_mode() -> None:
    """In `rewrite` a prompt names its rule; in `targets` it does not."""
    world = Rewrite(letters=5)
    tests = test_sets(world, 200, seed=0)
    found = rows(generalization(Echo(world), world, tests, CONTEXT))  # type: ignore[arg-type]
    assert found["id/accuracy_head"]["value"] == pytest.approx(0.2)
    assert found["id/accuracy_tail"]["value"] == pytest.approx(0.1)
    asked = sum(found[f"id/accuracy_{s}"]["n"] for s in ("head", "middle", "tail"))
    assert asked == tests["id"]["prompt"].n_unique()
    plain = rows(generalization(Guess(WORLD, skill), WORLD, test_sets(WORLD, 50, seed=0), CONTEXT))
    assert "id/accuracy_tail" not in plain


class Flat:
    """Every text has one log-probability."""

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        return np.full(texts.height, -2.0)


def test_a_world_without_prompts_has_surprise_alone() -> None:
    world = Categorical(types=30, exponent=1.0)
    found = generalization(Flat(), world, test_sets(world, 200, seed=0), CONTEXT)  # type: ignore[arg-type]
    assert found["metric"].to_list() == ["id/nll_head", "id/nll_middle", "id/nll_tail"]
    assert found["value"].to_list() == pytest.approx([2 / 3] * 3)


def test_empty_test_sets_give_nan_or_no_rows_and_never_a_number() -> None:
    world = Categorical(types=5)
    nothing = {"id": test_sets(world, 10, seed=0)["id"].clear()}
    found = generalization(Flat(), world, nothing, CONTEXT)  # type: ignore[arg-type]
    assert found["value"].is_nan().all()


def test_prompts_without_a_right_answer_are_left_out() -> None:
    scores = sit(Guess(WORLD, skill), WORLD, test_sets(WORLD, 50, seed=0))
    answers = scores.exam.answers["id"]
    scores.exam.answers["id"] = answers.filter(pl.col("question") != 0)
    mass = right_mass(scores, "id")
    scores.exam.answers["id"] = answers
    assert math.isnan(mass[0])
    assert not np.isnan(mass[1:]).any()


def test_test_sets_are_fixed_by_their_seed_alone() -> None:
    assert test_sets(WORLD, 50, seed=3) is test_sets(WORLD, 50, seed=3)
    again = test_sets(Targets(limit=12), 50, seed=3)
    assert all(again[s].equals(test_sets(WORLD, 50, seed=3)[s]) for s in WORLD.splits)
    assert not again["id"].equals(test_sets(WORLD, 50, seed=4)["id"])


def test_a_world_that_holds_texts_out_is_tested_on_those() -> None:
    class Careful(Categorical):
        @property
        def test_split(self) -> str:
            return "id/test"

        def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
            return super().real(n, "id", seed=seed).with_columns(pl.lit(split).alias("prompt"))

    found = test_sets(Careful(types=3), 10, seed=0)
    assert set(found) == {"id"}
    assert set(found["id"]["prompt"]) == {"id/test"}


def test_strata_are_thirds_and_ties_stay_together() -> None:
    assert strata(np.arange(9)).tolist() == ["tail"] * 3 + ["middle"] * 3 + ["head"] * 3
    assert set(strata(np.ones(9))) == {"middle"}
    assert strata(np.zeros(0)).tolist() == []


def test_open_text_is_stratified_by_its_own_byte_pairs() -> None:
    class Open(Categorical):
        def truth(self, split: str = "id") -> None:  # type: ignore[override]
            return None

    texts = ["the cat", "the hat", "the rat", "the mat", "qzxvj", "wkpfy"]
    test = pl.DataFrame({"prompt": "", "response": texts, "count": pl.Series([1] * 6, dtype=pl.UInt64)})
    found = stratify(test, Open(types=3), "id")
    assert found["stratum"].to_list()[-2:] == ["tail", "tail"]
    kept = found.with_columns(pl.lit("head").alias("stratum"))
    assert stratify(kept, Open(types=3), "id").equals(kept)
