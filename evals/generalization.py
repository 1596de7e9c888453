"""Generalization on fixed real test sets: in distribution and on each OOD axis apart, never merged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Literal

import numpy as np
import polars as pl
from scipy.special import gammaln

from driftloop.evals.estimate import Context, Estimate, mean, row, table
from driftloop.evals.exam import Same, Scores, sit
from driftloop.evals.rarity import STRATA, stratify
from driftloop.generators.contracts import Generator, Sampling, World
from driftloop.generators.seeds import stream

BUDGETS = (1, 8, 64)
Values = dict[str, np.ndarray]  # per prompt, shape (prompts,); NaN where the prompt cannot be judged


def test_sets(world: World, size: int, *, seed: int) -> dict[str, pl.DataFrame]:
    """Fixed held-out real data of every split: frames (prompt, response, count, stratum, n_tokens).

    A world that holds out texts of its own (`test_split`) is tested on those; key `id` all the same. The same
    object comes back for the same arguments, so that everything derived from it is made once.

    Args:
        world: the source; a split with little data gives what it has.
        size: samples per split.
        seed: of the test sets, apart from all seeds of training.
    """
    return _test_sets(Same(world), size, seed)


test_sets.__test__ = False  # type: ignore[attr-defined]  # pytest would collect it by its name


@lru_cache(maxsize=8)
def _test_sets(world_: Same, size: int, seed: int) -> dict[str, pl.DataFrame]:
    world: World = world_.value
    source = {split: split for split in world.splits} | {"id": getattr(world, "test_split", "id")}
    drawn = {s: world.real(size, part, seed=stream(seed, "test", s)) for s, part in source.items()}
    return {split: stratify(_measured(frame), world, split) for split, frame in drawn.items()}


def _measured(frame: pl.DataFrame) -> pl.DataFrame:
    """One row per text; where the world names no tokens, characters and the end mark are counted."""
    known = "n_tokens" in frame.columns
    tokens = pl.col("n_tokens") if known else pl.col("response").str.len_chars() + 1
    keep = [c for c in frame.columns if c not in ("prompt", "response", "count", "n_tokens")]
    rows = frame.with_columns(tokens.cast(pl.UInt32).alias("n_tokens"))
    grouped = rows.group_by("prompt", "response", maintain_order=True)
    return grouped.agg(pl.col("count").sum(), pl.col("n_tokens", *keep).first())


def pass_at_k(n: np.ndarray, right: np.ndarray, k: int) -> np.ndarray:
    """Unbiased chance that one of k answers is right, from `right` of n: 1 - C(n - right, k) / C(n, k).

    Args:
        n: answers per prompt, shape (prompts,).
        right: right answers among them, shape (prompts,).
        k: budget.

    Raises:
        ValueError: k exceeds n for some prompt (the estimator does not extrapolate; arXiv 2510.05197).
    """
    if len(n) and k > n.min():
        raise ValueError(
            f"pass@{k}: needs k <= n, got {int(n.min())} answers to a prompt; draw more or lower k"
        )
    wrong = n - right
    can = wrong >= k
    w, m = np.where(can, wrong, k), n
    log_ratio = gammaln(w + 1) - gammaln(w - k + 1) - gammaln(m + 1) + gammaln(m - k + 1)
    return np.asarray(1 - np.where(can, np.exp(log_ratio), 0.0))


def generalization(
    generator: Generator,
    world: World,
    tests: Mapping[str, pl.DataFrame],
    context: Context,
    scores: Scores | None = None,
    draws: int = 8,
) -> pl.DataFrame:
    """Accuracy, pass@k and surprise on every split, and gaps id - ood: rows of stage `test`.

    Accuracy is the exact probability of a right answer where the world lists its right answers; pass@k is
    then exact too, else it is estimated from `draws` answers per prompt, for k up to `draws`. A world without
    prompts has surprise alone. Prompts without any right answer are left out; `n` counts the others.

    Args:
        generator: the model.
        world: its verifier and right answers.
        tests: from `test_sets`.
        context: seed of the draws.
        scores: from `driftloop.evals.exam.sit` on the same tests; None = made here.
        draws: answers per prompt where no right answers are listed.
    """
    scores = scores or sit(generator, world, tests)
    judged = _judge(generator, scores, context, draws) if world.separator else {}
    rows: list[tuple[object, ...]] = []
    means: dict[str, dict[str, Estimate]] = {}
    for split in world.splits:
        if split not in scores.exam.questions and split not in scores.exam.tests:
            continue
        axis: Literal["id", "ood"] = "id" if split == "id" else "ood"
        weight = scores.exam.questions[split]["weight"].to_numpy() if split in judged else np.zeros(0)
        means[split] = {name: _mean(values, weight) for name, values in judged.get(split, {}).items()}
        rows += [row("test", f"{split}/{name}", axis, "share", e) for name, e in means[split].items()]
        rows += _ability(scores, split, judged.get(split, {}).get("accuracy_exact"), axis)
        rows += [
            row("test", f"{split}/nll_{s}", axis, "nats per token", _nll(scores, split, s)) for s in STRATA
        ]
    return table(rows + _gaps(means))


def _judge(generator: Generator, scores: Scores, context: Context, draws: int) -> dict[str, Values]:
    """Exact accuracy where right answers are listed, sampled pass@k elsewhere, greedy everywhere."""
    exam = scores.exam
    greedy = _greedy(generator, scores)
    judged: dict[str, Values] = {}
    for split, questions in exam.questions.items():
        if split in exam.answers:
            chance = right_mass(scores, split)
            passes = {f"pass{k}": -np.expm1(k * np.log1p(-np.minimum(chance, 1 - 1e-16))) for k in BUDGETS}
            known = np.where(np.isnan(chance), np.nan, greedy[split])
            judged[split] = {"accuracy_exact": chance, "accuracy_greedy": known, **passes}
        else:
            sampled = _sampled(generator, exam.world, questions, draws, stream(context.seed, "pass", split))
            judged[split] = {"accuracy_greedy": greedy[split], **sampled}
    return judged


def right_mass(scores: Scores, split: str) -> np.ndarray:
    """P(right answer | prompt) of each question, shape (questions,); NaN where no answer is right."""
    answers, n = scores.exam.answers[split], scores.exam.questions[split].height
    question = answers["question"].to_numpy()
    mass = np.bincount(question, np.exp(scores.of(answers)), minlength=n)
    return np.asarray(np.where(np.bincount(question, minlength=n) > 0, np.minimum(mass, 1.0), np.nan))


def _greedy(generator: Generator, scores: Scores) -> dict[str, np.ndarray]:
    """1 where the greedy answer is right, per split and question; all splits in one call."""
    asked = [q.select("prompt", pl.lit(split).alias("of")) for split, q in scores.exam.questions.items()]
    if not asked:
        return {}
    prompts = pl.concat(asked)
    said = scores.exam.world.score(generator.greedy(prompts.select("prompt")))
    right = (said["quality"] >= 1).cast(pl.Float64).to_numpy()
    of = prompts["of"].to_numpy()
    return {split: right[of == split] for split in scores.exam.questions}


def _sampled(generator: Generator, world: World, questions: pl.DataFrame, draws: int, seed: int) -> Values:
    if draws < 1:
        return {}
    ids = pl.int_range(questions.height, dtype=pl.UInt64, eager=True).alias("parent_id")
    prompts = questions.select(ids, "prompt", pl.lit(draws, pl.UInt64).alias("count"))
    said = world.score(generator.sample(prompts, Sampling(), seed=seed))
    where, count = said["parent_id"].to_numpy().astype(np.int64), said["count"].to_numpy().astype(float)
    right = np.bincount(where, count * (said["quality"].to_numpy() >= 1), minlength=questions.height)
    return {f"pass{k}": pass_at_k(np.full(len(right), draws), right, k) for k in BUDGETS if k <= draws}


def _mean(values: np.ndarray, weight: np.ndarray) -> Estimate:
    """Mean over the questions that can be judged; each prompt is one cluster."""
    known = ~np.isnan(values)
    if not known.any():
        return Estimate.missing()
    n = int(known.sum())
    shares = weight[known] / weight[known].sum() * n
    return mean(values[known], shares, np.arange(n))._replace(n=n)


def _nll(scores: Scores, split: str, stratum: str) -> Estimate:
    """Surprise per token of held-out real text, nats: ratio of sums, clustered by prompt."""
    test = scores.exam.tests.get(split)
    rows = test.filter(pl.col("stratum") == stratum) if test is not None else None
    if rows is None or not rows.height:
        return Estimate.missing()
    tokens, count = rows["n_tokens"].to_numpy().astype(float), rows["count"].to_numpy().astype(float)
    rate = -scores.of(rows) / tokens
    cluster = rows["prompt"].to_numpy() if scores.exam.world.separator else np.arange(rows.height)
    return mean(rate, count * tokens, cluster)._replace(n=int(count.sum()))


def _ability(
    scores: Scores, split: str, chance: np.ndarray | None, axis: Literal["id", "ood"]
) -> list[tuple[object, ...]]:
    """Accuracy by rarity of what the prompt asks for: ability, which outlives the propensity to say it unasked.

    Only where every prompt asks for one stratum, as in a world whose prompt names the mode.
    """
    test = scores.exam.tests.get(split)
    if chance is None or test is None or test["stratum"].n_unique() < 2:
        return []
    asked = test.group_by("prompt", maintain_order=True).agg(pl.col("stratum").unique())
    if not (asked["stratum"].list.len() == 1).all():
        return []
    questions = scores.exam.questions[split].join(asked, on="prompt", how="left", maintain_order="left")
    stratum, weight = questions["stratum"].list.first().to_numpy(), questions["weight"].to_numpy()
    found = {s: _mean(chance[stratum == s], weight[stratum == s]) for s in STRATA}
    return [row("test", f"{split}/accuracy_{s}", axis, "share", e) for s, e in found.items()]


def _gaps(means: dict[str, dict[str, Estimate]]) -> list[tuple[object, ...]]:
    """id - ood for exact and greedy accuracy; prompts differ, so errors add in squares."""
    rows: list[tuple[object, ...]] = []
    for split in [s for s in means if s != "id" and "id" in means]:
        for name in ("accuracy_exact", "accuracy_greedy"):
            if name in means["id"] and name in means[split]:
                a, b = means["id"][name], means[split][name]
                gap = Estimate.normal(a.value - b.value, math.hypot(a.stderr, b.stderr), min(a.n, b.n))
                rows.append(row("test", f"gap/{split.removeprefix('ood/')}/{name}", "gap", "share", gap))
    return rows
