"""Entries of the reasoning-gym library, made again from an id, and the list of its tasks that were read."""

from __future__ import annotations

import hashlib
import re
from functools import cache, lru_cache
from typing import Any, NamedTuple

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

INDICES = 2**32  # entries per source; the id is source * INDICES + index
Options = dict[str, Any]


class Entry(NamedTuple):
    """One question with its place."""

    parent_id: int
    task: str
    prompt: str
    answer: str
    split: str
    raw: dict[str, Any]  # what the library's scorer wants back


class Source:
    """One task with one set of options on one split; `entry(index)` is a pure function."""

    def __init__(
        self, task: str, split: str, options: Options, shorten: tuple[str, str] | None, end: str
    ) -> None:
        self.task, self.split, self.end = task, split, end
        self.dataset = dataset(task, options)
        self.shorten = shorten and (re.compile(shorten[0], re.DOTALL), shorten[1])

    def entry(self, index: int, parent_id: int, test_share: float) -> Entry:
        """The entry of one index; the hash of a question parts the split `id` into `id` and `id/test`."""
        raw = self.dataset[index]
        prompt = self._prompt(raw["question"])
        split = self.split
        if split == "id" and _share(prompt) < test_share:
            split = "id/test"
        return Entry(parent_id, self.task, prompt, raw["answer"], split, raw)

    def _prompt(self, question: str) -> str:
        if self.shorten:
            found = self.shorten[0].search(question)
            if not found:
                pattern = self.shorten[0].pattern
                raise ValueError(
                    f"question_pattern of {self.task}: {pattern!r} does not match {question!r}; widen it"
                )
            question = found.expand(self.shorten[1])
        if self.end in question:
            raise ValueError(
                f"separator {self.end!r} occurs in a question of {self.task}: {question[:80]!r}; change it"
            )
        return question + self.end


def dataset(task: str, options: Options) -> Any:
    """The library's endless dataset of one task.

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
        return create_dataset(task, seed=stream(0, "reasoning_gym", task) >> 16, size=INDICES, **options)
    except (TypeError, AssertionError) as error:
        known = sorted(set(DATASETS[task][1].__dataclass_fields__) - {"seed", "size"})
        raise ValueError(f"options of {task}: {options} do not fit ({error}); it takes {known}") from error


@lru_cache(maxsize=2**18)
def made(source: Source, number: int, index: int, test_share: float) -> Entry:
    """The entry again, quickly where it was made before."""
    return source.entry(index, number * INDICES + index, test_share)


@cache
def sources(
    plan: tuple[tuple[str, str, str], ...], patterns: tuple[tuple[str, str, str], ...], end: str
) -> tuple[Source, ...]:
    """All sources of a world in the order of their ids; options come as JSON: the plan is a key."""
    import json

    shorten = {task: (pattern, template) for task, pattern, template in patterns}
    return tuple(
        Source(task, split, json.loads(options), shorten.get(task), end) for split, task, options in plan
    )


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
    import string

    seen = set("".join(texts))
    kin = (string.digits, string.ascii_lowercase, string.ascii_uppercase)
    return frozenset(seen.union(*(group for group in kin if seen & set(group))))


def _share(text: str) -> float:
    """A number in [0, 1) that depends on the text alone."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) / 2**64
