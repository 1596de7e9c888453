"""World `targets`: the prompt is a number, the answer any expression with that value; all enumerable."""

from __future__ import annotations

import math
from functools import cached_property
from itertools import product
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec

Operation = Literal["+", "-", "*"]
LARGER = 24  # targets of the split ood/larger: limit .. limit + 23


class Targets(Spec):
    """Make the target: "07:" is answered by "05+02"; a mode is an expression, a strategy is an operator.

    A mode is an expression with the operands of + and * in ascending order. Complexity counts schoolbook
    steps: 1 for the operator plus every unit carried or borrowed. The corpus draws a target, an operator that
    can make it, an expression and an operand order, each uniformly. A target that no expression makes belongs
    to no split.
    """

    kind: Literal["targets"] = "targets"
    limit: int = Field(60, ge=4, le=500, description="targets are 0..limit-1, operands are below limit")
    min_operand: int = Field(
        2, ge=0, description="smallest operand; below 2 there are shortcuts such as T+0 and T*1"
    )
    operations: tuple[Operation, ...] = Field(("+", "-", "*"), min_length=1)
    holdout: float = Field(
        0.2, ge=0, lt=1, description="least share of the targets that only ood/targets asks for"
    )
    holdout_seed: int = Field(0, ge=0, description="which targets are held out; apart from the run's seeds")

    @model_validator(mode="after")
    def _settings_agree(self) -> Targets:
        if self.min_operand >= self.limit:
            raise ValueError(f"min_operand={self.min_operand} must be below limit={self.limit}; lower it")
        if len(set(self.operations)) < len(self.operations):
            raise ValueError(f"operations={self.operations} names one twice; name each once")
        if (made := self._makeable()) - math.ceil(self.holdout * made) < 1:
            raise ValueError(
                f"holdout={self.holdout} of {made} targets that can be made leaves none to train on; raise limit, "
                "lower holdout or min_operand, or allow more operations"
            )
        return self

    def _makeable(self) -> int:
        """How many targets below the limit some expression makes; without writing the expressions."""
        a = np.arange(self.min_operand, self.limit)
        values = {"+": np.add, "-": np.subtract, "*": np.multiply}
        made = np.concatenate([values[op].outer(a, a).ravel() for op in self.operations])
        return len(np.unique(made[(made >= 0) & (made < self.limit)]))

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """`id`, then `ood/targets` and `ood/larger` where they have any target that can be made."""
        here = set(self._targets["split"])
        return tuple(s for s in ("id", "ood/targets", "ood/larger") if s in here)

    @property
    def alphabet(self) -> str:
        """Digits, the colon and the operators."""
        return "0123456789:" + "".join(self.operations)

    @property
    def separator(self) -> str:
        """The colon."""
        return ":"

    @property
    def max_tokens(self) -> int:
        """Three numbers, a colon and an operator."""
        return 3 * self._digits + 2

    def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n pairs: frame (prompt, response, count), one row per distinct pair."""
        truth = self.truth(split)
        counts = rng(seed).multinomial(n, truth["probability"].to_numpy()).astype(np.uint64)
        return truth.select("prompt", "response").with_columns(count=counts).filter(pl.col("count") > 0)

    def prompts(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """n prompts spread evenly over the split's targets; which targets get one more is drawn."""
        targets = self._of(self._targets, split)
        share, rest = divmod(n, targets.height)
        counts = np.full(targets.height, share, np.uint64)
        counts[rng(seed).permutation(targets.height)[:rest]] += np.uint64(1)
        rows = targets.select(pl.col("target").cast(pl.UInt64).alias("parent_id"), "prompt")
        return rows.with_columns(count=counts).filter(pl.col("count") > 0)

    def score(self, samples: pl.DataFrame) -> pl.DataFrame:
        """Look every prompt and response up; quality is 1 where the value is the target."""
        known = self._prompts, self._responses
        joined = samples.join(known[0], on="prompt", how="left", maintain_order="left").join(
            known[1], on="response", how="left", maintain_order="left"
        )
        valid = pl.col("target").is_not_null() & pl.col("value").is_not_null()
        only = {name: pl.when(valid).then(pl.col(name)) for name in ("complexity", "mode", "strategy")}
        return joined.select(
            *samples.columns,
            valid.alias("valid"),
            (pl.col("value") == pl.col("target")).fill_null(False).cast(pl.Float64).alias("quality"),
            only["complexity"].alias("complexity"),
            only["mode"].alias("mode"),
            only["strategy"].alias("strategy"),
            pl.col("split"),
        )

    def truth(self, split: str = "id") -> pl.DataFrame:
        """Every right pair of the split with its probability in the corpus."""
        rows = self._of(self._right, split)
        return rows.with_columns(
            probability=pl.col("within") / pl.col("prompt").n_unique(), complete=pl.lit(True)
        ).select("prompt", "response", "mode", "strategy", "probability", "complete")

    def answers(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """Every right response to every prompt given; a prompt without any has no row."""
        columns = self._right.select("prompt", "response", "mode", "strategy")
        return columns.join(prompts.select("prompt").unique(), on="prompt", how="semi", maintain_order="left")

    def _of(self, rows: pl.DataFrame, split: str) -> pl.DataFrame:
        if split not in self.splits:
            raise ValueError(f"split must be one of {list(self.splits)}, got {split!r} (with these settings)")
        return rows.filter(pl.col("split") == split)

    @cached_property
    def _digits(self) -> int:
        return len(str(self.limit + LARGER - 1))

    @cached_property
    def _responses(self) -> pl.DataFrame:
        """Every well-formed response: response, mode, strategy, value, complexity."""
        numbers = range(self.min_operand, self.limit)
        triples = product(self.operations, numbers, numbers)
        rows = [(*self._written(a, op, b), op, *_worked(a, op, b)) for op, a, b in triples]
        return pl.DataFrame(
            rows, schema=["response", "mode", "strategy", "value", "complexity"], orient="row"
        )

    def _written(self, a: int, op: Operation, b: int) -> tuple[str, str]:
        low, high = (a, b) if op == "-" else (min(a, b), max(a, b))
        wide = self._digits
        return f"{a:0{wide}}{op}{b:0{wide}}", f"{low:0{wide}}{op}{high:0{wide}}"

    @cached_property
    def _prompts(self) -> pl.DataFrame:
        """Every well-formed prompt: target, prompt, split (null where no expression makes the target)."""
        makeable = sorted(set(self._responses["value"]) & set(range(self.limit)))
        n_held = math.ceil(self.holdout * len(makeable))
        held = {int(t) for t in rng(self.holdout_seed, "holdout").permutation(makeable)[:n_held]}
        larger = set(self._responses["value"]) & set(range(self.limit, self.limit + LARGER))
        split = (
            dict.fromkeys(makeable, "id")
            | dict.fromkeys(held, "ood/targets")
            | dict.fromkeys(larger, "ood/larger")
        )
        rows = [(t, f"{t:0{self._digits}}:", split.get(t)) for t in range(10**self._digits)]
        return pl.DataFrame(
            rows, schema={"target": pl.Int64, "prompt": pl.String, "split": pl.String}, orient="row"
        )

    @cached_property
    def _targets(self) -> pl.DataFrame:
        return self._prompts.drop_nulls("split")

    @cached_property
    def _right(self) -> pl.DataFrame:
        """Every right pair and its probability `within` the prompt: operator, expression, operand order."""
        pairs = self._targets.join(
            self._responses, left_on="target", right_on="value", maintain_order="left_right"
        )
        operators = pl.col("strategy").n_unique().over("prompt")
        expressions = pl.col("mode").n_unique().over("prompt", "strategy")
        orders = pl.len().over("prompt", "mode")
        return pairs.with_columns(within=1.0 / (operators * expressions * orders))


def _worked(a: int, op: Operation, b: int) -> tuple[int, float]:
    """Value and steps: what is carried lowers a digit sum by 9 (borrowing is carrying, read backwards)."""
    if op == "+":
        return a + b, 1.0 + (_digit_sum(a) + _digit_sum(b) - _digit_sum(a + b)) / 9
    if op == "*":
        return a * b, 1.0 + (_digit_sum(a) * _digit_sum(b) - _digit_sum(a * b)) / 9
    small, large = min(a, b), max(a, b)
    return a - b, 1.0 + (_digit_sum(small) + _digit_sum(large - small) - _digit_sum(large)) / 9


def _digit_sum(number: int) -> int:
    return sum(map(int, str(number)))
