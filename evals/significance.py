"""Intervals over seeds and comparisons of arms paired by seed; no ranking without separation."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import combinations

import numpy as np
import polars as pl

from driftloop.evals.estimate import Estimate

COMPARED: dict[str, pl.DataType] = {
    "a": pl.String(),
    "b": pl.String(),
    "mean_a": pl.Float64(),
    "mean_b": pl.Float64(),
    "difference": pl.Float64(),  # a - b, paired by seed
    "lo": pl.Float64(),
    "hi": pl.Float64(),
    "n": pl.Int64(),  # shared seeds
    "p_holm": pl.Float64(),
    "detectable": pl.Float64(),  # least true difference found with 80 % power
    "verdict": pl.String(),  # "a", "b" or "not separated"
}


def over_seeds(values: np.ndarray) -> Estimate:
    """Mean over seeds with a 95 % t interval (none where there is one seed); NaN values are left out."""
    from scipy import stats

    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    n = len(known)
    if n == 0:
        return Estimate.missing()
    centre = float(known.mean())
    if n == 1:
        return Estimate(centre, math.nan, math.nan, math.nan, 1)
    stderr = float(known.std(ddof=1)) / math.sqrt(n)
    half = float(stats.t.ppf(0.975, n - 1)) * stderr
    return Estimate(centre, stderr, centre - half, centre + half, n)


def bootstrap(
    values: np.ndarray, statistic: Callable[..., np.ndarray] = np.mean, *, seed: int, resamples: int = 9999
) -> Estimate:
    """A statistic over seeds with a 95 % BCa bootstrap interval (scipy); wants 8 or more values to mean much.

    Args:
        values: shape (seeds,).
        statistic: of values along `axis`.
        seed: of the resampling.
        resamples: bootstrap samples.
    """
    from scipy import stats

    known = np.asarray(values, dtype=float)
    known = known[np.isfinite(known)]
    n = len(known)
    centre = float(statistic(known)) if n else math.nan
    if n < 3 or np.ptp(known) == 0:
        error = 0.0 if n >= 3 else math.nan
        return Estimate(centre, error, centre if n >= 3 else math.nan, centre if n >= 3 else math.nan, n)
    draw = np.random.default_rng(seed)
    found = stats.bootstrap((known,), statistic, n_resamples=resamples, method="BCa", rng=draw)
    low, high = found.confidence_interval
    return Estimate(centre, float(found.standard_error), float(low), float(high), n)


def p_value(difference: Estimate) -> float:
    """Two-sided p of a mean over seeds being 0 (t test); NaN for fewer than two seeds."""
    from scipy import stats

    if difference.n < 2 or math.isnan(difference.stderr):
        return math.nan
    if difference.stderr == 0:
        return 1.0 if difference.value == 0 else 0.0
    return float(2 * stats.t.sf(abs(difference.value) / difference.stderr, difference.n - 1))


def holm(p: np.ndarray) -> np.ndarray:
    """Holm-adjusted p-values, shape of p; NaN stays NaN and does not count."""
    adjusted = np.full(len(p), math.nan)
    known = np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def detectable(stderr: float, n: int, power: float = 0.8) -> float:
    """The least true difference that n seeds with this standard error find at 5 % with the given power."""
    from scipy import stats

    if n < 2 or math.isnan(stderr):
        return math.nan
    return float((stats.t.ppf(0.975, n - 1) + stats.t.ppf(power, n - 1)) * stderr)


def compare(metrics: pl.DataFrame, metric: str, stage: str, generation: int | None = None) -> pl.DataFrame:
    """Every pair of arms in one metric, paired by seed: frame with the columns of `COMPARED`.

    Arms whose paired interval contains 0, or whose Holm-adjusted p is 0.05 or more, are "not separated"
    and get no rank. The verdict names the larger arm; whether larger is better is the metric's to say.

    Args:
        metrics: rows of a run: arm, seed, generation, stage, metric, value.
        metric: for instance "ood/targets/accuracy_exact".
        stage: for instance "test".
        generation: None = the last.

    Raises:
        ValueError: the run has no such metric.
    """
    rows = metrics.filter((pl.col("metric") == metric) & (pl.col("stage") == stage))
    if not rows.height:
        near = metrics.filter(pl.col("stage") == stage)["metric"].unique().sort().to_list()
        raise ValueError(f"metric {metric!r} has no rows at stage {stage!r}; this stage has {near}")
    last = rows["generation"].max() if generation is None else generation
    now = rows.filter(pl.col("generation") == last)
    arms = {str(arm): dict(part.select("seed", "value").iter_rows()) for (arm,), part in _by_arm(now)}
    pairs = [(a, b, *_paired(arms[a], arms[b])) for a, b in combinations(arms, 2)]
    adjusted = holm(np.array([p_value(gap) for *_, gap in pairs]))
    lines = [_line(*pair, float(p)) for pair, p in zip(pairs, adjusted, strict=True)]
    return pl.DataFrame(lines, schema=COMPARED, orient="row")


def _by_arm(rows: pl.DataFrame) -> list[tuple[tuple[object, ...], pl.DataFrame]]:
    return list(rows.sort("arm", "seed").group_by("arm", maintain_order=True))


def _paired(a: dict[int, float], b: dict[int, float]) -> tuple[float, float, Estimate]:
    both = [s for s in a if s in b and math.isfinite(a[s]) and math.isfinite(b[s])]
    x, y = (np.array([arm[s] for s in both], dtype=float) for arm in (a, b))
    means = (float(x.mean()), float(y.mean())) if both else (math.nan, math.nan)
    return *means, over_seeds(x - y)


def _line(a: str, b: str, mean_a: float, mean_b: float, gap: Estimate, p: float) -> tuple[object, ...]:
    apart = (gap.lo > 0 or gap.hi < 0) and p < 0.05
    verdict = (a if gap.value > 0 else b) if apart else "not separated"
    return (a, b, mean_a, mean_b, gap.value, gap.lo, gap.hi, gap.n, p, detectable(gap.stderr, gap.n), verdict)
