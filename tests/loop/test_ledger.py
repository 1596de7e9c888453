"""The ledger: what is on disk is whole, is what was written, and is never computed twice."""

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from driftloop.generators.models.transformer import Transformer
from driftloop.generators.worlds.corpus import CorpusWorld
from driftloop.loop.ledger import CorruptStage, Ledger, LedgerError, set_aside, token, write_atomic

CALLS: list[str] = []


def source(n: int, *, seed: int) -> pl.DataFrame:
    CALLS.append("source")
    return pl.DataFrame({"x": range(seed, seed + n)})


def double(frame: pl.DataFrame) -> pl.DataFrame:
    CALLS.append("double")
    return frame * 2


def total(frames: tuple[pl.DataFrame, ...]) -> pl.DataFrame:
    CALLS.append("total")
    return pl.DataFrame({"sum": [sum(int(f["x"].sum()) for f in frames)]})


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    CALLS.clear()
    return Ledger(tmp_path / "store", Transformer())


def again(ledger: Ledger) -> Ledger:
    """A ledger on the same folder, as another process would open it."""
    return Ledger(ledger.folder, Transformer())


def test_nothing_is_computed_before_it_is_asked_for_and_nothing_twice(ledger: Ledger) -> None:
    def chain(book: Ledger) -> Any:
        return book.step(double, book.step(source, 3, seed=1))

    assert CALLS == []
    assert chain(ledger).get()["x"].to_list() == [2, 4, 6]
    assert chain(again(ledger)).get()["x"].to_list() == [2, 4, 6]
    assert CALLS == ["source", "double"]


def test_the_key_depends_on_phase_inputs_settings_and_seed_alone(ledger: Ledger) -> None:
    a = ledger.step(source, 3, seed=1)

    assert a.key == again(ledger).step(source, 3, seed=1).key
    others = [ledger.step(source, 4, seed=1), ledger.step(source, 3, seed=2), ledger.step(double, a)]
    assert len({a.key, *(o.key for o in others)}) == 4


def test_a_tuple_of_promises_is_an_input_like_any_other(ledger: Ledger) -> None:
    parts = tuple(ledger.step(source, 2, seed=s) for s in (0, 10))

    assert ledger.step(total, parts).get()["sum"].item() == 22
    assert ledger.step(total, parts).key != ledger.step(total, parts[::-1]).key


def test_an_argument_without_identity_is_refused(ledger: Ledger) -> None:
    with pytest.raises(TypeError, match="has no stable identity"):
        ledger.step(double, pl.DataFrame({"x": [1]}))


def test_a_dropped_stage_is_computed_again_when_asked_for(ledger: Ledger) -> None:
    first = ledger.step(source, 3, seed=1)
    ledger.step(double, first).get()
    ledger.drop(first)

    assert not ledger.has(first)
    assert first.get()["x"].to_list() == [1, 2, 3]
    assert CALLS == ["source", "double", "source"]


def test_a_damaged_file_is_named_with_the_way_out_and_can_be_set_aside(ledger: Ledger) -> None:
    promise = ledger.step(source, 3, seed=1)
    table = ledger.path(promise) / "table.parquet"
    table.write_bytes(table.read_bytes()[:-3] + b"xyz")

    with pytest.raises(CorruptStage, match=r"table\.parquet is not what was written.*resume --repair"):
        again(ledger).step(source, 3, seed=1).get()
    moved = set_aside(ledger.folder, Transformer())
    assert len(moved) == 1
    assert moved[0].exists()
    assert again(ledger).step(source, 3, seed=1).get()["x"].to_list() == [1, 2, 3]


@pytest.mark.parametrize("victim", ["table.parquet", "stage.json"])
def test_a_missing_or_garbled_file_is_a_corrupt_stage(ledger: Ledger, victim: str) -> None:
    promise = ledger.step(source, 3, seed=1)
    path = ledger.path(promise)
    if victim == "stage.json":
        (path / victim).write_text("{")
    else:
        (path / victim).unlink()

    with pytest.raises(CorruptStage, match="is damaged"):
        again(ledger).step(source, 3, seed=1).get()


def test_a_full_disk_leaves_no_half_stage_and_says_what_to_do(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.fsync
    monkeypatch.setattr(os, "fsync", full_disk)
    promise = ledger.step(source, 3, seed=1)

    with pytest.raises(
        LedgerError, match=r"cannot write stage source.*No space left.*is safe: make room.*resume"
    ):
        promise.get()
    assert not ledger.has(promise)
    assert not list((ledger.folder / "drafts").iterdir())
    monkeypatch.setattr(os, "fsync", real)
    assert promise.get()["x"].to_list() == [1, 2, 3]


def full_disk(handle: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_an_atomic_write_keeps_the_old_bytes_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "f"
    write_atomic(file, b"old")
    monkeypatch.setattr(os, "fsync", full_disk)

    with pytest.raises(LedgerError, match="No space left"):
        write_atomic(file, b"new")
    assert file.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_samples_that_break_their_contract_are_not_written(ledger: Ledger) -> None:
    with pytest.raises(Exception, match=r"validation|Column|missing"):
        ledger.step(broken_samples, seed=0).get()


def broken_samples(*, seed: int) -> pl.DataFrame:
    return pl.DataFrame({"prompt": ["a"], "quality": [2.0]})


def test_a_world_whose_files_changed_is_another_world(tmp_path: Path) -> None:
    """The settings are the same, the text is not: the key must differ, so that the stage is computed anew."""
    text = tmp_path / "text.txt"
    keys = []
    for version in ("one", "two"):
        text.write_text("\n".join(f"line {i} of version {version} is here" for i in range(200)))
        code = f"from driftloop.generators.worlds.corpus import CorpusWorld as W; print(W(path={str(text)!r}).fingerprint())"
        keys.append(
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        )

    assert keys[0] != keys[1]
    world = CorpusWorld(path=str(text))
    assert token(world) == ["spec", world.identity(), keys[1].strip()]
