"""The Ray executor: polite to clusters, patient with dying workers, silent about nothing."""

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray

from driftloop.loop import cluster
from driftloop.loop.settings import Executor

pytestmark = pytest.mark.slow


def log(run: Path, text: str) -> None:
    with (run / "seen.txt").open("a") as stream:
        stream.write(text + "\n")


def easy(run: Path, name: str, attempt: int) -> None:
    log(run, name)


def wrong(run: Path, name: str, attempt: int) -> None:
    raise ValueError(f"{name} is wrong")


def dies_once(run: Path, name: str, attempt: int) -> None:
    log(run, name)
    if (run / "seen.txt").read_text().count(name) == 1:
        os._exit(9)


def always_dies(run: Path, name: str, attempt: int) -> None:
    os._exit(9)


@pytest.fixture(scope="module")
def there() -> Iterator[None]:
    """A cluster that somebody else started."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        importable = {"env_vars": {"PYTHONPATH": str(Path(__file__).parent)}}  # the jobs of this file
        ray.init(
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            runtime_env=importable,
        )
    yield
    ray.shutdown()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "logs" / "attempt_1").mkdir(parents=True)
    return tmp_path


def test_every_job_is_done_once_and_the_cluster_lives_on(there: None, run: Path) -> None:
    jobs = [(run, f"job-{i}", 1) for i in range(5)]

    assert cluster.execute(jobs, easy, Executor(workers=2), None) == {}
    assert sorted((run / "seen.txt").read_text().split()) == [f"job-{i}" for i in range(5)]
    assert ray.is_initialized()


def test_a_job_that_fails_is_named_and_its_traceback_logged(there: None, run: Path) -> None:
    failed = cluster.execute([(run, "a", 1)], wrong, Executor(), None)

    assert failed == {0: "ValueError: a is wrong"}
    assert "Traceback" in (run / "logs" / "attempt_1" / "errors.log").read_text()


def test_a_worker_that_dies_is_replaced_and_its_job_tried_again(there: None, run: Path) -> None:
    jobs = [(run, "one", 1), (run, "two", 1)]

    assert cluster.execute(jobs, dies_once, Executor(workers=2), None) == {}
    assert sorted((run / "seen.txt").read_text().split()) == ["one", "one", "two", "two"]


def test_a_job_that_kills_every_worker_is_given_up(there: None, run: Path) -> None:
    failed = cluster.execute([(run, "one", 1)], always_dies, Executor(), None)

    assert failed[0].startswith("its worker died 4 times")


def test_resources_that_no_node_has_are_refused_before_anything_runs(there: None, run: Path) -> None:
    with pytest.raises(ValueError, match=r"asks for 64\.0 CPUs .* lower executor\.num_cpus"):
        cluster.execute([(run, "one", 1)], easy, Executor(num_cpus=64), None)
