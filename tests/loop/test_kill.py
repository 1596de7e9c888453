"""kill -9 at random moments, resume, and the results are the same bytes as without a kill."""

import multiprocessing
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from driftloop.loop.compose import load
from driftloop.loop.run import resume, run

TINY = Path(__file__).with_name("tiny.yaml")
KILLS = 50


def attempt(out: Path) -> None:
    """Start the run, or go on with it: what a person does after a crash."""
    if (out / "config.resolved.yaml").exists():
        resume(out, quiet=True)
    else:
        out.mkdir(exist_ok=True)
        for leftover in out.iterdir():  # killed before the manifest was there: nothing to resume yet
            leftover.unlink()
        run(load([TINY]), out, quiet=True)


def child(out: Path) -> None:
    os.environ["POLARS_MAX_THREADS"] = "1"
    attempt(out)


@pytest.mark.slow
def test_fifty_kills_lose_nothing(tmp_path: Path) -> None:
    """Every finished run equals the undisturbed one, whatever moments it was killed at."""
    clean = run(load([TINY]), tmp_path / "clean", quiet=True)
    expected = (clean / "metrics.parquet").read_bytes()
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["driftloop.loop.run", "driftloop.loop.lineage", "torch"])
    rng = np.random.default_rng(7)
    kills = finished = 0
    while kills < KILLS:
        out = tmp_path / f"run-{finished}"
        process = context.Process(target=child, args=(out,))
        process.start()
        process.join(float(rng.uniform(0.05, 2.0)))
        if process.is_alive():
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            kills += 1
        else:
            assert process.exitcode == 0
            assert (out / "metrics.parquet").read_bytes() == expected
            finished += 1
    last = tmp_path / f"run-{finished}"
    attempt(last)
    assert (last / "metrics.parquet").read_bytes() == expected
