"""Worlds whose truth is known to the last digit: what the measures are held against.

A mode is a sentence of common and rare words, right or wrong for good. A sample of n is one multinomial draw, a row
per mode that was drawn; the truth is the same table with 10^12 copies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import polars as pl

from driftloop.generators.samples import stamp
from driftloop.generators.seeds import rng

POPULATION = 10**12  # copies that stand for the truth, but for rounding
VOCABULARY, WORDS = 400, 6
RIGHT = 0.8


@dataclass(frozen=True)
class KnownWorld:
    """A name and the probability of each mode."""

    name: str
    p: tuple[float, ...]

    @property
    def effective(self) -> float:
        """The true effective number of modes, order 1."""
        p = np.array(self.p)
        return float(np.exp(-(p * np.log(p)).sum()))

    def draw(self, n: int, *, seed: int) -> pl.DataFrame:
        """n scored samples, a row per mode that was drawn."""
        return self.table(rng(seed, "known", self.name).multinomial(n, self.p))

    def truth(self) -> pl.DataFrame:
        """The world itself, as a table of 10^12 copies."""
        return self.table(np.maximum(np.round(np.array(self.p) * POPULATION), 1).astype(np.int64))

    def table(self, counts: np.ndarray, wording: int = 0, filler: str = "") -> pl.DataFrame:
        """Scored samples of given counts per mode.

        Args:
            counts: copies of each mode, shape (modes,).
            wording: which of the ways to say each mode is used.
            filler: added to each text.
        """
        drawn = np.flatnonzero(counts)
        texts, right = sentences(len(self.p), wording), rng(1, "right").random(len(self.p)) < RIGHT
        p = np.array(self.p)[drawn]
        frame = pl.DataFrame(
            {
                "prompt": pl.repeat("", len(drawn), dtype=pl.String, eager=True),
                "response": pl.Series([texts[i] + filler for i in drawn], dtype=pl.String),
                "count": counts[drawn].astype(np.uint64),
                "logprob": np.log(p),
                "n_tokens": pl.repeat(WORDS, len(drawn), dtype=pl.UInt32, eager=True),
            }
        )
        return stamp(frame, generation=0, source="synthetic", seed=0).with_columns(
            valid=pl.lit(True),
            quality=pl.Series(right[drawn].astype(float)),
            complexity=pl.lit(float(WORDS)),
            mode=pl.Series([f"m{i}" for i in drawn], dtype=pl.String),
            strategy=pl.Series([f"s{i % 17}" for i in drawn], dtype=pl.String),
            split=pl.lit("id"),
        )

    def sharper(self, loss: float) -> KnownWorld:
        """The world with its effective number of modes cut by a share: p^s where that can do it, else fewer modes."""
        p = np.array(self.p)
        target = self.effective * (1 - loss)
        if np.ptp(p) < 1e-12:
            kept = np.append(np.ones(round(target)), np.full(len(p) - round(target), 1e-9))
            return replace(self, name=f"{self.name}, {loss:.0%} lost", p=tuple(kept / kept.sum()))
        low, high = 1.0, 20.0
        for _ in range(60):
            middle = (low + high) / 2
            high, low = (middle, low) if self._power(middle).effective < target else (high, middle)
        return replace(self._power(high), name=f"{self.name}, {loss:.0%} lost")

    def _power(self, exponent: float) -> KnownWorld:
        q = np.maximum(np.array(self.p) ** exponent, 1e-300)
        return replace(self, p=tuple(q / q.sum()))


@lru_cache(maxsize=64)
def sentences(modes: int, wording: int = 0) -> list[str]:
    """One sentence per mode; another wording shares half of its words on average."""
    words = np.array([np.base_repr(i + 36, 36).lower() + "a" * (i % 5) for i in range(VOCABULARY)])
    law = 1 / np.arange(1, VOCABULARY + 1) ** 0.7
    chosen = rng(0, "sentences").choice(VOCABULARY, (modes, WORDS), p=law / law.sum())
    if wording:
        other = rng(wording, "sentences").choice(VOCABULARY, (modes, WORDS), p=law / law.sum())
        chosen = np.where(rng(wording, "which").random((modes, WORDS)) < 0.5, other, chosen)
    return [" ".join(row) for row in words[chosen]]


def zipf(modes: int, exponent: float) -> KnownWorld:
    """p proportional to rank^-exponent; 0 is uniform."""
    p = np.arange(1, modes + 1.0) ** -exponent
    name = f"{modes} equal modes" if exponent == 0 else f"{modes} modes, Zipf {exponent:g}"
    return KnownWorld(name, tuple(p / p.sum()))


def two_tier() -> KnownWorld:
    """Ten modes own 80 %, 500 share the rest."""
    return KnownWorld("10 modes with 80 %, 500 with the rest", (*[0.08] * 10, *[0.0004] * 500))


WORLDS = (zipf(200, 0), zipf(500, 1), two_tier(), zipf(2000, 1.2))
FAMILY = tuple(zipf(k, s) for k in (50, 150, 400, 1000) for s in (0, 0.7, 1.2, 1.8))
