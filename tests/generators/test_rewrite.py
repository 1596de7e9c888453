"""World `rewrite`: one rule per prompt, exact verification, OOD rules that a model can write itself into."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.generators.worlds.rewrite import Rewrite

WORLD = Rewrite()


def scored(prompt: str, response: str) -> dict[str, object]:
    row = WORLD.score(pl.DataFrame({"prompt": [prompt], "response": [response]}))
    return row.drop("prompt", "response").row(0, named=True)


@given(st.text("abcdefghijklmnop", min_size=8, max_size=8))
def test_the_verifier_agrees_with_plain_replacement(text: str) -> None:
    x, y, z = text[0], text[1], text[2:]
    got = scored(text + "=", z.replace(x, y))
    if x == y or x not in z:
        assert got["valid"] is False
        assert got["split"] is None
    else:
        assert (got["valid"], got["quality"]) == (True, 1.0)
        assert (got["mode"], got["strategy"], got["complexity"]) == (f"{x}>{y}", x, float(z.count(x)))
        assert scored(text + "=", z)["quality"] == 0.0


def test_a_wrong_answer_of_the_right_form_is_valid_and_worth_nothing() -> None:
    got = scored("abaccccc=", "bccccb")
    assert got["valid"] is True
    assert got["quality"] == 0.0


@pytest.mark.parametrize("response", ["bccccc ", "bcccc", "BCCCCC", "bccccz", ""])
def test_an_answer_of_another_form_is_invalid(response: str) -> None:
    assert scored("abaccccc=", response)["valid"] is False


def test_the_held_out_rules_are_a_quarter_and_never_in_training() -> None:
    seen, unseen = WORLD.truth("id"), WORLD.truth("ood/rules")
    assert seen is not None
    assert unseen is not None
    assert (seen.height, unseen.height) == (180, 60)
    assert not set(seen["mode"]) & set(unseen["mode"])
    drawn = WORLD.score(WORLD.real(5000, seed=1))
    assert not set(drawn["mode"]) & set(unseen["mode"])
    assert drawn["mode"].n_unique() == 180


def test_a_written_prompt_with_a_held_out_rule_is_ood_whatever_its_length() -> None:
    truth = WORLD.truth("ood/rules")
    assert truth is not None
    prefix = truth["prompt"][0]
    for body in ("x", "xx", "xxxxxx"):
        prompt = prefix + body.replace("x", prefix[0]) + "="
        assert scored(prompt, "")["split"] == "ood/rules"


def test_seen_rules_fall_off_as_a_power_of_their_rank() -> None:
    truth = Rewrite(zipf=0.7).truth("id")
    assert truth is not None
    p = truth["probability"].to_numpy()
    ranks = np.arange(1, 181)
    assert p * ranks**0.7 == pytest.approx(np.full(180, p[0]))


def test_other_holdout_seeds_hold_out_other_rules() -> None:
    first, second = (set(Rewrite(holdout_seed=s)._held_out) for s in (0, 1))
    assert first != second


def test_the_firewall_column_follows_length() -> None:
    longer = WORLD.real(50, "ood/length", seed=2)
    assert set(longer["prompt"].str.len_chars()) == {11}
    assert set(WORLD.score(longer)["split"]) == {"ood/length"}
    assert WORLD.truth("ood/length") is None


def test_edits_are_one_sure_place_and_chance_elsewhere() -> None:
    edits = WORLD.score(WORLD.real(20_000, seed=3))
    mean = np.average(edits["complexity"], weights=edits["count"])
    assert mean == pytest.approx(1 + 5 / 16, abs=4 * np.sqrt(5 / 16 * 15 / 16 / 20_000))


def test_ids_of_prompts_are_those_of_their_texts() -> None:
    first, again = WORLD.prompts(500, seed=1), WORLD.prompts(500, seed=1)
    assert first.equals(again)
    assert first["parent_id"].n_unique() == first["prompt"].n_unique()


def test_prompts_without_an_answer_have_none() -> None:
    answers = WORLD.answers(pl.DataFrame({"prompt": ["aabbbbbb=", "abaccccc=", "", "?"]}))
    assert answers.rows() == [("abaccccc=", "bccccc", "a>b", "a")]


def test_too_long_strings_are_refused_with_the_limit() -> None:
    with pytest.raises(ValueError, match=r"length \+ longer must be at most 10, got length=9 and longer=2"):
        Rewrite(length=9)


def test_a_draw_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        WORLD.real(0, seed=1)
