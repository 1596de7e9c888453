"""The tabular lane: a world of types and a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from driftloop.evals.exam import sit
from driftloop.evals.generalization import right_mass
from driftloop.generators.contracts import Sampling
from driftloop.generators.models.categorical import CategoricalModel, Strings, TabularGenerator
from driftloop.generators.worlds.categorical import Categorical
from driftloop.generators.worlds.reasoning_gym_tasks import ReasoningGym
from driftloop.generators.worlds.targets import Targets

WORLD = Categorical(types=10, exponent=1.0)


def table(weights: list[float]) -> TabularGenerator:
    names = [f"{i}" for i in range(len(weights))]
    return TabularGenerator(Strings(pl.DataFrame({"prompt": "", "response": names})), np.array(weights))


def test_frequencies_are_zipfs() -> None:
    p = WORLD.truth()["probability"].to_numpy()
    assert p[0] / p[4] == pytest.approx(5)
    assert Categorical(types=7).truth()["probability"].to_list() == pytest.approx([1 / 7] * 7)


def test_held_out_types_are_never_real() -> None:
    world = Categorical(types=50, holdout=0.2)
    real = world.real(10_000, seed=0)["response"].to_list()
    held = world.truth("ood/types")["response"].to_list()
    assert len(held) == 10
    assert not set(real) & set(held)


def test_contexts_are_independent_populations_of_equal_size() -> None:
    world = Categorical(types=5, contexts=12)
    real = world.real(12 * 50, seed=0).group_by("prompt").agg(pl.col("count").sum())
    assert real["count"].to_list() == [50] * 12
    assert (
        sorted(world.real(30, seed=0).group_by("prompt").agg(pl.col("count").sum())["count"])
        == [2] * 6 + [3] * 6
    )
    shares = CategoricalModel().fresh(world, seed=0)
    drawn = shares.sample(world.prompts(12 * 10**6, seed=0), Sampling(), seed=0)
    assert drawn["count"].to_list() == pytest.approx([2 * 10**5] * 60, abs=4 * 400)


def test_a_wrong_type_is_valid_but_not_right_and_no_answer() -> None:
    world = Categorical(types=10, right=0.2)
    scored = world.score(world.real(10**6, seed=0))
    assert scored["valid"].all()
    assert scored.filter(pl.col("quality") == 1)["response"].to_list() == ["0", "1"]
    assert world.answers(world.prompts(1, seed=0))["response"].to_list() == ["0", "1"]
    assert right_mass(sit(CategoricalModel().fresh(world, seed=0), world), "id").tolist() == pytest.approx(
        [0.2]
    )


def test_holding_out_everything_is_refused() -> None:
    with pytest.raises(ValueError, match=r"holdout=0\.95 of types=10 leaves none to train on; lower holdout"):
        Categorical(types=10, holdout=0.95)


def test_a_million_million_draws_are_as_many_rows_as_types() -> None:
    fresh = CategoricalModel().fresh(WORLD, seed=0)
    drawn = fresh.sample(WORLD.prompts(10**12, seed=0), Sampling(), seed=0)
    assert drawn.height == 10
    assert drawn["count"].sum() == 10**12
    assert (drawn["count"] / 10**12).to_list() == pytest.approx([0.1] * 10, abs=4 * 3e-7)


def test_log_probabilities_are_of_the_table() -> None:
    generator = table([1, 0, 3])
    texts = pl.DataFrame({"prompt": "", "response": ["0", "1", "2", "no"]})
    assert np.exp(generator.logprob(texts)).tolist() == pytest.approx([0.25, 0, 0.75, 0])
    drawn = generator.sample(pl.DataFrame({"prompt": [""], "count": [99]}), Sampling(), seed=0)
    assert drawn["response"].to_list() == ["0", "2"]
    assert drawn["logprob"].to_list() == pytest.approx(np.log([0.25, 0.75]))


def test_a_beginning_has_the_mass_of_all_that_begin_so() -> None:
    world = Categorical(types=100)
    generator = CategoricalModel().fresh(world, seed=0)
    texts = pl.DataFrame({"prompt": "", "response": ["", "7", "77", "x"]})
    assert np.exp(generator.logprob(texts, complete=False)).tolist() == pytest.approx([1, 0.1, 0.01, 0])


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.3, 0.2]),
        ({"temperature": 0.5}, [25 / 38, 9 / 38, 4 / 38]),
        ({"top_p": 0.6}, [0.625, 0.375, 0]),
        ({"min_p": 0.5}, [0.625, 0.375, 0]),
    ],
)
def test_temperature_and_truncation_act_on_responses(
    settings: dict[str, float], expected: list[float]
) -> None:
    asked = pl.DataFrame({"prompt": [""], "count": [10**12]})
    drawn = table([5, 3, 2]).sample(asked, Sampling(**settings), seed=0)
    share = dict(zip(drawn["response"], drawn["count"] / 10**12, strict=True))
    assert [share.get(str(i), 0) for i in range(3)] == pytest.approx(expected, abs=1e-5)
    assert drawn["logprob"].to_list() == pytest.approx(np.log([0.5, 0.3, 0.2][: drawn.height]))


def test_prompted_worlds_have_one_distribution_per_prompt() -> None:
    world = Targets(limit=12)
    generator = CategoricalModel().fresh(world, seed=0)
    truth = world.truth()
    mass = truth.select("prompt", p=np.exp(generator.logprob(truth))).group_by("prompt").sum()
    assert mass["p"].to_list() == pytest.approx([1] * mass.height)
    drawn = world.score(generator.sample(world.prompts(500, seed=0), Sampling(), seed=0))
    assert drawn["count"].sum() == 500
    assert (drawn["quality"] == 1).all()
    assert world.score(generator.greedy(world.prompts(9, seed=0)))["quality"].to_list() == [1] * 9


def test_a_table_comes_back_from_its_folder(tmp_path: Path) -> None:
    generator = table([1, 0, 3.5])
    generator.save(tmp_path)
    read = CategoricalModel().load(tmp_path)
    assert read.weights.tolist() == [1, 0, 3.5]
    assert read.strings.frame.equals(generator.strings.frame)


def test_no_prompts_give_no_samples() -> None:
    none = WORLD.prompts(0, seed=0)
    assert table([1, 2]).sample(none, Sampling(), seed=0).height == 0


def test_an_unknown_prompt_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prompt '07:' is not in the table, which begins \[''\]"):
        table([1]).sample(pl.DataFrame({"prompt": ["07:"], "count": [1]}), Sampling(), seed=0)


def test_a_world_without_an_end_of_strings_is_refused() -> None:
    world = ReasoningGym(tasks={"gcd": {}})
    with pytest.raises(ValueError, match=r"needs a world that can be enumerated.*use model: transformer"):
        CategoricalModel().fresh(world, seed=0)
