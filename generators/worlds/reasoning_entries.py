"""Questions of the reasoning-gym library, made once in a fixed order, and the tasks that were read."""

from __future__ import annotations

import hashlib
import json
import re
import string
from collections import Counter
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from driftloop.generators.seeds import stream

# Only tasks whose scorer was read line by line: it compares texts or numbers, never evaluates the answer as
# code or mathematics, never raises, and draws nothing; its entries come quickly from (seed, index) alone.
# Refused for evaluating the answer: binary_matrix, countdown, intermediate_integration, n_queens,
# polynomial_multiplication, puzzle24, simple_integration, spiral_matrix, string_insertion. For a length
# that the answer sets (1e999999999): coin_flip. For a wrong verdict: game_of_life_halting. For global
# random state: list_functions, pool_matrix.
# fmt: off
ONE_ANSWER = frozenset({
    "ab", "aiw", "arc_1d", "base_conversion", "basic_arithmetic", "binary_alternation", "caesar_cipher",
    "calendar_arithmetic", "chain_sum", "circuit_logic", "count_bits", "count_primes", "course_schedule",
    "decimal_chain_sum", "dice", "family_relationships", "fraction_simplification", "gcd",
    "isomorphic_strings", "knights_knaves", "largest_island", "lcm", "leg_counting", "letter_counting",
    "letter_jumble", "manipulate_matrix", "maze", "mini_sudoku", "modulo_grid", "needle_haystack",
    "number_filtering", "number_format", "number_sequence", "path_star", "products", "ransom_note",
    "rotate_matrix", "rotten_oranges", "self_reference", "sentence_reordering", "simple_equations",
    "simple_geometry", "spell_backward", "string_manipulation", "string_splitting", "string_synthesis",
    "syllogism", "time_intervals", "word_sequence_reversal", "word_sorting",
})
# fmt: on
MANY_ANSWERS = frozenset({"palindrome_generation", "shortest_path"})
VETTED = ONE_ANSWER | MANY_ANSWERS

Plan = tuple[tuple[str, str, str], ...]  # (split, task, options as JSON), id first


class Entry(NamedTuple):
    """One question of the bank."""

    number: int
    prompt: str
    answer: str
    task: str
    split: str
    raw: dict[str, Any]  # what the library's scorer wants back
    scorer: Any  # the dataset that made it


class Bank(NamedTuple):
    """All questions of a world: the prompt alone says which one it is."""

    entries: dict[str, Entry]  # by prompt
    parts: dict[str, list[Entry]]  # by split
    shares: dict[str, np.ndarray]  # how often the library asks each of them, sums to 1 per split
    used: dict[str, frozenset[str]]  # characters that the answers of each task use
    characters: frozenset[str]  # of all questions and answers


@lru_cache(maxsize=8)
def bank(
    plan: Plan, patterns: tuple[tuple[str, str, str], ...], end: str, size: int, most: int, test_share: float
) -> Bank:
    """Make the first `size` questions of every split, its tasks in equal parts; the first split keeps them.

    Raises:
        ValueError: a split is left with less than two questions, or one prompt has two answers.
    """
    shorten = {task: (re.compile(pattern, re.DOTALL), template) for task, pattern, template in patterns}
    entries: dict[str, Entry] = {}
    seen: Counter[str] = Counter()
    for split, task, options in plan:
        source = dataset(task, json.loads(options), split)
        tasks = sum(1 for other, *_ in plan if other == split)
        for raw in (source[index] for index in range(max(size // tasks, 1))):
            prompt = _prompt(raw["question"], task, shorten.get(task), end)
            if len((prompt + raw["answer"]).encode()) > most:
                continue
            part = "id/test" if split == "id" and _share(prompt) < test_share else split
            entry = Entry(len(entries), prompt, raw["answer"], task, part, raw, source)
            first = entries.setdefault(prompt, entry)
            _must_agree(first, entry)
            seen[prompt] += first.split == part
    parts: dict[str, list[Entry]] = {part: [] for part in ("id", "id/test", *(split for split, *_ in plan))}
    for entry in entries.values():
        parts[entry.split].append(entry)
    _must_be_enough(parts, most)
    counts = {part: np.array([seen[e.prompt] for e in found], float) for part, found in parts.items()}
    shares = {part: count / count.sum() for part, count in counts.items()}
    answers: dict[str, list[str]] = {task: [] for _, task, _ in plan}
    for entry in entries.values():
        answers[entry.task].append(entry.answer)
    used = {task: classes(texts) for task, texts in answers.items()}
    return Bank(entries, parts, shares, used, frozenset().union(*map(set, entries), *used.values()))


def _must_agree(first: Entry, entry: Entry) -> None:
    if entry.task in ONE_ANSWER and (first.task, first.answer) != (entry.task, entry.answer):
        raise ValueError(
            f"prompt {entry.prompt!r} has the answers {first.answer!r} ({first.task}) and {entry.answer!r} "
            f"({entry.task}); keep more of the question in question_pattern and question_template"
        )


def _must_be_enough(parts: dict[str, list[Entry]], most: int) -> None:
    for part, found in parts.items():
        if len(found) < 2:
            raise ValueError(
                f"split {part!r} has {len(found)} questions of at most max_tokens={most} bytes that no other "
                "split has; raise max_tokens, questions or test_share, shorten questions (question_pattern) "
                "or widen the options"
            )


def _prompt(question: str, task: str, shorten: tuple[re.Pattern[str], str] | None, end: str) -> str:
    if shorten:
        found = shorten[0].search(question)
        if not found:
            raise ValueError(
                f"question_pattern of {task}: {shorten[0].pattern!r} misses {question!r}; widen it"
            )
        question = found.expand(shorten[1])
    if end in question:
        raise ValueError(
            f"separator {end!r} occurs in a question of {task}: {question[:80]!r}; choose another"
        )
    return question + end


def dataset(task: str, options: dict[str, Any], split: str) -> Any:
    """The library's dataset of one task, on a stream of its own.

    Raises:
        ImportError: the library is not installed.
        ValueError: an unknown task, one that was not vetted, or options that it does not take.
    """
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError as error:
        message = (
            "world reasoning_gym needs the library reasoning-gym; run: pip install 'driftloop[reasoning]'"
        )
        raise ImportError(message) from error
    if task not in DATASETS:
        raise ValueError(f"task {task!r} is not in reasoning-gym; expected one of {sorted(VETTED)}")
    if task not in VETTED:
        raise ValueError(
            f"task {task!r} is refused: its scorer evaluates answers, is slow or unsound, or was not read; "
            f"expected one of {sorted(VETTED)}"
        )
    if reserved := sorted({"seed", "size"} & set(options)):
        raise ValueError(f"options of {task}: {reserved} are set by the world; leave them out")
    try:
        return create_dataset(task, seed=stream(0, "reasoning_gym", split, task) >> 16, size=2**31, **options)
    except (TypeError, AssertionError) as error:
        known = sorted(set(DATASETS[task][1].__dataclass_fields__) - {"seed", "size"})
        raise ValueError(f"options of {task}: {options} do not fit ({error}); it takes {known}") from error


NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?")


def canonical(answer: str) -> str:
    """The answer without outer and repeated space and letter case; numbers without idle signs and zeros."""
    text = " ".join(answer.split()).lower()
    if not NUMBER.fullmatch(text):
        return text
    whole, _, part = text.lstrip("+-").partition(".")
    part = part.rstrip("0")
    digits = (whole.lstrip("0") or "0") + ("." + part if part else "")
    return "-" + digits if text.startswith("-") and digits != "0" else digits


def classes(texts: list[str]) -> frozenset[str]:
    """The characters of the texts; one digit or letter stands for all of its class."""
    seen = set("".join(texts))
    kin = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
    return frozenset(seen.union(*(group for group in kin if seen & set(group))))


def _share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
