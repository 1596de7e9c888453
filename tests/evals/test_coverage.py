"""Coverage over a lineage against its definition, its scatter, and the coverage of the last model."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftloop.evals.coverage import cumulative_coverage

chances = st.lists(st.floats(0, 1), min_size=1, max_size=8)


@given(p=chances, n=st.integers(0, 100))
def test_it_is_one_minus_the_product_of_misses(p: list[float], n: int) -> None:
    found = cumulative_coverage(np.array(p), n)
    product = [1 - np.prod((1 - np.array(p[: i + 1])) ** n) for i in range(len(p))]
    assert found.tolist() == pytest.approx(product, abs=1e-12)
    assert (np.diff(found) >= -1e-12).all()


def test_it_stays_where_the_last_model_has_forgotten() -> None:
    found = cumulative_coverage(np.array([[0.5, 0.1], [0.0, 0.0]]), 3)
    assert found[1].tolist() == pytest.approx([0.875, 0.271])


def test_it_is_what_repeated_lineages_meet() -> None:
    """20,000 lineages of three generations, 4 standard errors."""
    p, n, draw = np.array([0.02, 0.05, 0.01]), 8, np.random.default_rng(0)
    met = (draw.binomial(n, p, (20_000, 3)) > 0).any(1)
    expected = float(cumulative_coverage(p, n)[-1])
    assert abs(met.mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / 20_000)


def test_what_is_no_chance_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r"expected chances in 0\.\.1 and draws >= 0, got 0\.5\.\.1\.5 and 3"
    ):
        cumulative_coverage(np.array([0.5, 1.5]), 3)
