"""The other way round: a person owns the loop, asks for a pool, and tells what was chosen from it."""

from __future__ import annotations

from typing import final

import polars as pl

from driftloop.generators.samples import SELECTED, conform
from driftloop.generators.seeds import stream
from driftloop.loop.phases import VERDICT, Trained, generate
from driftloop.loop.round import Round, begin, learn
from driftloop.loop.settings import Arm


@final
class Session:
    """One lineage, played by hand: `ask()` for a scored pool, decide, `tell()` the verdict, repeat.

    The same streams as `driftloop run`: telling what a policy would have chosen gives the same models.
    """

    def __init__(self, arm: Arm, *, seed: int) -> None:
        self._arm, self._seed = arm, seed
        self._base: Trained = begin(arm, seed=seed)
        self._pool: pl.DataFrame | None = None
        self.past: tuple[Round, ...] = ()

    @property
    def model(self) -> Trained:
        """The model of the present generation."""
        return self.past[-1].model if self.past else self._base

    def ask(self) -> pl.DataFrame:
        """A pool drawn from the present model, scored; asking twice gives the same pool."""
        t, arm = len(self.past), self._arm
        if self._pool is None:
            seed = stream(self._seed, t, "generate")
            self._pool = generate(
                self.model, arm.world, arm.sampling, arm.loop.mode, arm.loop.pool, t, seed=seed
            )
        return self._pool

    def tell(self, judged: pl.DataFrame) -> Round:
        """Train on what was kept of the pool; the session moves on to the next generation.

        Args:
            judged: the rows of `ask()` in any order, with kept (u64, copies kept), reason (str) and weight (f64).

        Raises:
            ValueError: `ask` came not before, a column is missing, or a row of the pool is missing or unknown.
        """
        if self._pool is None:
            raise ValueError("tell: there is no pool to judge; call ask() first")
        verdict = conform(judged, SELECTED, "tell").select(VERDICT)
        if verdict.height != self._pool.height or set(verdict["sample_id"]) != set(self._pool["sample_id"]):
            raise ValueError(
                f"tell: expected a verdict on each of the {self._pool.height} rows of ask(), got {verdict.height} rows; "
                "keep dropped rows with kept=0"
            )
        verdict = self._pool.select("sample_id").join(
            verdict, on="sample_id", how="left", maintain_order="left"
        )
        done = learn(self._arm, self._base, self.past, self._pool, verdict, seed=self._seed)
        self.past, self._pool = (*self.past, done), None
        return done
