"""Ask and tell: a person's own loop is the same loop."""

import polars as pl
import pytest

from driftloop.generators.seeds import stream
from driftloop.loop.compose import build
from driftloop.loop.round import begin, play
from driftloop.loop.session import Session
from driftloop.loop.settings import Arm


@pytest.fixture
def arm() -> Arm:
    tree = {
        "name": "t",
        "world": {"kind": "categorical", "types": 8},
        "model": {"kind": "categorical"},
        "base": {"samples": 200, "retrain": {"kind": "counts"}},
        "loop": {"generations": 2, "mode": "propose", "pool": 60, "keep": 20},
        "select": {"kind": "uniform"},
        "retrain": {"kind": "counts"},
        "seeds": 1,
    }
    return build(tree).arms["default"]


def test_telling_what_the_policy_would_choose_plays_the_same_rounds(arm: Arm) -> None:
    session = Session(arm, seed=3)
    for t in range(2):
        pool = session.ask()
        session.tell(
            arm.select.select(pool, 20, (), seed=stream(3, t, "select")).sample(
                fraction=1, shuffle=True, seed=1
            )
        )

    base = begin(arm, seed=3)
    first = play(arm, base, (), seed=3)
    second = play(arm, base, (first,), seed=3)

    assert [r.chosen.equals(s.chosen) for r, s in zip((first, second), session.past, strict=True)] == [
        True,
        True,
    ]


def test_asking_twice_gives_the_same_pool_and_telling_moves_on(arm: Arm) -> None:
    session = Session(arm, seed=0)

    assert session.ask().equals(session.ask())
    with pytest.raises(ValueError, match=r"expected a verdict on each of the \d+ rows.*kept=0"):
        session.tell(arm.select.select(session.ask(), 20, (), seed=0).head(2))
    session.tell(arm.select.select(session.ask(), 20, (), seed=0))
    assert session.ask()["generation"].unique().to_list() == [1]


def test_telling_before_asking_or_without_a_verdict_is_refused(arm: Arm) -> None:
    session = Session(arm, seed=0)

    with pytest.raises(ValueError, match="call ask"):
        session.tell(pl.DataFrame())
    with pytest.raises(ValueError, match=r"tell: column 'kept' is missing"):
        session.tell(session.ask())
