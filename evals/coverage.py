"""Coverage over a whole lineage, which is not the coverage of its last model: the two never share a name."""

from __future__ import annotations

import numpy as np


def cumulative_coverage(chances: np.ndarray, draws: int) -> np.ndarray:
    """Probability that a mode was met at least once in `draws` samples of every generation: 1 - prod (1 - p_s)^draws.

    "Outcome-based Exploration for LLM Reasoning" (arXiv 2509.06941) counts so; pass@k is about one model.

    Args:
        chances: probability of each mode under each generation's model, shape (generations, ...).
        draws: samples per generation, >= 0.

    Returns:
        Shape (generations, ...): up to and with each generation; never falls.

    Raises:
        ValueError: a chance outside 0..1, or negative draws.
    """
    p = np.asarray(chances, dtype=float)
    if not ((p >= 0) & (p <= 1)).all() or draws < 0:
        raise ValueError(
            f"cumulative_coverage: expected chances in 0..1 and draws >= 0, got {p.min()}..{p.max()} and {draws}"
        )
    with np.errstate(divide="ignore"):
        missed = np.cumsum(draws * np.log1p(-p), axis=0) if draws else np.zeros_like(p)
    return np.asarray(-np.expm1(missed))
