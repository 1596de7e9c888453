"""Ray, and only here: lineages on actors, in a cluster of our own or one that we join."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from driftloop.loop.settings import Executor

THREADS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
# Ray's own niceness of 15 would let a lineage wait for everybody else.
QUIET = {"metrics_report_interval_ms": 0, "worker_niceness": 0}
TRIES = 4  # of one lineage, when its actor or node dies; each try goes on from the ledger

Job = tuple[Any, ...]


def execute(
    jobs: list[Job], work: Callable[..., None], executor: Executor, address: str | None
) -> dict[int, str]:
    """Run `work(*job)` for every job on Ray actors; returns the message of each job that failed, by its index.

    A cluster that was there before is joined and left running; our own is stopped at the end.

    Raises:
        ConnectionError: no cluster answers at `address`.
    """
    import ray

    ours = not ray.is_initialized()
    if ours:
        connect(address, executor)
    try:
        return drain(jobs, work, executor)
    finally:
        if ours and address is None:
            ray.shutdown()


def connect(address: str | None, executor: Executor) -> None:
    """Start a cluster on this machine, or join one."""
    import ray

    quiet: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if address is not None:
        ray.init(address=address, **quiet)
        return
    ray.init(
        include_dashboard=False,
        num_cpus=local_cpus(executor),
        _system_config=QUIET,
        **quiet,
    )


def local_cpus(executor: Executor) -> int | None:
    """CPUs that our own cluster offers: what the asked-for workers need, else all of the machine's."""
    return None if executor.workers is None else max(1, round(executor.workers * executor.num_cpus))


def drain(jobs: list[Job], work: Callable[..., None], executor: Executor) -> dict[int, str]:
    """Give each idle actor the next job until none is left."""
    import ray

    waiting = deque((index, 1) for index in range(len(jobs)))
    idle = [hire(executor) for _ in range(crew(len(jobs), executor))]
    busy: dict[Any, tuple[Any, int, int]] = {}
    failed: dict[int, str] = {}
    while waiting or busy:
        while idle and waiting:
            actor, (index, tries) = idle.pop(), waiting.popleft()
            busy[actor.work.remote(work, jobs[index])] = (actor, index, tries)
        ready, _ = ray.wait(list(busy), num_returns=1)
        actor, index, tries = busy.pop(ready[0])
        try:
            message = ray.get(ready[0])
            idle.append(actor)
        except (ray.exceptions.RayActorError, ray.exceptions.NodeDiedError) as error:
            message = f"its worker died {TRIES} times: {error}"
            idle.append(hire(executor))
            if tries < TRIES:
                waiting.append((index, tries + 1))
                continue
        if message:
            failed[index] = message
    return failed


def crew(jobs: int, executor: Executor) -> int:
    """Actors to start: no more than jobs, workers asked for, or what the cluster has room for."""
    import ray

    there = ray.cluster_resources()
    room = int(there.get("CPU", 1) // executor.num_cpus)
    if executor.num_gpus:
        room = min(room, int(there.get("GPU", 0) // executor.num_gpus))
    if room < 1:
        raise ValueError(
            f"executor: a lineage asks for {executor.num_cpus} CPUs and {executor.num_gpus} GPUs, the cluster has "
            f"{there.get('CPU', 0)} and {there.get('GPU', 0)}; lower executor.num_cpus or executor.num_gpus"
        )
    return max(1, min(jobs, room, executor.workers or room))


def hire(executor: Executor) -> Any:
    """A new actor, one thread per library, so that lineages do not fight over cores."""
    import ray

    options = {
        "num_cpus": executor.num_cpus,
        "num_gpus": executor.num_gpus,
        "runtime_env": {"env_vars": THREADS},
    }
    return ray.remote(Worker).options(**options).remote()


class Worker:
    """One actor: holds one lineage at a time."""

    def work(self, work: Callable[..., None], job: Job) -> str | None:
        """Run one job; a failure comes back as its message, and its traceback goes to the run's log."""
        return guarded(work, job)


def guarded(work: Callable[..., None], job: Job) -> str | None:
    """Run one job in this process, on one thread; None, or the message of what went wrong."""
    import traceback

    import torch

    torch.set_num_threads(1)
    try:
        work(*job)
    except Exception as error:
        run, attempt = Path(job[0]), job[-1]
        with (run / "logs" / f"attempt_{attempt}" / "errors.log").open("a") as stream:
            stream.write(traceback.format_exc())
        return f"{type(error).__name__}: {error}"
    return None
