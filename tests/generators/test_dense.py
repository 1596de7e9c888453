"""Plain sampling follows the network's own probabilities."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from driftloop.generators.contracts import Sampling
from driftloop.generators.engines.dense import Drawn, draw, tempered
from driftloop.generators.engines.passes import Passes
from driftloop.generators.models.llama import Llama, Shape

SHAPE = Shape(5, 16, 2, 4, 2, 24, context=6)
STOP, LIMIT = 2, 3
MODEL = Llama.fresh(SHAPE, seed=3)
MODEL.flat.mul_(1.5)


def drawn(counts: list[int], *, seed: int = 0, limit: int = LIMIT, **settings: float) -> Drawn:
    prompts = [np.array(p) for p in ([1, 3], [1, 4], [1, 3, 4])][: len(counts)]
    sampling = Sampling(**settings)
    return draw(
        SHAPE,
        MODEL.hf_state(),
        prompts,
        np.array(counts),
        sampling=sampling,
        stop=STOP,
        limit=limit,
        seed=seed,
    )


def logprob(prompt: list[int], answer: list[int]) -> float:
    ids = np.array([prompt + answer])
    return -float(Passes(MODEL).nll(ids)[len(prompt) - 1 :].sum())


def answers() -> list[list[int]]:
    """Every continuation of at most LIMIT tokens that stops, or fills the limit."""
    whole = [list(t) for n in range(1, LIMIT + 1) for t in product(range(SHAPE.vocab), repeat=n)]
    return [t for t in whole if STOP not in t[:-1] and (t[-1] == STOP or len(t) == LIMIT)]


def test_frequencies_are_the_networks_probabilities() -> None:
    """Chi-square; its p-value must exceed what 4 standard errors leave (6e-5)."""
    n = 20_000
    found = drawn([n])
    seen = {tuple(row[row >= 0].tolist()) for row in found.tokens}
    assert seen <= {tuple(a) for a in answers()}
    p = np.exp([logprob([1, 3], a) for a in answers()])
    assert p.sum() == pytest.approx(1, abs=1e-5)
    padded = np.array([a + [-1] * (LIMIT - len(a)) for a in answers()])
    counts = np.array([(found.tokens == row).all(1).sum() for row in padded])
    rare = p * n < 5
    grouped = [*counts[~rare], counts[rare].sum()], np.array([*p[~rare], p[rare].sum()])
    assert chisquare(grouped[0], grouped[1] / grouped[1].sum() * n).pvalue > 6e-5


def test_log_probabilities_are_those_of_the_passes_at_any_temperature() -> None:
    found = drawn([20, 30, 10], temperature=2.0, top_p=0.9)
    prompts = [[1, 3], [1, 4], [1, 3, 4]]
    for index, row, value in zip(found.prompt, found.tokens, found.logprob, strict=True):
        assert value == pytest.approx(logprob(prompts[index], row[row >= 0].tolist()), abs=1e-4)


def test_every_prompt_gets_its_count_and_nothing_follows_the_stop() -> None:
    found = drawn([3, 0, 4])
    assert np.bincount(found.prompt, minlength=3).tolist() == [3, 0, 4]
    assert (found.copies == 1).all()
    for row in found.tokens:
        text = row[row >= 0].tolist()
        assert STOP not in text[:-1]
        assert row[len(text) :].tolist() == [-1] * (LIMIT - len(text))


def test_the_context_ends_what_the_limit_does_not() -> None:
    found = drawn([50, 0, 50], limit=10)
    lengths = (found.tokens >= 0).sum(1)
    assert lengths[found.prompt == 0].max() <= SHAPE.context - 2
    assert lengths[found.prompt == 2].max() <= SHAPE.context - 3


def test_draws_repeat_under_a_seed() -> None:
    same = [drawn([40], seed=s).tokens.tolist() for s in (1, 1, 2)]
    assert same[0] == same[1] != same[2]


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    found = draw(
        SHAPE, MODEL.hf_state(), [np.array([1, 3])], np.array([1]),
        sampling=Sampling(), stop=STOP, limit=LIMIT, seed=0, greedy=True,
    )  # fmt: skip
    text: list[int] = []
    while len(text) < LIMIT and STOP not in text:
        text.append(int(np.argmax([logprob([1, 3], [*text, t]) for t in range(SHAPE.vocab)])))
    assert found.tokens[0][found.tokens[0] >= 0].tolist() == text


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_p": 0.79}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.81}, [0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95, 0]),
        ({"min_p": 0.5}, [0.625, 0.375, 0, 0]),
        ({"temperature": 0.5}, [0.25 / 0.365, 0.09 / 0.365, 0.0225 / 0.365, 0.0025 / 0.365]),
        ({"top_p": 0.01}, [1, 0, 0, 0]),
    ],
)
def test_truncation_keeps_the_nucleus(settings: dict[str, float], expected: list[float]) -> None:
    logits = torch.tensor([[0.5, 0.3, 0.15, 0.05]]).log()
    assert tempered(logits, Sampling(**settings))[0].tolist() == pytest.approx(expected)


def test_a_prompt_that_fills_the_context_is_refused() -> None:
    with pytest.raises(ValueError, match=r"prompts must leave room in context=6, got a prompt of 6 tokens"):
        draw(
            SHAPE, MODEL.hf_state(), [np.ones(6, np.int64)], np.array([1]),
            sampling=Sampling(), stop=STOP, limit=LIMIT, seed=0,
        )  # fmt: skip
