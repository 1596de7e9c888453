"""Many replicates of a tabular loop, all through `driftloop.loop.round.play`.

`side_by_side` runs them as the prompts of one world. That is exactly as many independent loops wherever all that was
drawn is kept and nothing is mixed in with a global draw: prompts come in equal numbers, a table holds one distribution
per prompt, each is sampled by a multinomial of its own and refitted on its own copies alone. Selection to a
budget, real shares and subsampling draw across prompts; their loops run `one_by_one`, a seed each.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from driftloop.loop.compose import build
from driftloop.loop.round import Round, begin, play
from driftloop.loop.settings import Arm

EXACT = 10**12  # real samples of a base model that equals the truth

History = Callable[..., np.ndarray]


def arm(world: dict[str, Any], base: int, select: dict[str, Any], loop: dict[str, Any], **more: Any) -> Arm:
    counts = {"kind": "counts"}
    tree = {
        "name": "theory",
        "world": {"kind": "categorical", **world},
        "model": {"kind": "categorical"},
        "base": {"samples": base, "retrain": counts},
        "retrain": counts,
        "select": select,
        "loop": {"generations": 1, "mode": "respond" if world.get("contexts") else "propose", **loop},
        **more,
    }
    return build(tree).arms["default"]


def lineage(one: Arm, rounds: int, seed: int) -> np.ndarray:
    """Model probabilities, shape (rounds + 1, prompts, types)."""
    base, past = begin(one, seed=seed), tuple[Round, ...]()
    found = [probabilities(base, one)]
    for _ in range(rounds):
        done = play(one, base, past, seed=seed)
        found.append(probabilities(done.model, one))
        past = (*(light(earlier, one) for earlier in past), done)
    return np.array(found)


def probabilities(model: Any, one: Arm) -> np.ndarray:
    weights = model.generator.weights.reshape(-1, one.world.types)
    return np.asarray(weights / weights.sum(1, keepdims=True))


def light(done: Round, one: Arm) -> Round:
    """A round without what later rounds do not read: thousands of loops over hundreds of rounds fill a memory."""
    added = None if one.loop.regime == "replace" else done.added
    return Round(None, None, None, added, None, None)


@pytest.fixture(scope="session")
def side_by_side() -> History:
    """(replicates, n, rounds, ...) -> model probabilities, shape (rounds + 1, replicates, types)."""

    def run(
        replicates: int,
        n: int,
        rounds: int,
        *,
        seed: int = 0,
        base: int | None = None,
        select: dict[str, Any] | None = None,
        world: dict[str, Any] | None = None,
        **loop: Any,
    ) -> np.ndarray:
        types = {"types": 20, **(world or {}), "contexts": replicates}
        sizes = {"pool": n * replicates, "keep": n * replicates, **loop}
        one = arm(types, (n if base is None else base) * replicates, select or {"kind": "all"}, sizes)
        return lineage(one, rounds, seed)

    return run


@pytest.fixture(scope="session")
def one_by_one() -> History:
    """(replicates, n, rounds, ...) -> the same, one lineage per seed; n is loop.keep."""

    def run(
        replicates: int,
        n: int,
        rounds: int,
        *,
        base: int | None = None,
        select: dict[str, Any] | None = None,
        world: dict[str, Any] | None = None,
        **loop: Any,
    ) -> np.ndarray:
        sizes = {"pool": n, "keep": n, **loop}
        one = arm(
            {"types": 20, **(world or {})},
            n if base is None else base,
            select or {"kind": "uniform"},
            sizes,
        )
        return np.concatenate([lineage(one, rounds, seed) for seed in range(replicates)], axis=1)

    return run


def heterozygosity(p: np.ndarray) -> np.ndarray:
    """1 - sum p^2 over the last axis."""
    return np.asarray(1 - (p**2).sum(-1))


@pytest.fixture(scope="session")
def diversity() -> Callable[[np.ndarray], np.ndarray]:
    return heterozygosity


@pytest.fixture(scope="session")
def agrees() -> Callable[..., None]:
    """Assert that the mean of independent replicates is within max(least, 4 standard errors) of what is expected."""

    def check(values: np.ndarray, expected: float, least: float = 0.0) -> None:
        mean, error = float(np.mean(values)), float(np.std(values, ddof=1) / np.sqrt(len(values)))
        print(f"expected {expected:.4f}, found {mean:.4f} ± {error:.4f}, {len(values)} replicates")
        assert abs(mean - expected) <= max(least, 4 * error), (
            f"expected {expected:.4f}, found {mean:.4f} ± {error:.4f} ({(mean - expected) / error:+.1f} SE)"
        )

    return check
