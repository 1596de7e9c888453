"""World `rewrite`: replace every x by y in a string; the model can write the prompt, which names the rule."""

from __future__ import annotations

import string
from functools import cache
from typing import Literal, NamedTuple, final

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from driftloop.generators.seeds import rng
from driftloop.generators.spec import Spec


class Rules(NamedTuple):
    """The rules (x, y) of one split as letter numbers, shape (rules,), with their probabilities."""

    x: np.ndarray
    y: np.ndarray
    probability: np.ndarray


@final
class Rewrite(Spec):
    """Replace letters: "kbhkckcn=" (k by b in "hkckcn") is answered by "hbcbcn"; modes are rules, "k>b".

    Strategies are the letters replaced, complexity is edits per string. One place of the string, drawn
    uniformly, holds the letter to replace; the others hold uniform letters. Rules seen in training have Zipf
    frequencies in an order fixed by `holdout_seed`; `ood/rules` draws the held-out rules uniformly,
    `ood/length` draws the seen rules with longer strings.
    """

    kind: Literal["rewrite"] = "rewrite"
    letters: int = Field(16, ge=3, le=26, description="size of the alphabet; letters * (letters - 1) rules")
    length: int = Field(6, ge=1, le=10, description="letters of the string")
    longer: int = Field(2, ge=1, le=10, description="letters more in ood/length")
    zipf: float = Field(0.7, ge=0, le=3, description="exponent of the seen rules' frequencies")
    holdout: float = Field(0.25, gt=0, lt=1, description="share of the rules that training never shows")
    holdout_seed: int = Field(0, ge=0, description="fixes the held-out rules and the order of the others")

    @model_validator(mode="after")
    def _prompts_fit_their_ids(self) -> Rewrite:
        if self.length + self.longer > 10:
            got = f"length={self.length} and longer={self.longer}"
            raise ValueError(f"length + longer must be at most 10, got {got}; lower one")
        return self

    @property
    def splits(self) -> tuple[str, ...]:
        """Seen rules; held-out rules; longer strings."""
        return ("id", "ood/rules", "ood/length")

    @property
    def alphabet(self) -> str:
        """Letters and the equals sign."""
        return string.ascii_lowercase[: self.letters] + "="

    @property
    def separator(self) -> str:
        """The equals sign."""
        return "="

    @property
    def max_tokens(self) -> int:
        """Rule, longest string twice, and the equals sign."""
        return 3 + 2 * (self.length + self.longer)

    def real(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n right texts: frame (prompt, response, count), equal texts in one row."""
        drawn = self._draw(n, split, seed)
        return drawn.group_by("prompt", "response", maintain_order=True).agg(
            pl.len().cast(pl.UInt64).alias("count")
        )

    def prompts(self, n: int, split: str = "id", *, seed: int) -> pl.DataFrame:
        """Draw n fresh prompts: frame (parent_id, prompt, count); the id spells it, 5 bits a letter."""
        drawn = (
            self._draw(n, split, seed).group_by("prompt", maintain_order=True).agg(pl.len().alias("count"))
        )
        spelled = [sum((ord(c) - 96) << 5 * i for i, c in enumerate(p[:-1])) for p in drawn["prompt"]]
        parents = pl.Series("parent_id", spelled, pl.UInt64)
        return drawn.select(parents, "prompt", pl.col("count").cast(pl.UInt64))

    def score(self, samples: pl.DataFrame) -> pl.DataFrame:
        """Verify each row exactly; valid: rule, string and answer have the right letters and lengths."""
        rows = _parsed(samples, self)
        length = pl.col("_z").str.len_chars()
        rule = pl.col("_x") + ">" + pl.col("_y")
        split = (
            pl.when(rule.is_in(self._held_out))
            .then(pl.lit("ood/rules"))
            .when(length != self.length)
            .then(pl.lit("ood/length"))
            .when(length == self.length)
            .then(pl.lit("id"))
        )
        lettered = pl.col("response").str.contains(f"^{self._letter}+$")
        answered = lettered & (pl.col("response").str.len_chars() == length)
        right = pl.Series(rewritten(rows["_x"], rows["_y"], rows["_z"]), dtype=pl.String)
        edits = pl.col("_z").str.count_matches(pl.col("_x"), literal=True).cast(pl.Float64)
        valid = answered.fill_null(False)
        return rows.select(
            *samples.columns,
            valid.alias("valid"),
            (valid & (pl.col("response") == right)).fill_null(False).cast(pl.Float64).alias("quality"),
            pl.when(valid).then(edits).alias("complexity"),
            pl.when(valid).then(rule).alias("mode"),
            pl.when(valid).then(pl.col("_x")).alias("strategy"),
            split.alias("split"),
        )

    def truth(self, split: str = "id") -> pl.DataFrame | None:
        """Every rule, its prefix "xy" and its probability; None for ood/length, which no prefix tells."""
        if split == "ood/length":
            return None
        rules = self._rules(split)
        x, y = _letters(rules.x), _letters(rules.y)
        return pl.DataFrame({"x": x, "y": y, "probability": rules.probability}).select(
            (pl.col("x") + pl.col("y")).alias("prompt"),
            pl.lit("").alias("response"),
            (pl.col("x") + ">" + pl.col("y")).alias("mode"),
            pl.col("x").alias("strategy"),
            "probability",
            pl.lit(False).alias("complete"),
        )

    def answers(self, prompts: pl.DataFrame) -> pl.DataFrame:
        """The one right response to each well-formed prompt; ill-formed prompts have none."""
        asked = _parsed(prompts.select("prompt").unique(maintain_order=True), self).drop_nulls("_z")
        right = pl.Series("response", rewritten(asked["_x"], asked["_y"], asked["_z"]), dtype=pl.String)
        mode = (pl.col("_x") + ">" + pl.col("_y")).alias("mode")
        return asked.select("prompt", right, mode, pl.col("_x").alias("strategy"))

    @property
    def _letter(self) -> str:
        return f"[a-{string.ascii_lowercase[self.letters - 1]}]"

    @property
    def _held_out(self) -> list[str]:
        rules = self._rules("ood/rules")
        return [x + ">" + y for x, y in zip(_letters(rules.x), _letters(rules.y), strict=True)]

    def _rules(self, split: str) -> Rules:
        if split not in self.splits:
            raise ValueError(f"split must be one of {list(self.splits)}, got {split!r}")
        seen, unseen = _partition(self.letters, self.holdout, self.holdout_seed, self.zipf)
        return unseen if split == "ood/rules" else seen

    def _draw(self, n: int, split: str, seed: int) -> pl.DataFrame:
        """n texts, one row each, in the order they were drawn."""
        if n < 1:
            raise ValueError(f"n must be at least 1, got {n}")
        rules = self._rules(split)
        draw = rng(seed, "rewrite", split)
        length = self.length + (self.longer if split == "ood/length" else 0)
        which = draw.choice(len(rules.x), size=n, p=rules.probability)
        x, y = rules.x[which], rules.y[which]
        z = draw.integers(0, self.letters, (n, length))
        z[np.arange(n), draw.integers(0, length, n)] = x
        w = np.where(z == x[:, None], y[:, None], z)
        text = np.concatenate([x[:, None], y[:, None], z, w], axis=1)
        whole = pl.DataFrame({"text": _words(text)})
        return whole.select(
            (pl.col("text").str.slice(0, 2 + length) + "=").alias("prompt"),
            pl.col("text").str.slice(2 + length).alias("response"),
        )


@cache
def _partition(letters: int, holdout: float, holdout_seed: int, zipf: float) -> tuple[Rules, Rules]:
    """Seen rules with Zipf probabilities, held-out rules with equal ones."""
    pairs = np.array([(x, y) for x in range(letters) for y in range(letters) if x != y])
    pairs = rng(holdout_seed, "rewrite", "holdout").permutation(pairs)
    cut = min(max(round(holdout * len(pairs)), 1), len(pairs) - 1)
    unseen, seen = pairs[:cut], pairs[cut:]
    zipfian = np.arange(1, len(seen) + 1, dtype=np.float64) ** -zipf
    return (
        Rules(seen[:, 0], seen[:, 1], zipfian / zipfian.sum()),
        Rules(unseen[:, 0], unseen[:, 1], np.full(cut, 1 / cut)),
    )


def _parsed(samples: pl.DataFrame, world: Rewrite) -> pl.DataFrame:
    """Add rule letters `_x`, `_y` and string `_z`; all null where the prompt is ill-formed."""
    letter, most = world._letter, world.length + world.longer
    well_formed = pl.col("prompt").str.contains(f"^{letter}{{2}}{letter}{{1,{most}}}=$")
    x, y = pl.col("prompt").str.slice(0, 1), pl.col("prompt").str.slice(1, 1)
    z = pl.col("prompt").str.slice(2).str.strip_suffix("=")
    asks = well_formed & (x != y) & z.str.contains(x, literal=True)
    parts = {"_x": x, "_y": y, "_z": z}
    return samples.with_columns(pl.when(asks).then(part).alias(name) for name, part in parts.items())


def rewritten(x: pl.Series, y: pl.Series, z: pl.Series) -> list[str | None]:
    """z with every letter x replaced by y, row by row; null stays null."""
    rows = zip(x, y, z, strict=True)
    return [None if text is None else text.replace(old, new) for old, new, text in rows]


def _letters(numbers: np.ndarray) -> list[str]:
    return [string.ascii_lowercase[i] for i in numbers]


def _words(letters: np.ndarray) -> list[str]:
    """Rows of letter numbers, shape (rows, length), as strings."""
    text = (letters + ord("a")).astype(np.uint8).tobytes().decode("ascii")
    width = letters.shape[1]
    return [text[i : i + width] for i in range(0, len(text), width)]
