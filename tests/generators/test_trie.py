"""Sampling by counts is exact, shares what it can, and depends on its seed alone."""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from driftloop.generators.contracts import Sampling
from driftloop.generators.engines import decoder, dense, prefix_score, tile, trie
from driftloop.generators.engines.dense import Drawn
from driftloop.generators.models.llama import Llama, Shape

SHAPE = Shape(vocab=6, width=16, layers=2, heads=2, kv_heads=1, ff=24, context=12)
STOP, LIMIT = 5, 3
ENGINES = [pytest.param(trie.draw, id="trie"), pytest.param(tile.draw, id="tile")]


def weights(*, sharpness: float = 0.5, seed: int = 4) -> dict[str, torch.Tensor]:
    state = dict(Llama.fresh(SHAPE, seed=seed).hf_state())
    state["model.norm.weight"] = state["model.norm.weight"] * sharpness
    return state


def every_answer() -> list[np.ndarray]:
    """All continuations of at most LIMIT tokens."""
    tokens = range(SHAPE.vocab)
    whole = [answer for n in range(1, LIMIT + 1) for answer in itertools.product(tokens, repeat=n)]
    ends = [a for a in whole if STOP not in a[:-1] and (a[-1] == STOP or len(a) == LIMIT)]
    return [np.array(answer) for answer in ends]


def slow_probabilities(prompt: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Probability of each of `every_answer`, token by token; truncation is a loop over sorted tokens."""
    prefixes: dict[tuple[int, ...], np.ndarray] = {}

    def step(prefix: tuple[int, ...]) -> np.ndarray:
        if prefix not in prefixes:
            tails = [np.array([v]) for v in range(SHAPE.vocab)]
            context = [np.array([*prompt, *prefix])] * SHAPE.vocab
            p = np.exp(prefix_score.logprobs(SHAPE, weights(), context, tails) / sampling.temperature)
            p /= p.sum()
            kept, mass = np.zeros_like(p), 0.0
            for v in np.argsort(-p, kind="stable"):
                if mass < sampling.top_p and p[v] >= sampling.min_p * p.max():
                    kept[v] = p[v]
                mass += p[v]
            prefixes[prefix] = kept / kept.sum()
        return prefixes[prefix]

    return np.array([np.prod([step((*a[:i],))[v] for i, v in enumerate(a)]) for a in every_answer()])


def histogram(drawn: Drawn, prompt: int) -> np.ndarray:
    """Copies of each of `every_answer` to one prompt."""
    index = {tuple(a): i for i, a in enumerate(every_answer())}
    counts = np.zeros(len(index))
    for owner, tokens, count in zip(drawn[0], drawn[1], drawn[2], strict=True):
        if owner == prompt:
            counts[index[tuple(tokens[tokens >= 0])]] += count
    return counts


def p_value(counts: np.ndarray, p: np.ndarray) -> float:
    """Chi-square with rare answers pooled; answers of probability 0 must not occur."""
    assert counts[p == 0].sum() == 0
    expected = p * counts.sum()
    rare = expected < 10
    pooled = np.append(counts[~rare], counts[rare].sum()), np.append(expected[~rare], expected[rare].sum())
    keep = pooled[1] > 0
    if keep.sum() == 1:
        return 1.0
    return float(chisquare(pooled[0][keep], pooled[1][keep] * pooled[0].sum() / pooled[1].sum()).pvalue)


SAMPLINGS = [
    Sampling(),
    Sampling(temperature=0.5),
    Sampling(temperature=2.5),
    Sampling(top_p=0.7),
    Sampling(min_p=0.3),
    Sampling(temperature=1.5, top_p=0.8, min_p=0.2),
]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("sampling", SAMPLINGS, ids=str)
def test_answers_follow_their_exact_probabilities(engine, sampling: Sampling) -> None:  # type: ignore[no-untyped-def]
    """Prompts of different lengths, one a prefix of another, one asked for nothing."""
    prompts = [np.array([0, 1, 2]), np.array([0]), np.array([0, 1]), np.array([0, 3])]
    asked = np.array([3000, 2000, 150, 0])
    drawn = engine(SHAPE, weights(), prompts, asked, sampling=sampling, stop=STOP, limit=LIMIT, seed=11)
    assert np.bincount(drawn[0], drawn[2], 4).tolist() == asked.tolist()
    for i in range(3):
        assert p_value(histogram(drawn, i), slow_probabilities(prompts[i], sampling)) > 1e-4


def test_a_million_copies_follow_their_exact_probabilities() -> None:
    """The way of binomials."""
    prompt = np.array([0])
    drawn = trie.draw(
        SHAPE, weights(), [prompt], np.array([10**6]), sampling=Sampling(), stop=STOP, limit=LIMIT, seed=1
    )
    assert drawn[2].sum() == 10**6
    assert p_value(histogram(drawn, 0), slow_probabilities(prompt, Sampling())) > 1e-4


@pytest.mark.parametrize("engine", ENGINES)
def test_log_probabilities_are_at_temperature_one_without_truncation(engine) -> None:  # type: ignore[no-untyped-def]
    prompts = [np.array([0, 1, 2]), np.array([0])]
    sampling = Sampling(temperature=3, top_p=0.9)
    drawn = engine(
        SHAPE, weights(), prompts, np.array([40, 40]), sampling=sampling, stop=STOP, limit=7, seed=2
    )
    given = [prompts[i] for i in drawn[0]]
    answers = [tokens[tokens >= 0] for tokens in drawn[1]]
    np.testing.assert_allclose(drawn[3], prefix_score.logprobs(SHAPE, weights(), given, answers), atol=1e-4)


def test_rows_are_distinct_and_end_where_they_should() -> None:
    prompts = [np.array([0, 1, 2]), np.array([0])]
    drawn = trie.draw(
        SHAPE, weights(), prompts, np.array([500, 500]), sampling=Sampling(), stop=STOP, limit=20, seed=2
    )
    rows = {(int(i), *map(int, tokens)) for i, tokens in zip(drawn[0], drawn[1], strict=True)}
    assert len(rows) == len(drawn[0])
    for owner, tokens in zip(drawn[0], drawn[1], strict=True):
        answer = tokens[tokens >= 0]
        assert (tokens[len(answer) :] == -1).all()
        assert STOP not in answer[:-1]
        assert answer[-1] == STOP or len(answer) == SHAPE.context - len(prompts[owner])


def test_greedy_takes_the_likeliest_token_as_the_plain_engine_does() -> None:
    prompts = [np.array([0, a]) for a in range(5)]
    settings = {"sampling": Sampling(), "stop": STOP, "limit": 6, "seed": 0, "greedy": True}
    ours = trie.draw(SHAPE, weights(), prompts, np.full(5, 3), **settings)  # type: ignore[arg-type]
    plain = dense.draw(SHAPE, weights(), prompts, np.full(5, 1), **settings)  # type: ignore[arg-type]
    assert ours[2].tolist() == [3] * 5
    assert ours[1].tolist() == plain[1].tolist()
    np.testing.assert_allclose(ours[3], plain[3], atol=1e-4)


def test_a_collapsed_model_costs_few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million draws from a model with one mode run the model on one row per position."""
    widths = []
    step = decoder.Decoder.step

    def counting(self, tile, now, tokens):  # type: ignore[no-untyped-def]
        widths.append(tile.shape[-1])
        return step(self, tile, now, tokens)

    monkeypatch.setattr(decoder.Decoder, "step", counting)
    drawn = trie.draw(
        SHAPE,
        weights(sharpness=500),
        [np.array([0])],
        np.array([10**6]),
        sampling=Sampling(),
        stop=STOP,
        limit=8,
        seed=5,
    )
    assert drawn[2].tolist() == [10**6]
    assert len(widths) <= 8
    assert set(widths) == {decoder.LANES}


PROGRAM = """
import sys; sys.path.insert(0, sys.argv[1])
from test_trie import *
drawn = trie.draw(SHAPE, weights(), [np.array([0]), np.array([0, 1])], np.array([400, 1000]),
                  sampling=Sampling(), stop=STOP, limit=9, seed=8)
print([column.tobytes().hex() for column in drawn])
"""


def test_a_seed_fixes_the_draw_in_any_process_and_under_any_number_of_threads() -> None:
    from pathlib import Path

    command = [sys.executable, "-c", PROGRAM, str(Path(__file__).parent)]
    runs = [
        subprocess.run(command, capture_output=True, text=True, check=True, env={"OMP_NUM_THREADS": n}).stdout
        for n in ("1", "2")
    ]
    assert len(runs[0]) > 1000
    assert runs[0] == runs[1]


def test_another_seed_gives_another_draw() -> None:
    draws = [
        trie.draw(
            SHAPE, weights(), [np.array([0])], np.array([50]), sampling=Sampling(), stop=STOP, limit=5, seed=s
        )
        for s in (1, 2)
    ]
    assert draws[0][3].tolist() != draws[1][3].tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(st.lists(st.integers(0, 4), min_size=0, max_size=4), st.integers(0, 60)), max_size=8),
    st.integers(1, 9),
    st.integers(0, 2**62),
)
def test_every_prompt_gets_what_was_asked(asked: list[tuple[list[int], int]], limit: int, seed: int) -> None:
    prompts = [np.array([0, *tail]) for tail, _ in asked]
    counts = np.array([count for _, count in asked], np.int64)
    drawn = trie.draw(
        SHAPE, weights(), prompts, counts, sampling=Sampling(), stop=STOP, limit=limit, seed=seed
    )
    got = np.zeros(len(counts), np.int64)
    np.add.at(got, drawn[0], drawn[2])
    assert got.tolist() == counts.tolist()
    assert (np.diff(drawn[0]) >= 0).all()
    assert drawn[1].shape == (len(drawn[0]), limit)


@pytest.mark.parametrize(
    ("prompts", "counts", "limit", "message"),
    [
        ([[]], [1], 3, r"prompts\[0\].*got 0; prepend the begin mark"),
        ([[0], [0] * 12], [1, 1], 3, r"prompts\[1\].*expected 1 to 11 tokens.*got 12"),
        ([[0]], [-1], 3, r"counts: expected 1 numbers of at least 0"),
        ([[0]], [1, 1], 3, r"counts: expected 1 numbers of at least 0"),
        ([[0]], [1], 0, r"limit: expected at least 1 new token, got 0"),
    ],
)
def test_wrong_questions_are_refused(
    prompts: list[list[int]], counts: list[int], limit: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        trie.draw(
            SHAPE,
            weights(),
            [np.array(p, int) for p in prompts],
            np.array(counts),
            sampling=Sampling(),
            stop=STOP,
            limit=limit,
            seed=0,
        )
