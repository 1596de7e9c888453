"""Numbers as people read them."""

from __future__ import annotations

import math

from driftloop.evals.estimate import Estimate

MINUS = "−"


def number(value: float) -> str:
    """Three significant digits, two decimals for shares; "–" for NaN."""
    if not math.isfinite(value):
        return "–"
    size = abs(value)
    if size >= 10000:
        text = f"{value:,.0f}"
    elif size >= 100:
        text = f"{value:.0f}"
    elif size >= 10:
        text = f"{value:.1f}"
    elif size >= 1:
        text = f"{value:.2f}"
    elif size >= 0.001 or size < 0.00005:
        text = f"{value:.3f}"
    else:
        text = f"{value:.4f}"
    return (
        MINUS + text[1:] if text.startswith("-") and float(text.replace(",", "")) != 0 else text.lstrip("-")
    )


def signed(value: float) -> str:
    """The number with its sign always shown."""
    text = number(value)
    return text if text == "–" or text.startswith(MINUS) or value == 0 else f"+{text}"


def factor(log_ratio: float) -> str:
    """A ratio given as its logarithm: "×1.20" where it grew, "÷19" where it shrank."""
    if not math.isfinite(log_ratio):
        return "–"
    ratio = math.exp(min(abs(log_ratio), 50.0))
    return (
        f"{'÷' if log_ratio < 0 else '×'}{ratio:.3g}"
        if ratio < 1000
        else f"{'÷' if log_ratio < 0 else '×'}{ratio:,.0f}"
    )


def change(estimate: Estimate, scale: str) -> str:
    """A change with its interval: "+0.050 [+0.030, +0.070]" or "÷19 [÷16, ÷22]"."""
    show = factor if scale == "ratio" else signed
    if not math.isfinite(estimate.value):
        return "–"
    if not math.isfinite(estimate.lo):
        return show(estimate.value)
    return f"{show(estimate.value)} [{show(estimate.lo)}, {show(estimate.hi)}]"


def level(estimate: Estimate) -> str:
    """A level with half the width of its interval: "0.93 ± 0.02"."""
    if not math.isfinite(estimate.lo):
        return number(estimate.value)
    shown = number(estimate.value)
    decimals = len(shown.partition(".")[2])
    return f"{shown} ± {(estimate.hi - estimate.lo) / 2:,.{decimals}f}"


def probability(p: float) -> str:
    """A p-value: "0.034", "<0.001", "–" for NaN."""
    if math.isnan(p):
        return "–"
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def listed(names: list[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def several(n: int, noun: str) -> str:
    """ "1 seed", "3 seeds"."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"
