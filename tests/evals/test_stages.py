"""Properties that every measure of a stage has."""

import math
from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop.evals.estimate import ROWS, Context
from driftloop.evals.stages import describe, measures

Scored = Callable[..., pl.DataFrame]
CONTEXT = Context(n=30, seed=1, embedding_size=32)
rows = st.lists(
    st.tuples(st.sampled_from(["a", "ab", "abc", "b+c", "two words", "three little words", "é", ""]),
              st.integers(1, 6), st.integers(0, 2), st.sampled_from([0.0, 0.5, 1.0])),
    min_size=1, max_size=25,
)  # fmt: skip
few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def values(samples: pl.DataFrame) -> np.ndarray:
    return describe(samples, "pool", CONTEXT).select("value", "stderr", "lo", "hi", "n").to_numpy()


def build(scored: Scored, drawn: list[tuple[str, int, int, float]]) -> pl.DataFrame:
    responses, count, prompts, quality = (list(column) for column in zip(*drawn, strict=True))
    return scored(responses, count, prompts, quality)


@few
@given(drawn=rows, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(
    scored: Scored, drawn: list[tuple[str, int, int, float]], seed: int
) -> None:
    samples = build(scored, drawn)
    mixed = samples.sample(fraction=1, shuffle=True, seed=seed)
    np.testing.assert_allclose(values(mixed), values(samples), rtol=1e-9, atol=1e-9)


@few
@given(drawn=rows)
def test_a_row_with_count_5_is_five_rows_with_count_1(
    scored: Scored, drawn: list[tuple[str, int, int, float]]
) -> None:
    samples = build(scored, drawn)
    single = samples.select(pl.all().repeat_by("count").explode(empty_as_null=False))
    single = single.with_columns(pl.lit(1, pl.UInt64).alias("count"))
    np.testing.assert_allclose(values(single), values(samples), rtol=1e-9, atol=1e-9)


DIVERSE = ["hill0", "hill1", "hill2", "hill_inf", "valid_u", "strategy_hill1"]


@few
@given(k=st.integers(2, 8), extra=st.integers(1, 50))
def test_duplicates_never_raise_diversity(scored: Scored, k: int, extra: int) -> None:
    """More copies of one of k equally frequent texts: no effective number of modes grows."""
    names = [chr(97 + i) * (i + 1) for i in range(k)]
    context = Context(n=10_000, seed=0, embedding_size=64)
    before = describe(scored(names, [20] * k), "pool", context)
    after = describe(scored(names, [20 + extra] + [20] * (k - 1)), "pool", context)
    for name in DIVERSE:
        here = pl.col("metric") == f"diversity/{name}"
        assert after.filter(here)["value"][0] <= before.filter(here)["value"][0] + 1e-9, name


@few
@given(drawn=rows)
def test_saying_everything_twice_adds_nothing(
    scored: Scored, drawn: list[tuple[str, int, int, float]]
) -> None:
    """Plug-in numbers depend on shares alone (where the sample size allows everything to be used)."""
    samples, context = build(scored, drawn), Context(10_000, 0, 32)
    one, two = (
        dict(describe(frame, "pool", context).select("metric", "value").iter_rows())
        for frame in (samples, samples.with_columns(pl.col("count") * 2))
    )
    for name in (f"diversity/{n}" for n in ("hill0", "hill1", "hill2", "hill_inf", "vendi1", "vendi2")):
        assert two[name] == pytest.approx(one[name]) or math.isnan(one[name]), name


def test_an_empty_frame_gives_nan_for_every_measure(scored: Scored) -> None:
    found = describe(scored([]), "chosen", CONTEXT)
    assert found["value"].is_nan().all()
    assert found["n"].sum() == 0
    assert found.columns == list(ROWS)


def test_rows_with_count_0_are_no_samples(scored: Scored) -> None:
    with_ghosts = scored(["a", "b", "c"], [3, 2, 0])
    np.testing.assert_allclose(values(with_ghosts), values(scored(["a", "b"], [3, 2])))


def test_a_million_million_copies_cost_twenty_rows(scored: Scored) -> None:
    """Counts are never expanded, and a uniform table reads as uniform."""
    names = [f"{i:02}" for i in range(20)]
    found = describe(scored(names, [5 * 10**10] * 20), "pool", Context(1000, 0))
    by_name = dict(found.select("metric", "value").iter_rows())
    assert by_name["diversity/hill2_unbiased"] == pytest.approx(20, rel=1e-6)
    assert by_name["diversity/hill0"] == pytest.approx(20, abs=1e-6)


def test_stages_of_different_size_compare(scored: Scored) -> None:
    """The same distribution at 3,000 and at 1,000 copies gives the same rarefied numbers."""
    draw = np.random.default_rng(0)
    p = np.arange(1, 101.0) ** -1 / (np.arange(1, 101.0) ** -1).sum()
    names = np.array([f"{i:03}" for i in range(100)])
    context = Context(1000, 3)
    big, small = (describe(scored(list(draw.choice(names, n, p=p))), "pool", context) for n in (3000, 1000))
    for name in ("hill0", "hill1", "hill2", "vendi1", "vendi2", "distinct2", "compression_ratio"):
        here = pl.col("metric") == f"diversity/{name}"
        a, b = (frame.filter(here).row(0, named=True) for frame in (big, small))
        assert a["n"] == b["n"] == 1000
        assert abs(a["value"] - b["value"]) < 4 * math.hypot(a["stderr"], b["stderr"]), name


def test_every_measure_says_what_it_is() -> None:
    names = [m.name for m in measures()]
    assert names == sorted(set(names))
    assert all(m.question.endswith("?") and m.unit and m.name.count("/") == 1 for m in measures())


def test_a_count_of_the_wrong_type_is_named(scored: Scored) -> None:
    samples = scored(["a"]).with_columns(pl.col("count").cast(pl.Int32))
    with pytest.raises(ValueError, match="column 'count' must be u64, got Int32"):
        describe(samples, "pool", CONTEXT)
