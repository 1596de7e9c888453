"""What every selection policy on disk promises, whatever its kind."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from driftloop.generators.samples import SCORED, SELECTED, Selected, conform, copies, stamp
from driftloop.generators.spec import kinds

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "all": [{}],
    "noisy_verify": [{}, {"phi": 1.0, "psi": 0.0}, {"phi": 0.4, "psi": 0.9, "threshold": 0.5}],
    "quality": [{}, {"strength": 1.0}, {"by": "quality", "threshold": 0.5}],
    "quota": [{}, {"levels": ["prompt", "strategy", "mode"]}, {"verified": False}],
    "uniform": [{}],
    "verify": [{}, {"threshold": 0.5}],
}
KEEPS_EVERYTHING = {"all"}  # asks for a budget that holds the pool
KEEPS_ANYTHING = {"all", "uniform"}  # looks at no verdict
BY_CHANCE = {"noisy_verify"}  # who qualifies is drawn, so fewer than the budget may
ONE_BY_ONE = {"quality", "quota"}  # treat copies one by one, so that 10^9 of them are refused


def policies() -> list[Any]:
    known = kinds("driftloop.selectors", "driftloop.policies")
    chosen = [known[kind](**one) for kind, each in sorted(SETTINGS.items()) if kind in known for one in each]
    return [pytest.param(policy, id=policy.identity()) for policy in chosen]


def test_every_policy_on_disk_has_settings_in_this_file() -> None:
    assert set(SETTINGS) == set(kinds("driftloop.selectors", "driftloop.policies"))


def scored_pool(seed: int, rows: int) -> pl.DataFrame:
    """A pool as scoring leaves it: some rows invalid, some wrong, some many times over."""
    draw = np.random.default_rng(seed)
    strategy, mode = draw.integers(0, 3, rows), draw.integers(0, 6, rows)
    valid = draw.random(rows) < 0.8
    quality = np.where(valid, draw.choice([0.0, 0.5, 1.0], rows), 0.0)
    names = [f"{s}/{m}" if v else None for s, m, v in zip(strategy, mode, valid, strict=True)]
    drawn = pl.DataFrame(
        {
            "prompt": [f"p{i}:" for i in draw.integers(0, 4, rows)],
            "response": [f"r{i}" for i in range(rows)],
            "count": pl.Series(draw.integers(1, 5, rows), dtype=pl.UInt64),
            "logprob": -draw.exponential(3.0, rows),
        },
        schema_overrides={"prompt": pl.String, "response": pl.String},
    )
    return stamp(drawn, generation=1, source="synthetic", seed=seed).with_columns(
        pl.Series("valid", valid, dtype=pl.Boolean),
        pl.Series("quality", quality, dtype=pl.Float64),
        pl.Series("complexity", draw.random(rows), dtype=pl.Float64),
        pl.Series("mode", names, dtype=pl.String),
        pl.Series("strategy", [n and n[0] for n in names], dtype=pl.String),
        pl.Series("split", ["id"] * rows, dtype=pl.String),
    )


def budget_of(policy: Any, pool: pl.DataFrame, share: float) -> int:
    return copies(pool) if policy.kind in KEEPS_EVERYTHING else int(share * copies(pool))


def eligible(policy: Any, pool: pl.DataFrame) -> np.ndarray:
    """Rows that the policy's own settings let through."""
    if policy.kind in KEEPS_ANYTHING:
        return np.ones(pool.height, bool)
    if policy.kind in BY_CHANCE:
        return np.asarray(pool["valid"] & ((pool["quality"] >= policy.threshold) | (policy.psi > 0)))
    threshold = policy.threshold if getattr(policy, "verified", True) else 0.0
    return (pool["valid"] & (pool["quality"] >= threshold)).to_numpy()


pools = st.builds(scored_pool, seed=st.integers(0, 10_000), rows=st.integers(1, 40))
shares = st.sampled_from([0.0, 0.1, 0.33, 0.7, 1.0, 2.0])
quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("policy", policies())
@quick
@given(pool=pools, share=shares, seed=st.integers(0, 100))
def test_the_verdict_is_complete_and_no_more_is_kept_than_allowed(
    policy: Any, pool: pl.DataFrame, share: float, seed: int
) -> None:
    budget = budget_of(policy, pool, share)
    chosen = policy.select(pool, budget, (), seed=seed)
    Selected.validate(conform(chosen, SELECTED, "select"))
    assert chosen["kept"].sum() <= budget
    assert (chosen["kept"] <= chosen["count"]).all()
    assert chosen["weight"].is_finite().all()


@pytest.mark.parametrize("policy", policies())
@quick
@given(pool=pools, share=shares, seed=st.integers(0, 100))
def test_fewer_than_the_budget_are_kept_only_where_fewer_qualify(
    policy: Any, pool: pl.DataFrame, share: float, seed: int
) -> None:
    budget = budget_of(policy, pool, share)
    chosen = policy.select(pool, budget, (), seed=seed)
    may = eligible(policy, pool)
    assert chosen["kept"].to_numpy()[~may].sum() == 0
    most = min(budget, int(pool["count"].to_numpy()[may].sum()))
    if policy.kind in BY_CHANCE and (policy.phi, policy.psi) != (1, 0):
        assert chosen["kept"].sum() <= most
    else:
        assert chosen["kept"].sum() == most


@pytest.mark.parametrize("policy", policies())
@quick
@given(pool=pools, share=shares, seed=st.integers(0, 100))
def test_every_dropped_copy_has_a_reason(policy: Any, pool: pl.DataFrame, share: float, seed: int) -> None:
    chosen = policy.select(pool, budget_of(policy, pool, share), (), seed=seed)
    whole = chosen["kept"] == chosen["count"]
    assert (chosen.filter(whole)["reason"] == "kept").all()
    dropped = chosen.filter(~whole)
    assert (dropped["reason"] != "kept").all()
    assert (dropped["reason"].str.len_chars() > 0).all()
    if policy.kind not in KEEPS_ANYTHING:
        assert (dropped.filter(~pl.col("valid"))["reason"] == "invalid").all()


@pytest.mark.parametrize("policy", policies())
@quick
@given(pool=pools, share=shares)
def test_one_seed_gives_one_verdict_and_leaves_the_pool_alone(
    policy: Any, pool: pl.DataFrame, share: float
) -> None:
    before = pool.clone()
    budget = budget_of(policy, pool, share)
    first = policy.select(pool, budget, (), seed=7)
    assert policy.select(pool, budget, (), seed=7).equals(first)
    assert pool.equals(before)
    assert first.select(list(SCORED)).equals(before)


@pytest.mark.parametrize("policy", policies())
def test_different_seeds_break_ties_differently(policy: Any) -> None:
    pool = scored_pool(3, 60)
    if policy.kind in KEEPS_EVERYTHING or getattr(policy, "strength", 0) == 1:
        return
    budget = copies(pool) // 4
    verdicts = {tuple(policy.select(pool, budget, (), seed=s)["kept"]) for s in range(6)}
    assert len(verdicts) > 1


@pytest.mark.parametrize("policy", policies())
def test_in_any_row_order_a_row_is_kept_as_often_on_average(policy: Any) -> None:
    """Draws follow the rows' places, so single verdicts differ; their means over seeds must agree."""
    pool = scored_pool(5, 30)
    order = np.random.default_rng(0).permutation(pool.height)
    budget, seeds = budget_of(policy, pool, 0.3), 300
    straight = np.array(
        [policy.select(pool, budget, (), seed=s)["kept"].to_numpy() for s in range(seeds)], float
    )
    turned = np.array(
        [policy.select(pool[order], budget, (), seed=s)["kept"].to_numpy() for s in range(seeds)], float
    )
    difference = turned.mean(0) - straight.mean(0)[order]
    spread = np.sqrt((straight.var(0)[order] + turned.var(0)) / seeds)
    assert (np.abs(difference) <= 4.5 * spread + 1e-12).all()


@pytest.mark.parametrize("policy", policies())
def test_a_pool_of_which_nothing_qualifies_gives_nothing(policy: Any) -> None:
    pool = scored_pool(1, 20).with_columns(
        pl.lit(False).alias("valid"), pl.lit(0.0).alias("quality"), pl.lit(None, pl.String).alias("mode")
    )
    chosen = policy.select(pool, copies(pool), (), seed=0)
    assert chosen["kept"].sum() == (copies(pool) if policy.kind in KEEPS_ANYTHING else 0)


@pytest.mark.parametrize("policy", policies())
def test_an_empty_pool_gives_an_empty_verdict(policy: Any) -> None:
    chosen = policy.select(scored_pool(0, 5).clear(), 10, (), seed=0)
    assert chosen.height == 0
    assert [chosen.schema[name] for name in ("kept", "reason", "weight")] == [
        pl.UInt64,
        pl.String,
        pl.Float64,
    ]


def test_all_refuses_a_budget_below_the_pool() -> None:
    policy: Any = kinds("driftloop.selectors", "driftloop.policies")["all"]()
    pool = scored_pool(0, 10)
    with pytest.raises(ValueError, match=r"keeps the whole pool of \d+ samples, but loop.keep is 3"):
        policy.select(pool, 3, (), seed=0)


def test_two_hundred_million_copies_are_no_burden_where_copies_are_alike() -> None:
    pool = scored_pool(2, 20).with_columns(pl.lit(10**7, pl.UInt64).alias("count"))
    for kind in ("noisy_verify", "uniform", "verify"):
        policy: Any = kinds("driftloop.selectors", "driftloop.policies")[kind]()
        assert policy.select(pool, 1000, (), seed=0)["kept"].sum() == 1000


@pytest.mark.parametrize("policy", [p for p in policies() if p.values[0].kind in ONE_BY_ONE])
def test_policies_that_treat_copies_one_by_one_refuse_a_billion(policy: Any) -> None:
    pool = scored_pool(2, 200).with_columns(pl.lit(10**7, pl.UInt64).alias("count"))
    with pytest.raises(ValueError, match="cannot be treated one by one"):
        policy.select(pool, 1000, (), seed=0)
