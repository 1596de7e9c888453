"""Phase attribution is an exact identity with honest errors."""

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.evals.attribution import attribution
from driftloop.evals.estimate import ROWS, Estimate, row, table

levels = st.floats(1.0, 1e6)


def rows(generation: int, values: dict[str, float], stderr: float = 0.1) -> pl.DataFrame:
    lines = [
        row(stage, f"diversity/hill{q}", "diversity", "modes", Estimate.normal(value, stderr * value, 100))
        for stage, value in values.items()
        for q in (1, 2)
    ]
    return table(lines).select(pl.lit(generation, pl.Int64).alias("generation"), *ROWS)


def terms(metrics: pl.DataFrame, generation: int = 0) -> dict[str, float]:
    found = attribution(metrics).filter(pl.col("generation") == generation)
    return dict(found.select("metric", "value").iter_rows())


@given(levels, levels, levels, levels, st.none() | levels)
def test_the_phases_sum_to_the_total(
    model: float, pool: float, chosen: float, after: float, data: float | None
) -> None:
    mixed = {} if data is None else {"data": data}
    now = rows(0, {"model": model, "pool": pool, "chosen": chosen, **mixed})
    found = terms(pl.concat([now, rows(1, {"model": after})]))
    for q in (1, 2):
        parts = {k: v for k, v in found.items() if k.endswith(f"_q{q}") and "total" not in k}
        assert len(parts) == (3 if data is None else 4)
        assert sum(parts.values()) == pytest.approx(found[f"attribution/total_q{q}"], abs=1e-9)
        assert found[f"attribution/total_q{q}"] == pytest.approx(math.log(after / model), abs=1e-9)


def test_errors_add_in_squares() -> None:
    metrics = pl.concat([rows(0, {"model": 8, "pool": 4, "chosen": 2}), rows(1, {"model": 1})])
    found = attribution(metrics)
    assert found["stderr"].to_list() == pytest.approx([math.hypot(0.1, 0.1)] * len(found))
    assert set(found["stage"]) == {"phase"}


def test_the_last_generation_has_no_phases() -> None:
    assert attribution(rows(3, {"model": 5})).height == 0
    assert attribution(rows(3, {"model": 5})).columns == ["generation", *ROWS]


def test_an_unknown_level_is_nan_and_not_a_number() -> None:
    now = rows(0, {"model": 8, "pool": math.nan, "chosen": 2})
    found = terms(pl.concat([now, rows(1, {"model": 1})]))
    assert math.isnan(found["attribution/sampling_q1"])
    assert not math.isnan(found["attribution/retraining_q1"])
