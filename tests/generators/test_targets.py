"""The world of targets against a slow, plain account of its rules."""

from __future__ import annotations

from collections import Counter
from itertools import product
from math import ceil
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from driftloop.generators.worlds.targets import Targets

CALCULATE: dict[str, Any] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
}
WORLDS: dict[str, st.SearchStrategy[Any]] = {
    "limit": st.integers(6, 30),
    "min_operand": st.integers(0, 3),
    "operations": st.sampled_from([("+", "-", "*"), ("+", "-"), ("-",), ("*",), ("*", "+")]),
    "holdout": st.sampled_from([0.0, 0.2, 0.5]),
    "holdout_seed": st.integers(0, 3),
}


@st.composite
def worlds(draw: st.DrawFn) -> Targets:
    """Worlds that leave a target to train on."""
    chosen = {name: draw(values) for name, values in WORLDS.items()}
    makeable = {
        value
        for op, a, b in product(chosen["operations"], *2 * [range(chosen["min_operand"], chosen["limit"])])
        if 0 <= (value := CALCULATE[op](a, b)) < chosen["limit"]
    }
    assume(len(makeable) > ceil(chosen["holdout"] * len(makeable)))
    return Targets(**chosen)


def test_a_world_that_leaves_no_target_to_train_on_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"holdout=0\.2 of 1 targets that can be made leaves none to train on; raise limit"
    ):
        Targets(limit=6, min_operand=2, operations=("*",))


def scored(world: Targets, prompt: str, response: str) -> dict[str, Any]:
    return world.score(pl.DataFrame({"prompt": [prompt], "response": [response]})).row(0, named=True)


def right_by_brute_force(world: Targets, target: int) -> dict[str, Counter[str]]:
    """Every right response to a target, by operator and expression."""
    found: dict[str, Counter[str]] = {}
    numbers = range(world.min_operand, world.limit)
    for op, a, b in product(world.operations, numbers, numbers):
        if CALCULATE[op](a, b) == target:
            first, second = (a, b) if op == "-" else sorted((a, b))
            found.setdefault(op, Counter())[f"{first:02}{op}{second:02}"] += 1
    return found


@settings(max_examples=25, deadline=None)
@given(world=worlds())
def test_truth_is_what_brute_force_finds(world: Targets) -> None:
    for split in world.splits:
        truth = world.truth(split)
        prompts = truth["prompt"].unique().to_list()
        assert truth["probability"].sum() == pytest.approx(1)
        for prompt in prompts:
            found = right_by_brute_force(world, int(prompt[:-1]))
            rows = truth.filter(prompt=prompt)
            assert rows.height == sum(c.total() for c in found.values())
            for row in rows.iter_rows(named=True):
                operator, modes = row["strategy"], found[row["strategy"]]
                share = 1 / len(prompts) / len(found) / len(modes) / modes[row["mode"]]
                assert row["response"][2] == operator
                assert row["probability"] == pytest.approx(share)


@settings(max_examples=25, deadline=None)
@given(world=worlds())
def test_every_target_that_can_be_made_is_in_one_split(world: Targets) -> None:
    asked = {split: set(world.truth(split)["prompt"]) for split in world.splits}
    makeable = {f"{t:02}:" for t in range(world.limit) if right_by_brute_force(world, t)}
    larger = {f"{t:02}:" for t in range(world.limit, world.limit + 24) if right_by_brute_force(world, t)}
    held = asked.get("ood/targets", set())
    assert asked["id"] | held == makeable
    assert not asked["id"] & held
    assert len(held) >= world.holdout * len(makeable)
    assert asked.get("ood/larger", set()) == larger


@pytest.mark.parametrize(
    ("prompt", "response", "valid", "quality", "mode"),
    [
        ("07:", "05+02", True, 1.0, "02+05"),
        ("07:", "02+05", True, 1.0, "02+05"),
        ("08:", "02+05", True, 0.0, "02+05"),
        ("07:", "09-02", True, 1.0, "09-02"),
        ("07:", "02-09", True, 0.0, "02-09"),
        ("12:", "04*03", True, 1.0, "03*04"),
        ("07:", "06+01", False, 0.0, None),
        ("70:", "60+10", False, 0.0, None),
        ("07:", "5+2", False, 0.0, None),
        ("07:", "05+02 ", False, 0.0, None),
        ("7:", "05+02", False, 0.0, None),
        ("", "07:05+02", False, 0.0, None),
    ],
)
def test_the_verifier_knows_right_wrong_and_malformed(
    prompt: str, response: str, valid: bool, quality: float, mode: str | None
) -> None:
    row = scored(Targets(), prompt, response)
    assert (row["valid"], row["quality"], row["mode"]) == (valid, quality, mode)


@pytest.mark.parametrize(
    ("response", "steps"),
    [
        ("12+13", 1),
        ("15+17", 2),
        ("55+58", 3),
        ("38-12", 1),
        ("32-18", 2),
        ("12*04", 1),
        ("13*04", 2),
        ("16*03", 2),
    ],
)
def test_complexity_counts_the_operator_and_what_is_carried(response: str, steps: int) -> None:
    assert scored(Targets(), "00:", response)["complexity"] == steps


def test_the_default_world_is_the_one_of_the_quickstart() -> None:
    world = Targets()
    assert world.splits == ("id", "ood/targets", "ood/larger")
    assert [world.truth(s)["prompt"].n_unique() for s in world.splits] == [48, 12, 24]
    assert (world.max_tokens, len(world.alphabet)) == (8, 14)


def test_prompts_are_spread_evenly() -> None:
    counts = Targets().prompts(3000, seed=1)["count"]
    assert (counts.len(), counts.min(), counts.max()) == (48, 62, 63)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"min_operand": 60}, r"min_operand=60 must be below limit=60; lower it"),
        ({"operations": ("+", "+")}, r"operations=.* names one twice; name each once"),
    ],
)
def test_settings_that_disagree_are_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Targets(**wrong)


def test_a_split_without_targets_is_refused_with_those_that_have_some() -> None:
    world = Targets(holdout=0.0, operations=("-",))
    assert world.splits == ("id",)
    with pytest.raises(ValueError, match=r"split must be one of \['id'\], got 'ood/larger'"):
        world.prompts(3, "ood/larger", seed=0)
