"""kill -9 at random moments: no job lost, none done twice, results whole, finished parts never made again."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import av
import pytest

from queue_cases import journal, submit, tiny_command, until
from talkies.jobs.executors.local import LocalExecutor
from talkies.jobs.job import State
from talkies.jobs.store import JobStore, Limits
from talkies.jobs.work import VIDEO

SEGMENTS = 5


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    """A queue that never takes a job for the cause of its workers' deaths: here somebody else kills them."""
    return JobStore(tmp_path / "queue", Limits(lease=5.0, free_bytes=0, losses=1_000))


def _kill_while_working(store: JobStore, jobs: int, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    executor = LocalExecutor(store, tiny_command(store, segments=SEGMENTS, pause=0.1), ["a", "b"])
    executor.start()
    submitted = [submit(store) for _ in range(jobs)]
    done = 0
    while done < kills:
        time.sleep(chance.uniform(0.0, 0.4))
        alive = [slot for slot in executor._slots if slot.process is not None and slot.process.poll() is None]
        busy = [slot for slot in alive if any(job.state is State.RUNNING for job in store.list(limit=100))]
        if not busy:
            if all(job.state.over for job in store.list(limit=1_000)):
                submitted.append(submit(store))
            continue
        slot = chance.choice(busy)
        assert slot.process is not None
        os.kill(slot.process.pid, signal.SIGKILL)
        slot.pause = 0.05
        done += 1
    until(lambda: all(store.get(job.id).state.over for job in submitted), 600)
    executor.stop()
    for job in submitted:
        found = store.get(job.id)
        assert found.state is State.DONE, found
        lines = journal(store, job.id)
        # A kill may fall between a segment's file and its note, so a note may be missing, never doubled.
        segments = [line for line in lines if line.startswith("segment")]
        assert len(segments) == len(set(segments)) <= SEGMENTS
        assert lines.count("video") <= 2  # twice only where the kill fell before the pictures were made
        with av.open(str(store.folder(job.id) / VIDEO)) as file:
            assert sum(1 for _ in file.decode(video=0)) == 10
        left = {path.name for path in store.folder(job.id).iterdir()}
        assert not {name for name in left if name.endswith(".unfinished")}
    assert len(store.list(limit=1_000)) == len(submitted)


@pytest.mark.timeout(1200)
def test_killed_at_a_few_moments(store: JobStore) -> None:
    _kill_while_working(store, jobs=2, kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killed_at_fifty_moments(store: JobStore) -> None:
    _kill_while_working(store, jobs=12, kills=50, seed=2)
