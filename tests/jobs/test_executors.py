"""The same promises whoever starts the workers: processes of this machine, or a Ray cluster."""

from __future__ import annotations

import os
import secrets
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Protocol

import av
import pytest

from queue_cases import journal, submit, tiny_command, until
from talkies.jobs.executors.local import LocalExecutor
from talkies.jobs.executors.ray import Cluster, RayExecutor
from talkies.jobs.job import State
from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore
from talkies.jobs.work import VIDEO
from tiny_generator import Tiny

SEGMENTS, PAUSE = 6, 0.3
pytestmark = pytest.mark.timeout(1200)  # processes start slowly on a busy machine


class Executor(Protocol):
    """What both are."""

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def alive(self) -> int: ...


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """Ray on this machine, with two CPUs."""
    ray = pytest.importorskip("ray")
    here = str(Path(__file__).parent)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_worker_niceness", "0")  # of 15 on its own: on a busy machine its workers would never be heard
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else it writes one into the user's home
        runtime = {"env_vars": {"PYTHONPATH": here}}
        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, runtime_env=runtime)
        yield
        ray.shutdown()


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.slow)])
def executor(request: pytest.FixtureRequest, store: JobStore) -> Iterator[Executor]:
    """Two workers."""
    chosen: Executor
    if request.param == "ray":
        request.getfixturevalue("cluster")
        chosen = RayExecutor(store, partial(Tiny, SEGMENTS, PAUSE), Cluster(None, workers=2, num_cpus=1))
    else:
        chosen = LocalExecutor(store, tiny_command(store, segments=SEGMENTS, pause=PAUSE), ["a", "b"])
    chosen.start()
    yield chosen
    chosen.stop()


def test_jobs_are_done_and_cancelled(executor: Executor, store: JobStore) -> None:
    jobs = [submit(store) for _ in range(3)]
    until(lambda: store.get(jobs[0].id).state is State.RUNNING)
    until(lambda: "segment 0" in journal(store, jobs[0].id))
    assert executor.alive() == 2
    store.cancel(jobs[0].id)
    until(lambda: all(store.get(job.id).state.over for job in jobs))
    assert [store.get(job.id).state for job in jobs] == [State.CANCELLED, State.DONE, State.DONE]
    for job in jobs[1:]:
        with av.open(str(store.folder(job.id) / VIDEO)) as file:
            assert sum(1 for _ in file.decode(video=0)) == 10
        found = store.get(job.id)
        assert found.size == "64x48" and found.progress == 1 and found.attempts == 1
    store.retry(jobs[0].id)
    until(lambda: store.get(jobs[0].id).state is State.DONE)
    assert journal(store, jobs[0].id).count("segment 0") == 1


def test_a_stopped_executor_gives_back_what_it_was_doing(executor: Executor, store: JobStore) -> None:
    job = submit(store)
    until(lambda: "segment 1" in journal(store, job.id))
    executor.stop()
    assert store.get(job.id).state is State.QUEUED
    kept = journal(store, job.id)
    assert "video" not in kept
    time.sleep(0.5)
    assert journal(store, job.id) == kept and executor.alive() == 0


def test_a_lost_worker_s_job_goes_on_elsewhere(executor: Executor, store: JobStore) -> None:
    job = submit(store)
    until(lambda: "segment 1" in journal(store, job.id))
    _kill_workers(executor)
    until(lambda: store.get(job.id).state is State.DONE)
    lines = journal(store, job.id)
    assert store.get(job.id).attempts >= 2
    assert lines.count("segment 0") == lines.count("segment 1") == lines.count("video") == 1


def test_a_worker_killed_for_the_sake_of_stopping_is_not_blamed(store: JobStore) -> None:
    job = submit(store)
    names: list[str] = []

    def command(device: str, name: str) -> list[str]:
        names.append(name)
        return ["sleep", "600"]  # takes nothing, so that the job can be taken in its name

    for number in range(store.limits.losses + 1):
        executor = LocalExecutor(store, command, ["a"])
        executor.start()
        until(lambda number=number: len(names) > number)  # type: ignore[misc]
        assert Leases(store).claim(names[-1]) is not None
        executor.stop()
        assert store.get(job.id).state is State.QUEUED


def _kill_workers(executor: Executor) -> None:
    if isinstance(executor, LocalExecutor):
        for slot in executor._slots:
            if slot.process is not None and slot.process.poll() is None:
                os.kill(slot.process.pid, signal.SIGKILL)
        return
    import psutil

    for process in psutil.Process().children(recursive=True):
        if process.name().startswith("ray::_Actor"):
            process.kill()
