"""Model `categorical`: a table of weights over the strings of a world that can be enumerated."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Literal, Self, final

import numpy as np
import polars as pl

from driftloop.generators.contracts import Sampling, World
from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec

FILE = "table.parquet"


class CategoricalModel(Spec):
    """One free probability per string: what a model of unlimited capacity would learn."""

    kind: Literal["categorical"] = "categorical"

    def fresh(self, world: World, *, seed: int) -> TabularGenerator:
        """Uniform over the strings of every split of the world; `seed` changes nothing.

        Raises:
            ValueError: the world cannot be enumerated.
        """
        truths = [world.truth(split) for split in world.splits]
        known = [truth for truth in truths if truth is not None and truth["complete"].all()]
        if len(known) < len(truths):
            got = f"model: categorical needs a world that can be enumerated, which {world.kind!r} cannot"
            raise ValueError(f"{got}; use model: transformer")
        strings = pl.concat([truth.select("prompt", "response") for truth in known]).sort(
            "prompt", "response"
        )
        return TabularGenerator(Strings(strings), np.ones(strings.height))

    def load(self, path: Path) -> TabularGenerator:
        """Read a generator that `save` wrote."""
        return TabularGenerator.load(path)


@final
class Strings:
    """Pairs (prompt, response), sorted, and where to find them."""

    def __init__(self, frame: pl.DataFrame) -> None:
        self.frame = frame

    @cached_property
    def row(self) -> dict[tuple[str, str], int]:
        """Row of each pair."""
        return {pair: i for i, pair in enumerate(self.frame.iter_rows())}

    @cached_property
    def rows(self) -> dict[str, slice]:
        """Rows of each prompt."""
        lengths = self.frame.group_by("prompt", maintain_order=True).len()
        ends = lengths["len"].cum_sum().to_list()
        return {
            prompt: slice(end - length, end)
            for (prompt, length), end in zip(lengths.iter_rows(), ends, strict=True)
        }

    def find(self, frame: pl.DataFrame) -> np.ndarray:
        """Row of each pair of a frame, -1 where unknown, shape (rows,)."""
        pairs = zip(frame["prompt"].to_list(), frame["response"].to_list(), strict=True)
        return np.array([self.row.get(pair, -1) for pair in pairs], np.int64)


@final
class TabularGenerator:
    """Weights over strings; n draws are one multinomial, so 10^12 of them cost as much as ten.

    A whole response counts as one token: temperature and truncation act on it as a whole.
    """

    def __init__(self, strings: Strings, weights: np.ndarray) -> None:
        self.strings = strings
        self.weights = weights  # of each string, any scale within a prompt

    def sample(self, prompts: pl.DataFrame, sampling: Sampling, *, seed: int) -> pl.DataFrame:
        """Draw `count` responses to each prompt, one row per distinct response."""
        random = rng(seed)
        asked = zip(prompts["prompt"].to_list(), prompts["count"].to_list(), strict=True)
        drawn = [self._counts(prompt, count, sampling, random) for prompt, count in asked]
        owner = np.repeat(np.arange(len(drawn)), [len(rows) for rows, _ in drawn])
        row, count = np.concatenate([np.empty((2, 0), np.int64), *drawn], axis=1)
        parents = prompts["parent_id"].to_list() if "parent_id" in prompts.columns else [None] * len(drawn)
        rows: pl.DataFrame = self.strings.frame[row]
        return rows.select(
            pl.Series("parent_id", [parents[i] for i in owner], dtype=pl.UInt64),
            "prompt",
            "response",
            pl.Series("count", count.astype(np.uint64)),
            pl.Series("logprob", self.logs[row]),
            pl.Series("n_tokens", np.ones(len(row), np.uint32)),
        )

    def greedy(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The likeliest response to each prompt."""
        rows = [self._rows(prompt) for prompt in prompts["prompt"].to_list()]
        best = [r.start + int(self.weights[r].argmax()) for r in rows]
        return prompts.with_columns(self.strings.frame["response"].gather(best))

    def logprob(self, texts: pl.DataFrame, *, complete: bool = True) -> np.ndarray:
        """ln p(response | prompt) in nats, shape (rows,); of all that begin so if not `complete`."""
        if not complete:
            pairs = texts.select("prompt", "response").iter_rows()
            with np.errstate(divide="ignore"):
                return np.log(np.array([self._begun(*pair) for pair in pairs], np.float64))
        rows = self.strings.find(texts)
        return np.where(rows >= 0, self.logs[rows], -np.inf)

    def save(self, path: Path) -> None:
        """Write the table as parquet."""
        self.strings.frame.with_columns(weight=self.weights).write_parquet(path / FILE)

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what `save` wrote."""
        table = pl.read_parquet(path / FILE)
        return cls(Strings(table.select("prompt", "response")), table["weight"].to_numpy())

    def _counts(self, prompt: str, count: int, sampling: Sampling, random: np.random.Generator) -> np.ndarray:
        """Rows drawn and how often, shape (2, rows drawn)."""
        rows = self._rows(prompt)
        drawn = random.multinomial(count, _tempered(np.exp(self.logs[rows]), sampling))
        hit = np.flatnonzero(drawn)
        return np.stack([hit + rows.start, drawn[hit]])

    def _begun(self, prompt: str, beginning: str) -> float:
        rows = self._rows(prompt)
        begins = self.strings.frame["response"][rows].str.starts_with(beginning).to_numpy()
        return float(np.exp(self.logs[rows][begins]).sum())

    def _rows(self, prompt: str) -> slice:
        if prompt not in self.strings.rows:
            known = list(self.strings.rows)[:3]
            raise ValueError(
                f"prompt {prompt!r} is not in the table, which begins {known}; use the world's prompts"
            )
        return self.strings.rows[prompt]

    @cached_property
    def logs(self) -> np.ndarray:
        """ln p of every string given its prompt, shape (strings,); -inf where the weight is 0."""
        logs = np.empty(len(self.weights))
        with np.errstate(divide="ignore"):
            for rows in self.strings.rows.values():
                logs[rows] = np.log(self.weights[rows] / self.weights[rows].sum())
        return logs


def _tempered(p: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Temperature, then min-p and top-p, on whole responses."""
    p = p if sampling.temperature == 1 else (p / p.max()) ** (1 / sampling.temperature)
    p = p / p.sum()
    kept = np.where(p >= sampling.min_p * p.max(), p, 0.0)
    if sampling.top_p < 1:
        order = np.argsort(-p, kind="stable")
        before = np.cumsum(p[order]) - p[order]
        kept[order[before >= sampling.top_p]] = 0.0
    share: np.ndarray = kept / kept.sum()
    return share
