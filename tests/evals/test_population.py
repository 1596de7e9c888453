"""The effective size of a Wright-Fisher chain is its size, and where there is no decay there is no number."""

import math

import numpy as np
import polars as pl
import pytest

from driftloop.evals.estimate import ROWS, Estimate, row, table
from driftloop.evals.population import effective_population, fit_decay


def wright_fisher(copies: int, generations: int, lineages: int, seed: int) -> np.ndarray:
    """H = 1 - sum p^2, shape (lineages, generations); 20 types, uniform at first."""
    draw, p = np.random.default_rng(seed), np.full((lineages, 20), 1 / 20)
    found = []
    for _ in range(generations):
        found.append(1 - (p**2).sum(axis=1))
        p = draw.multinomial(copies, p) / copies
    return np.stack(found, axis=1)


def test_a_simulated_chain_has_its_own_size() -> None:
    h = wright_fisher(100, 40, 2000, seed=0)
    found = fit_decay(h.mean(axis=0), h.std(axis=0) / math.sqrt(2000) + 1e-9)
    sizes = [fit_decay(part.mean(axis=0)).size.value for part in np.split(h, 20)]
    scatter = float(np.std(sizes)) / math.sqrt(20)
    assert abs(np.mean(sizes) - 100) < 4 * scatter
    assert found.size.value == pytest.approx(100, abs=6)
    assert found.r2 > 0.99
    assert found.reason == ""


def test_keeping_half_at_random_halves_the_size() -> None:
    whole, half = (fit_decay(wright_fisher(n, 40, 2000, seed=n).mean(axis=0)).size.value for n in (100, 50))
    assert half / whole == pytest.approx(0.5, abs=0.15)


def test_an_exact_decay_is_recovered_exactly() -> None:
    found = fit_decay(0.9 * (1 - 1 / 37) ** np.arange(8))
    assert found.size.value == pytest.approx(37)
    assert found.size.lo == pytest.approx(37)
    assert found.r2 == pytest.approx(1)


@pytest.mark.parametrize(
    ("h", "reason"),
    [
        (np.array([0.9, 0.8]), "needs at least 3"),
        (np.array([0.9, 0.5, 0.0]), "no logarithm"),
        (np.array([0.5, 0.6, 0.7]), "does not fall"),
        (np.array([0.9, 0.5, 0.9, 0.5, 0.88]), "not decay geometrically"),
    ],
)
def test_where_there_is_no_decay_there_is_a_reason_and_no_number(h: np.ndarray, reason: str) -> None:
    found = fit_decay(h)
    assert math.isnan(found.size.value)
    assert reason in found.reason


def lines(stage: str, metric: str, values: list[float]) -> pl.DataFrame:
    parts = [table([row(stage, metric, "diversity", "modes", Estimate.normal(v, 0.1, 100))]) for v in values]
    return pl.concat(
        part.select(pl.lit(t).alias("generation").cast(pl.Int64), *ROWS) for t, part in enumerate(parts)
    )


def test_the_exact_number_is_preferred_to_the_sampled_one() -> None:
    sizes = [10 * 0.9**t + 1 for t in range(6)]
    exact = lines("test", "diversity/exact_hill2", sizes)
    sampled = lines("model", "diversity/hill2_unbiased", [12.0, 3, 11, 2, 14, 5])
    both, alone = effective_population(pl.concat([exact, sampled])), effective_population(exact)
    assert both.equals(alone)
    assert both["generation"].to_list() == [5, 5]
    assert both["metric"].to_list() == ["loop/effective_population", "loop/effective_population_fit_r2"]
    assert math.isnan(effective_population(sampled)["value"][0])


def test_no_hill_rows_give_nan() -> None:
    assert effective_population(lines("model", "diversity/hill1", [3.0, 2, 1]))["value"].is_nan().all()
