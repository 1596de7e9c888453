"""World `reasoning_gym`: questions, answers and exact verifiers of the reasoning-gym library."""

from __future__ import annotations

import json
import re
import string
from collections.abc import Iterator
from functools import cached_property
from typing import Any, Literal, final

import numpy as np
import polars as pl
from pydantic import Field, field_validator, model_validator

from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec
from driftloop.generators.worlds.reasoning_entries import (
    INDICES,
    ONE_ANSWER,
    Entry,
    Source,
    canonical,
    classes,
    made,
    sources,
)

Tasks = dict[str, dict[str, Any]]
SAMPLE = 128  # entries per source that show which characters a task uses
ADDED = {
    "valid": pl.Boolean(),
    "quality": pl.Float64(),
    "complexity": pl.Float64(),
    "mode": pl.String(),
    "strategy": pl.String(),
    "split": pl.String(),
}


@final
class ReasoningGym(Spec):
    """Questions with one library task each; the library's scorer verifies (1 = right).

    Modes are answers in canonical form, strategies are task names; complexity is the number under
    `complexity_key` in the entry's metadata, or else the characters of the response. `tasks` is one name, a
    list of names, or names with their options; each axis of `ood` names tasks the same way: known tasks
    with other options (difficulty), or others (held-out tasks). Questions of the split `id` are parted by
    their hash: `id/test` holds those that `id` never draws, so no test question is ever trained on. The id
    of a question (column `parent_id`) says how to make it again; a prompt without one, or with another text
    than its entry, is invalid. A response is valid if it uses only characters that the task's answers use.
    Generated text is compared, never evaluated: see `VETTED`.
    """

    kind: Literal["reasoning_gym"] = "reasoning_gym"
    tasks: Tasks = Field(description="name, list of names, or {name: options of the library's task}")
    ood: dict[str, Tasks] = Field({}, description="{axis: tasks}; options of a task in `tasks` are inherited")
    question_pattern: dict[str, str] = Field({}, description="{task: regex}; keeps part of a long question")
    question_template: dict[str, str] = Field(
        {}, description=r"{task: text with \1, \2 of its pattern}, default \1"
    )
    separator: str = Field("~", min_length=1, description="ends every prompt; must not occur in a question")
    max_tokens: int = Field(
        256, ge=4, description="bytes of prompt and answer; longer questions are not drawn"
    )
    test_share: float = Field(0.1, gt=0, lt=1, description="share of the questions that only id/test draws")
    complexity_key: str | None = Field(
        None, description="a number in the library's metadata, such as num_terms"
    )

    @field_validator("tasks", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        names = [value] if isinstance(value, str) else value
        return {name: {} for name in names} if isinstance(names, list) else names

    @field_validator("ood", mode="before")
    @classmethod
    def _axes_named(cls, value: Any) -> Any:
        return (
            {axis: cls._named(tasks) for axis, tasks in value.items()} if isinstance(value, dict) else value
        )

    @model_validator(mode="after")
    def _something_to_do(self) -> ReasoningGym:
        empty = [axis for axis, tasks in {"tasks": self.tasks, **self.ood}.items() if not tasks]
        if empty:
            raise ValueError(f"{empty[0]}: at least one task is needed; name one, such as chain_sum")
        for task, pattern in self.question_pattern.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(
                    f"question_pattern of {task}: {pattern!r} is no regular expression: {error}"
                ) from error
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """`id` and one OOD axis per entry of `ood`; `real` and `prompts` also take `test_split`."""
        return ("id", *(f"ood/{axis}" for axis in self.ood))

    @property
    def test_split(self) -> str:
        """The questions of the training distribution that training never draws."""
        return "id/test"

    @cached_property
    def alphabet(self) -> str | None:
        """Printable ASCII where a sample of questions and answers needs no more, else None (open text)."""
        seen = {c for _, entry in self._samples for c in entry.prompt + entry.answer}
        ascii_text = string.printable[:95] + "\n"
        return "".join(sorted(set(ascii_text))) if seen <= set(ascii_text) else None

    def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n questions with the library's answers: frame (parent_id, prompt, response, count)."""
        rows = [(e.parent_id, e.prompt, e.answer) for e in self._draw(n, split, seed)]
        drawn = pl.DataFrame(
            rows, schema={"parent_id": pl.UInt64, "prompt": pl.String, "response": pl.String}, orient="row"
        )
        same = drawn.group_by("prompt", "response", maintain_order=True)
        return same.agg(pl.col("parent_id").first(), pl.len().cast(pl.UInt64).alias("count")).select(
            "parent_id", "prompt", "response", "count"
        )

    def prompts(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n questions; where some are drawn twice, n copies are spread evenly over the distinct ones."""
        distinct = {e.prompt: e.parent_id for e in self._draw(n, split, seed)}
        share, rest = divmod(n, len(distinct))
        counts = [share + (i < rest) for i in range(len(distinct))]
        schema = {"parent_id": pl.UInt64, "prompt": pl.String, "count": pl.UInt64}
        return pl.DataFrame([list(distinct.values()), list(distinct), counts], schema=schema)

    def score(self, samples: pl.DataFrame) -> pl.DataFrame:
        """Verify each response against its question, made again from parent_id.

        Raises:
            ValueError: there is no column parent_id.
        """
        if "parent_id" not in samples.columns:
            raise ValueError("world reasoning_gym: column 'parent_id' is missing; keep it with the prompts")
        rows = samples.select("parent_id", "prompt", "response").iter_rows()
        seen: dict[tuple[int | None, str, str], tuple[Any, ...]] = {}
        verdicts = [seen[row] if row in seen else seen.setdefault(row, self._verdict(*row)) for row in rows]
        return samples.hstack(pl.DataFrame(verdicts, schema=ADDED, orient="row"))

    def truth(self, split: str = "id") -> None:
        """Not enumerable."""
        self._known(split)

    def answers(self, prompts: pl.DataFrame) -> pl.DataFrame | None:
        """The library's own answer to each question; None where a task has questions with several right ones.

        Other spellings of a number ("+7") are right as well but not listed: no training text has them.
        """
        if not {source.task for source in self._sources} <= ONE_ANSWER:
            return None
        entries = [self._entry(i) for i in prompts["parent_id"].unique(maintain_order=True)]
        given = set(prompts["prompt"])
        rows = [(e.prompt, e.answer, canonical(e.answer), e.task) for e in entries if e and e.prompt in given]
        schema = ["prompt", "response", "mode", "strategy"]
        return pl.DataFrame(rows, schema=dict.fromkeys(schema, pl.String), orient="row")

    def _verdict(self, parent_id: int | None, prompt: str, response: str) -> tuple[Any, ...]:
        entry = self._entry(parent_id)
        if entry is None or entry.prompt != prompt:
            return (False, 0.0, None, None, None, None)
        source = self._sources[entry.parent_id // INDICES]
        quality = min(max(float(source.dataset.score_answer(response, entry.raw)), 0.0), 1.0)
        if not response.strip() or (quality < 1 and not set(response) <= self._characters[entry.task]):
            return (False, 0.0, None, None, None, entry.split)
        return (
            True,
            quality,
            self._complexity(entry, response),
            canonical(response),
            entry.task,
            entry.split,
        )

    def _complexity(self, entry: Entry, response: str) -> float | None:
        if self.complexity_key is None:
            return float(len(response))
        number = entry.raw["metadata"].get(self.complexity_key)
        return float(number) if isinstance(number, (int, float)) else None

    def _entry(self, parent_id: int | None) -> Entry | None:
        if parent_id is None or parent_id >= len(self._sources) * INDICES:
            return None
        number, index = divmod(parent_id, INDICES)
        return made(self._sources[number], number, index, self.test_share)

    def _draw(self, n: int, split: str, seed: int) -> list[Entry]:
        """n questions of a split in the order drawn, tasks in turns at random.

        Raises:
            ValueError: fewer than one question in fifty is of the split and short enough.
        """
        numbers = self._known(split)
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        drawn, tried = [], 0
        for entry in self._stream(numbers, rng(seed, "reasoning_gym", split)):
            tried += 1
            if entry.split == split and len((entry.prompt + entry.answer).encode()) <= self.max_tokens:
                drawn.append(entry)
                if len(drawn) == n:
                    return drawn
            if tried > 1000 and len(drawn) * 50 < tried:
                break
        raise ValueError(
            f"only {len(drawn)} of {tried} questions are of split {split!r} and have at most "
            f"max_tokens={self.max_tokens} bytes; "
            "raise max_tokens or test_share, shorten questions (question_pattern) or widen the options"
        )

    def _stream(self, numbers: list[int], draw: np.random.Generator) -> Iterator[Entry]:
        while True:
            which = draw.integers(0, len(numbers), 1024).tolist()
            indices = draw.integers(0, INDICES, 1024).tolist()
            for i, index in zip(which, indices, strict=True):
                yield made(self._sources[numbers[i]], numbers[i], index, self.test_share)

    def _known(self, split: str) -> list[int]:
        """The numbers of the sources of a split."""
        if split not in (*self.splits, self.test_split):
            raise ValueError(f"split must be one of {[*self.splits, self.test_split]}, got {split!r}")
        base = "id" if split == self.test_split else split
        return [i for i, source in enumerate(self._sources) if source.split == base]

    @cached_property
    def _sources(self) -> tuple[Source, ...]:
        plan = [("id", task, options) for task, options in self.tasks.items()]
        for axis, tasks in self.ood.items():
            plan += [
                (f"ood/{axis}", task, self.tasks.get(task, {}) | options) for task, options in tasks.items()
            ]
        keys = tuple((split, task, json.dumps(options, sort_keys=True)) for split, task, options in plan)
        patterns = self.question_pattern
        shorten = tuple((t, patterns[t], self.question_template.get(t, r"\1")) for t in sorted(patterns))
        return sources(keys, shorten, self.separator)

    @cached_property
    def _samples(self) -> list[tuple[int, Entry]]:
        """The same few entries of every source."""
        count = range(len(self._sources))
        return [(n, made(self._sources[n], n, i, self.test_share)) for n in count for i in range(SAMPLE)]

    @cached_property
    def _characters(self) -> dict[str, frozenset[str]]:
        """Characters that the answers of each task use."""
        tasks = {source.task for source in self._sources}
        return {t: classes([e.answer for _, e in self._samples if e.task == t]) for t in tasks}
