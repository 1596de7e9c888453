"""World `reasoning_gym`: real questions, vetted scorers, and generated text that nobody evaluates."""

from __future__ import annotations

import ast
import inspect
import pickle
import sys
import textwrap
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftloop.generators.worlds.reasoning_entries import VETTED, canonical, dataset
from driftloop.generators.worlds.reasoning_gym_tasks import ReasoningGym

NUMBERS = {"gcd": r"numbers: (\d+), (\d+)", "lcm": r"numbers: (\d+), (\d+)", "chain_sum": "problem: (.*) ="}
SMALL: dict[str, Any] = {"questions": 300}


def world(**settings: Any) -> ReasoningGym:
    return ReasoningGym(**(SMALL | settings))


def scored(here: ReasoningGym, prompt: str, *responses: str) -> pl.DataFrame:
    return here.score(pl.DataFrame({"prompt": [prompt] * len(responses), "response": list(responses)}))


def test_one_name_a_list_and_a_mapping_say_the_same() -> None:
    assert world(tasks="gcd") == world(tasks=["gcd"]) == world(tasks={"gcd": {}})


def test_questions_and_answers_are_the_librarys_own() -> None:
    here = world(tasks="gcd")
    drawn = here.real(20, seed=0)
    assert drawn["prompt"].str.starts_with("Find the Greatest Common Divisor").all()
    assert drawn["prompt"].str.ends_with("~").all()


def test_a_pattern_keeps_the_content_of_a_question() -> None:
    here = world(
        tasks={"gcd": {"max_value": 30}},
        question_pattern={"gcd": NUMBERS["gcd"]},
        question_template={"gcd": r"gcd \1 \2"},
        separator="=",
        max_tokens=16,
    )
    assert here.real(50, seed=0)["prompt"].str.contains(r"^gcd \d+ \d+=$").all()


def test_a_pattern_that_drops_what_the_answer_needs_is_refused() -> None:
    with pytest.raises(ValueError, match=r"has the answers .* keep more of the question in question_pattern"):
        world(tasks="gcd", question_pattern={"gcd": r"numbers: (\d)"}).real(1, seed=0)


def test_a_pattern_that_does_not_match_is_named_with_the_question() -> None:
    with pytest.raises(ValueError, match=r"question_pattern of gcd: 'nowhere' misses 'Find the"):
        world(tasks="gcd", question_pattern={"gcd": "nowhere"}).real(1, seed=0)
    with pytest.raises(ValueError, match=r"question_pattern of gcd: '\(' is no regular expression"):
        world(tasks="gcd", question_pattern={"gcd": "("})


def test_a_prompt_that_the_library_never_asked_is_invalid() -> None:
    here = world(tasks="gcd")
    row = scored(here, "Find the gcd of 4 and 6~", "2").row(0, named=True)
    assert (row["valid"], row["quality"], row["mode"], row["split"]) == (False, 0.0, None, None)


def test_wrong_and_ill_formed_answers_are_told_apart() -> None:
    here = world(tasks={"chain_sum": {"max_terms": 2, "max_digits": 1}})
    prompt, answer = here.real(1, seed=1).select("prompt", "response").row(0)
    rows = scored(here, prompt, answer, "77777", "seven", "", f"+{answer}" if answer[0] != "-" else answer)
    assert rows["quality"].to_list() == [1.0, 0.0, 0.0, 0.0, 1.0]
    assert rows["valid"].to_list() == [True, True, False, False, True]
    assert rows["mode"].to_list()[0] == rows["mode"].to_list()[4]


def test_training_questions_never_appear_in_the_test_part() -> None:
    here = world(tasks={"chain_sum": {"max_terms": 2, "max_digits": 1}}, questions=2000)
    known = [set(here.real(5000, split, seed=1)["prompt"]) for split in ("id", "id/test")]
    assert not known[0] & known[1]
    assert 0.02 < len(known[1]) / (len(known[0]) + len(known[1])) < 0.2


def test_a_question_of_two_splits_belongs_to_the_first() -> None:
    here = world(tasks={"gcd": {"max_value": 6}}, ood={"larger": {"gcd": {"max_value": 9}}})
    inside = set(here.real(3000, "id", seed=1)["prompt"]) | set(here.real(3000, "id/test", seed=1)["prompt"])
    assert not inside & set(here.real(3000, "ood/larger", seed=1)["prompt"])


def test_difficulty_inherits_options_and_held_out_tasks_have_their_own() -> None:
    here = world(
        tasks={"chain_sum": {"max_terms": 2, "max_digits": 1}},
        ood={"terms": {"chain_sum": {"min_terms": 4, "max_terms": 4}}, "gcd": "gcd"},
        complexity_key="num_terms",
    )
    assert here.splits == ("id", "ood/terms", "ood/gcd")
    terms = here.score(here.real(50, "ood/terms", seed=0))
    assert set(terms["complexity"]) == {4.0}
    assert not terms["prompt"].str.contains(r"\d\d").any()
    assert set(here.score(here.real(50, "ood/gcd", seed=0))["strategy"]) == {"gcd"}


def test_complexity_is_the_answers_length_where_no_key_is_named() -> None:
    drawn = world(tasks="gcd").score(world(tasks="gcd").real(50, seed=0))
    assert (drawn["complexity"] == drawn["response"].str.len_chars()).all()


def test_tasks_with_several_right_answers_list_none() -> None:
    here = world(tasks={"palindrome_generation": {"max_length": 4}}, max_tokens=500)
    assert here.answers(here.prompts(3, seed=0)) is None


def test_few_questions_are_asked_evenly() -> None:
    here = world(tasks={"gcd": {"max_value": 3}}, test_share=0.4)
    counts = here.prompts(100, seed=0)["count"]
    assert counts.sum() == 100
    assert counts.max() - counts.min() <= 1  # type: ignore[operator]


@pytest.mark.parametrize("task", ["countdown", "puzzle24", "n_queens", "polynomial_multiplication", "codeio"])
def test_tasks_whose_scorer_evaluates_the_answer_are_refused(task: str) -> None:
    with pytest.raises(ValueError, match=f"task '{task}' is refused: its scorer evaluates answers"):
        world(tasks=task).real(1, seed=0)


def test_mistakes_in_settings_are_named_with_what_would_do() -> None:
    with pytest.raises(ValueError, match="task 'sums' is not in reasoning-gym; expected one of"):
        world(tasks="sums").real(1, seed=0)
    with pytest.raises(ValueError, match=r"options of gcd: \{'largest': 3\} do not fit .*'max_value'"):
        world(tasks={"gcd": {"largest": 3}}).real(1, seed=0)
    with pytest.raises(ValueError, match=r"options of gcd: \['seed'\] are set by the world"):
        world(tasks={"gcd": {"seed": 3}}).real(1, seed=0)
    with pytest.raises(ValueError, match="split 'id' has 0 questions of at most max_tokens=20 bytes"):
        world(tasks="gcd", max_tokens=20).real(1, seed=0)
    with pytest.raises(ValueError, match="separator ' ' occurs in a question of gcd"):
        world(tasks="gcd", separator=" ").real(1, seed=0)
    with pytest.raises(ValueError, match="tasks: at least one task is needed"):
        world(tasks=[])


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "reasoning_gym.factory", None)
    with pytest.raises(ImportError, match=r"pip install 'driftloop\[reasoning\]'"):
        dataset("gcd", {}, "id")


def test_a_world_travels_without_its_questions() -> None:
    here = world(tasks="gcd")
    here.real(10, seed=0)
    assert len(pickle.dumps(here)) < 2000
    assert pickle.loads(pickle.dumps(here)) == here


FORBIDDEN = {
    "eval",
    "exec",
    "compile",
    "parse_expr",
    "sympify",
    "literal_eval",
    "parse_latex",
    "__import__",
    "open",
    "getattr",
    "loads",
    "system",
    "run",
    "Popen",
    "Fraction",
    "random",
    "loadtxt",
}


def called(function: Any) -> set[str]:
    """Names of everything that the source of a function calls."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {
        f.id if isinstance(f, ast.Name) else f.attr for f in calls if isinstance(f, ast.Name | ast.Attribute)
    }


@pytest.mark.parametrize("task", sorted(VETTED))
def test_a_vetted_scorer_and_all_it_calls_in_its_module_evaluate_nothing(task: str) -> None:
    from reasoning_gym.factory import DATASETS

    owner = DATASETS[task][0]
    module, todo, seen = sys.modules[owner.__module__], {"score_answer"}, set[str]()
    names: set[str] = set()
    while todo:
        name = todo.pop()
        seen.add(name)
        function = inspect.getattr_static(owner, name, None) or getattr(module, name, None)
        function = getattr(function, "__func__", function)
        if inspect.isfunction(function):
            names |= called(function)
            todo |= called(function) - seen
    assert "score_answer" in seen
    assert not names & FORBIDDEN


HOSTILE = [
    "",
    " ",
    "x",
    "1e999999999",
    "[1, 2]",
    "__import__('os').getcwd()",
    "9" * 5000,
    "é",
    "\n",
    "NaN",
    "sNaN",
    "1/0",
    "-",
    "'",
    "{",
    "\x00",
    '{"a": 1}',
    "Yes",
    "0x10",
    "1,2",
    "A is a hero",
]


@pytest.mark.parametrize("task", sorted(VETTED))
def test_a_vetted_task_repeats_itself_and_takes_any_answer(task: str) -> None:
    first, again = dataset(task, {}, "id"), dataset(task, {}, "id")
    for index in (2, 0):
        entry = first[index]
        assert again[index]["question"] == entry["question"]
        assert first.score_answer(entry["answer"], entry) == 1.0
        for text in HOSTILE:
            assert 0 <= first.score_answer(text, entry) <= 1


@settings(max_examples=200, deadline=None)
@given(st.integers(-(10**6), 10**6), st.sampled_from(["", "0", "00"]))
def test_spellings_of_one_number_are_one_mode(number: int, zeros: str) -> None:
    sign, digits = ("-" if number < 0 else "+"), str(abs(number))
    spelled = f" {sign}{zeros}{digits}.{zeros or '0'} "
    assert canonical(spelled) == canonical(str(number)) == str(number)
    assert canonical("A  b\nC") == "a b c"
