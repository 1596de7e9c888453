"""The numeric lane: worlds and models of numbers, and how they are fitted."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kstest, norm

from driftloop.generators.contracts import Sampling
from driftloop.generators.models.categorical import CategoricalModel
from driftloop.generators.models.gaussian import GaussianGenerator, GaussianModel
from driftloop.generators.models.linear import LinearGenerator, LinearModel
from driftloop.generators.models.normal import RESOLUTION
from driftloop.generators.worlds.categorical import Categorical
from driftloop.generators.worlds.gaussian import Gaussian
from driftloop.generators.worlds.regression import Regression
from driftloop.generators.worlds.written_numbers import read, written
from driftloop.loop.retrain.least_squares import LeastSquares
from driftloop.loop.retrain.moments import Moments

LINE = Regression(dimensions=3, inputs=200, noise=0.5)


def labels(n: int, seed: int = 0) -> pl.DataFrame:
    return LINE.real(n, seed=seed)


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=20))
def test_a_written_number_reads_back_as_the_same_float(values: list[float]) -> None:
    response, typed = written(np.array(values))
    assert pl.DataFrame([response]).select(read())["response"].to_list() == typed.to_list() == values


def test_real_numbers_are_normal_and_their_text_is_their_value() -> None:
    drawn = Gaussian(mean=2, sd=3).real(5000, seed=0)
    assert kstest(drawn["value"], norm(2, 3).cdf).pvalue > 6e-5
    assert drawn.select(read())["response"].equals(drawn["value"], check_names=False)


def test_the_distance_from_the_mean_is_the_complexity() -> None:
    rows = pl.DataFrame({"prompt": "", "response": ["5.0", "-1.0", "2", "x"]})
    scored = Gaussian(mean=2, sd=3).score(rows)
    assert scored["complexity"].to_list() == [1, 1, 0, None]
    assert scored["mode"].to_list() == ["2", "-2", "0", None]
    assert scored["strategy"].to_list() == ["above", "below", "above", None]


def test_the_verifiers_quality_falls_off_around_its_own_centre() -> None:
    world = Regression(dimensions=4, inputs=9, noise=2, offset=3)
    assert np.linalg.norm(world.centre - world.weights) == pytest.approx(3)
    believed = world.design @ world.centre
    rows = world.prompts(9, seed=0).with_columns(written(believed + 2 * 1.5)[0])
    assert world.score(rows)["quality"].to_list() == pytest.approx([math.exp(-(1.5**2) / 2)] * 9)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, norm(1, 2)),
        ({"temperature": 0.25}, norm(1, 1)),
        ({"top_p": 0.6826895}, None),
        ({"min_p": math.exp(-0.5)}, None),
    ],
)
def test_temperature_and_truncation_of_a_density(settings: dict[str, float], expected: Any) -> None:
    model = GaussianGenerator([""], np.array([1.0]), np.array([4.0]))
    drawn = model.sample(pl.DataFrame({"prompt": [""], "count": [4000]}), Sampling(**settings), seed=0)
    value = drawn["value"].to_numpy()
    if expected is not None:
        assert kstest(value, expected.cdf).pvalue > 6e-5
    else:  # both settings cut at one standard deviation
        assert 2.9 < value.max() < 3.001
        assert -1.001 < value.min() < -0.9


def models() -> list[Any]:
    gaussian = GaussianGenerator(["0:", "1:"], np.array([0.0, 5.0]), np.array([1.0, 4.0]))
    linear = LinearGenerator(np.eye(2) * 3, np.array([1.0, -1.0]), 0.5)
    return [pytest.param(model, id=type(model).__name__) for model in (gaussian, linear)]


@pytest.mark.parametrize("model", models())
def test_log_probabilities_are_of_a_small_interval_and_agree_with_the_draws(model: Any) -> None:
    asked = pl.DataFrame({"parent_id": [7, 8], "prompt": ["0:", "1:"], "count": [20, 30]})
    drawn = model.sample(asked, Sampling(), seed=1)
    assert drawn["parent_id"].to_list() == [7] * 20 + [8] * 30
    assert model.logprob(drawn).tolist() == pytest.approx(drawn["logprob"].to_list())
    best = model.greedy(asked.select("prompt"))
    sd = [1.0, 2.0] if isinstance(model, GaussianGenerator) else [0.5, 0.5]
    peak = [math.log(RESOLUTION * norm.pdf(0) / s) for s in sd]
    assert model.logprob(best).tolist() == pytest.approx(peak)
    odd = pl.DataFrame({"prompt": "0:", "response": ["x", "inf", ""]})
    assert (model.logprob(odd) == -np.inf).all()


@pytest.mark.parametrize("model", models())
def test_a_model_of_numbers_comes_back_from_its_folder(model: Any, tmp_path: Path) -> None:
    model.save(tmp_path)
    again = type(model).load(tmp_path)
    asked = pl.DataFrame({"prompt": ["1:", "0:"], "count": [3, 4]})
    assert again.sample(asked, Sampling(), seed=0).equals(model.sample(asked, Sampling(), seed=0))
    spec = GaussianModel() if isinstance(model, GaussianGenerator) else LinearModel()
    assert type(spec.load(tmp_path)) is type(model)


@pytest.mark.parametrize("model", models())
def test_what_a_model_of_numbers_cannot_do_is_named(model: Any) -> None:
    with pytest.raises(ValueError, match=r"prompt '9:' .*use the world's prompts"):
        model.greedy(pl.DataFrame({"prompt": ["9:"]}))
    with pytest.raises(ValueError, match="no probability for the beginning of a number"):
        model.logprob(pl.DataFrame({"prompt": ["0:"], "response": ["1"]}), complete=False)


def test_models_of_numbers_refuse_worlds_of_texts() -> None:
    with pytest.raises(ValueError, match=r"'categorical' wants texts; use world: gaussian"):
        GaussianModel().fresh(Categorical(), seed=0)
    with pytest.raises(ValueError, match=r"'gaussian' has none; use world: regression"):
        LinearModel().fresh(Gaussian(), seed=0)
    with pytest.raises(ValueError, match="needs a world that can be enumerated"):
        CategoricalModel().fresh(Gaussian(), seed=0)


@pytest.mark.parametrize("unbiased", [True, False])
def test_moments_are_numpys(unbiased: bool) -> None:
    world = Gaussian(contexts=3)
    data = world.real(60, seed=0).filter(pl.col("prompt") != "1:")
    fitted, report = Moments(unbiased=unbiased).fit(GaussianModel().fresh(world, seed=0), data, seed=0)
    for i in (0, 2):
        value = data.filter(pl.col("prompt") == f"{i}:")["value"].to_numpy()
        assert fitted.mean[i] == pytest.approx(value.mean())
        assert fitted.variance[i] == pytest.approx(value.var(ddof=int(unbiased)))
    assert (fitted.mean[1], fitted.variance[1]) == (0, 1)
    assert report["tokens_trained"] == 40


def test_counts_and_weights_are_copies() -> None:
    data = Gaussian().real(6, seed=0).with_columns(pl.Series("count", [1, 2, 1, 1, 3, 1], dtype=pl.UInt64))
    fresh = GaussianModel().fresh(Gaussian(), seed=0)
    copied = data[np.repeat(np.arange(6), data["count"].to_numpy().astype(int))].with_columns(
        pl.lit(1, pl.UInt64).alias("count")
    )
    one, other = (Moments().fit(fresh, d, seed=0)[0] for d in (data, copied))
    assert one.variance[0] == pytest.approx(other.variance[0])
    rows = labels(300).with_columns(pl.Series("weight", np.random.default_rng(0).random(300)))
    fresh_line = LinearModel().fresh(LINE, seed=0)
    found = LeastSquares().fit(fresh_line, rows, seed=0)[0].weights
    x, root = LINE.design[fresh_line.find(rows)], np.sqrt(rows["weight"].to_numpy())
    direct = np.linalg.lstsq(x * root[:, None], rows["value"].to_numpy() * root, rcond=None)[0]
    assert found.tolist() == pytest.approx(direct.tolist())


def test_least_squares_find_the_weights() -> None:
    fitted, report = LeastSquares().fit(LinearModel().fresh(LINE, seed=0), labels(20_000), seed=0)
    assert np.abs(fitted.weights - LINE.weights).max() < 4 * 0.5 / math.sqrt(20_000) * 1.3
    assert report["tokens_trained"] == 20_000


def test_too_little_data_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 numbers for a variance, a prompt has 1; keep more"):
        Moments().fit(GaussianModel().fresh(Gaussian(), seed=0), Gaussian().real(1, seed=0), seed=0)
    with pytest.raises(ValueError, match="2 inputs for 3 weights; keep more, or lower dimensions"):
        LeastSquares().fit(LinearModel().fresh(LINE, seed=0), labels(2), seed=0)
