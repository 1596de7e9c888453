"""Numbers as people read them, and every metric in plain words."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.evals.estimate import Estimate
from driftloop.evals.report.glossary import TERMS, term
from driftloop.evals.report.wording import change, factor, level, listed, number, probability, signed
from driftloop.evals.stages import measures


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.5, "0.500"),
        (-0.0341, "−0.034"),
        (25.44, "25.4"),
        (1234.5, "1234"),
        (12345.0, "12,345"),
        (0.0, "0.000"),
    ],
)
def test_numbers_have_about_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


@given(st.floats(-1e9, 1e9))
def test_a_sign_is_shown_exactly_where_the_value_has_one(value: float) -> None:
    shown = signed(value)
    assert "-" not in shown
    if abs(value) >= 0.001:
        assert shown[0] == ("+" if value > 0 else "−")


@given(st.floats(-20, 20))
def test_factors_turn_round_with_the_sign(log_ratio: float) -> None:
    if abs(log_ratio) > 1e-9:
        assert factor(log_ratio)[0] == ("×" if log_ratio > 0 else "÷")
        assert factor(log_ratio)[1:] == factor(-log_ratio)[1:]


def test_missing_values_are_dashes() -> None:
    assert number(math.nan) == signed(math.nan) == factor(math.nan) == probability(math.nan) == "–"
    assert change(Estimate.missing(), "ratio") == "–"


def test_intervals_stand_beside_values_where_they_exist() -> None:
    assert change(Estimate(0.05, 0.01, 0.03, 0.07, 3), "difference") == "+0.050 [+0.030, +0.070]"
    assert change(Estimate(0.05, math.nan, math.nan, math.nan, 1), "difference") == "+0.050"
    assert level(Estimate(25.44, 0.1, 25.0, 25.9, 3)) == "25.4 ± 0.4"
    assert level(Estimate(25.44, math.nan, math.nan, math.nan, 1)) == "25.4"


def test_lists_read_like_sentences() -> None:
    assert listed([]) == ""
    assert listed(["a"]) == "a"
    assert listed(["a", "b", "c"]) == "a, b and c"


def test_every_term_has_a_question_and_finds_itself() -> None:
    for known in TERMS:
        assert known.question.endswith((".", "?", ")"))
        assert known.mark
        assert term(known.pattern.replace("*", "x")) is known


def test_the_glossary_and_the_measures_agree_on_what_is_better() -> None:
    described = {measure.name: term(measure.name) for measure in measures()}
    assert {name for name, known in described.items() if known.name == name} == set()
    assert {name: known.better for name, known in described.items()} == {m.name: m.better for m in measures()}


def test_axes_strategies_and_reasons_are_filled_into_names() -> None:
    assert term("ood/rules/accuracy_exact").title("ood/rules/accuracy_exact") == "OOD accuracy (rules)"
    assert (
        term("diversity/strategy_share/add").title("diversity/strategy_share/add") == "Share of strategy add"
    )


def test_an_undescribed_metric_keeps_its_name_and_claims_no_direction() -> None:
    unknown = term("zoo/[odd] {name}")
    assert unknown.title("zoo/[odd] {name}") == "zoo/[odd] {name}"
    assert unknown.better == "neither"
