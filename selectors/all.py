"""No selection: the whole pool is trained on."""

from __future__ import annotations

from typing import Literal, final

import polars as pl

from driftloop.generators.samples import copies
from driftloop.generators.spec import Spec
from driftloop.selectors.policy import verdict


@final
class All(Spec):
    """Keep every sample. Arms are compared at equal budgets, so the budget must hold the whole pool."""

    kind: Literal["all"] = "all"

    def select(
        self, pool: pl.DataFrame, budget: int, history: tuple[pl.DataFrame, ...], *, seed: int
    ) -> pl.DataFrame:
        """See `Policy.select`.

        Raises:
            ValueError: the pool is larger than the budget.
        """
        if copies(pool) > budget:
            raise ValueError(
                f"select.kind=all keeps the whole pool of {copies(pool)} samples, but loop.keep is {budget}; "
                "set loop.keep to loop.pool in this arm, or use select.kind=uniform"
            )
        return verdict(pool, pool["count"].to_numpy(), "kept")
