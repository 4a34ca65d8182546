"""The workers' side of the queue, and its laws under any order of events."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from queue_cases import insert, submit
from talkies.jobs.errors import JobConflict
from talkies.jobs.job import JobError, State
from talkies.jobs.leases import Claim, LeaseLost, Leases
from talkies.jobs.store import JobStore, Limits


def _expire(store: JobStore) -> None:
    with store.database.write() as connection:
        connection.execute("UPDATE jobs SET lease = ? WHERE state = 'running'", (time.time() - 1,))


def _taken(leases: Leases, worker: str = "w") -> Claim:
    claim = leases.claim(worker)
    assert claim is not None
    return claim


def test_jobs_are_taken_in_order_and_once(store: JobStore) -> None:
    insert(store, 3)
    leases = Leases(store)
    taken = [_taken(leases).job.id for _ in range(3)]
    assert taken == sorted(taken) and leases.claim("w") is None


def test_a_lost_lease_lets_another_work_and_the_first_write_nothing(store: JobStore) -> None:
    submit(store)
    leases = Leases(store)
    first = _taken(leases, "first")
    assert leases.beat(first, 0.5, "drawing")
    _expire(store)
    second = _taken(leases, "second")
    assert second.job.id == first.job.id and second.attempt == 2 and second.job.progress == 0.5
    for call in (
        lambda: leases.beat(first, 0.9, ""),
        lambda: leases.finish(first),
        lambda: leases.fail(first, JobError("x", "y")),
        lambda: leases.release(first),
        lambda: leases.describe(first, 1, "1x1"),
    ):
        with pytest.raises(LeaseLost):
            call()
    leases.finish(second)
    job = store.get(first.job.id)
    assert job.state is State.DONE and job.progress == 1 and job.expires is not None
    with pytest.raises(LeaseLost):
        leases.finish(second)


def test_a_job_that_takes_its_workers_down_fails_in_the_end(store: JobStore) -> None:
    job = submit(store)
    leases = Leases(store)
    for number in range(store.limits.losses):
        assert _taken(leases, f"w{number}").job.id == job.id
        assert leases.lose(f"w{number}") == 1
    lost = store.get(job.id)
    assert lost.state is State.FAILED and lost.error is not None and lost.error.code == "worker_lost"
    assert "3 times" in lost.error.message
    assert store.retry(job.id).state is State.QUEUED


def test_a_job_that_gets_further_outlives_any_number_of_workers(tmp_path: Path) -> None:
    store = JobStore(tmp_path / "queue", Limits(free_bytes=0))
    job = submit(store)
    leases = Leases(store)
    for number in range(2 * store.limits.losses):
        leases.beat(_taken(leases, f"w{number}"), 0.05 * (number + 1), "drawing")
        assert leases.lose(f"w{number}") == 1
    assert store.get(job.id).state is State.QUEUED
    for number in range(store.limits.losses - 1):  # one was lost since it last got further
        leases.beat(_taken(leases, f"v{number}"), 0.05, "drawing again")
        leases.lose(f"v{number}")
    assert store.get(job.id).state is State.FAILED


def test_a_cancelled_job_of_a_dead_worker_is_not_begun_again(store: JobStore) -> None:
    job = submit(store)
    leases = Leases(store)
    claim = _taken(leases)
    store.cancel(job.id)
    assert not leases.beat(claim, 0.1, "")
    _expire(store)
    assert leases.claim("other") is None
    assert store.get(job.id).state is State.CANCELLED


def test_a_stopped_worker_is_not_blamed(store: JobStore) -> None:
    submit(store)
    leases = Leases(store)
    for _ in range(2 * store.limits.losses):
        leases.release(_taken(leases))
        _taken(leases, "killed")
        assert leases.recall("killed") == 1
    assert store.list()[0].state is State.QUEUED


def test_nothing_is_begun_on_a_full_disk(store: JobStore) -> None:
    submit(store)
    assert Leases(JobStore(store.root, Limits(free_bytes=1 << 60))).claim("w") is None
    assert Leases(store).claim("w") is not None


class Queue(RuleBasedStateMachine):
    """Clients and workers do anything in any order; time passes at will."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self.store = JobStore(Path(self._folder.name), Limits(free_bytes=0, losses=1_000))
        with self.store.database.write() as connection:
            connection.execute("PRAGMA synchronous")
        self.store.database.connection.execute("PRAGMA synchronous = OFF")
        self.leases = Leases(self.store)
        self.claims: list[Claim] = []
        self.submitted = 0
        self.finished: dict[str, int] = {}

    @rule()
    def submit(self) -> None:
        insert(self.store, 1)
        self.submitted += 1

    @rule()
    def claim(self) -> None:
        before = self.store.list(ascending=True, limit=1_000)
        claim = self.leases.claim(f"w{len(self.claims)}")
        waiting = [job for job in before if job.state is State.QUEUED]
        if claim is None:
            assert not waiting
        else:
            self.claims.append(claim)

    @rule(data=st.data(), how=st.sampled_from(["beat", "finish", "fail", "release"]))
    def act(self, data: st.DataObject, how: str) -> None:
        if not self.claims:
            return
        claim = data.draw(st.sampled_from(self.claims))
        job = self.store.get(claim.job.id)
        holds = job.state is State.RUNNING and job.attempts == claim.attempt
        try:
            if how == "beat":
                self.leases.beat(claim, 0.5, "x")
            elif how == "finish":
                self.leases.finish(claim)
                self.finished[job.id] = self.finished.get(job.id, 0) + 1
            elif how == "fail":
                self.leases.fail(claim, JobError("x", "y"))
            else:
                self.leases.release(claim)
            assert holds
        except LeaseLost:
            assert not holds

    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        if self.claims:
            self.leases.lose(data.draw(st.sampled_from(self.claims)).worker)

    @rule()
    def expire(self) -> None:
        _expire(self.store)
        assert self.leases.expire() == 0 or self.store.counts()[State.RUNNING] == 0

    @rule(data=st.data(), how=st.sampled_from(["cancel", "retry"]))
    def client(self, data: st.DataObject, how: str) -> None:
        jobs = self.store.list(limit=1_000)
        if jobs:
            job = data.draw(st.sampled_from(jobs))
            try:
                (self.store.cancel if how == "cancel" else self.store.retry)(job.id)
            except JobConflict:
                assert how == "retry" and job.state not in (State.FAILED, State.CANCELLED)

    @invariant()
    def no_job_is_lost_and_none_is_done_twice(self) -> None:
        assert sum(self.store.counts().values()) == self.submitted
        assert all(count == 1 for count in self.finished.values())

    @invariant()
    def what_is_over_says_how(self) -> None:
        for job in self.store.list(limit=1_000):
            assert job.state.over == (job.finished is not None) == (job.expires is not None)
            assert (job.error is not None) == (job.state in (State.FAILED, State.CANCELLED))

    def teardown(self) -> None:
        self.store.database.close()
        self._folder.cleanup()


TestQueue = Queue.TestCase
TestQueue.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)
