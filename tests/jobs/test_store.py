"""The clients' side of the queue."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest

from queue_cases import insert, submit, task
from talkies.domain.errors import InputError
from talkies.jobs.errors import JobConflict, JobNotFound, QueueFull
from talkies.jobs.job import State
from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore


def test_a_submitted_job_is_there_with_its_inputs_after_reopening(store: JobStore) -> None:
    job = submit(store)
    again = JobStore(store.root, store.limits)
    assert again.get(job.id) == job
    assert job.state is State.QUEUED and job.task == task() and job.seconds == 0.4
    assert (store.folder(job.id) / "inputs" / "image.png").is_file()
    assert store.root.stat().st_mode & 0o077 == 0


def test_a_draft_that_is_not_submitted_leaves_nothing(store: JobStore) -> None:
    with pytest.raises(ZeroDivisionError), store.draft() as draft:
        (draft.inputs / "image.png").write_bytes(b"x")
        raise ZeroDivisionError
    assert list(store.jobs_folder.iterdir()) == []
    assert store.list() == []


def test_others_cannot_see_or_touch_a_job(store: JobStore) -> None:
    job = submit(store, "ana")
    for call in (store.get, store.cancel, store.retry, store.delete):
        with pytest.raises(JobNotFound) as refused:
            call(job.id, "ben")
        with pytest.raises(JobNotFound) as unknown:
            call("video_" + "0" * 32, "ben")
        assert str(refused.value).replace(job.id, "") == str(unknown.value).replace("video_" + "0" * 32, "")
    assert store.list("ben") == [] and store.list("ana") == [job]


@pytest.mark.parametrize("job_id", ["", "..", "../../etc", "video_1", "video_" + "0" * 31 + "\n", "video_" + "G" * 32])
def test_what_is_not_an_id_names_no_folder(store: JobStore, job_id: str) -> None:
    with pytest.raises(JobNotFound):
        store.folder(job_id)


def test_the_same_key_gives_the_same_job(store: JobStore) -> None:
    first = submit(store, idempotency="k", fingerprint="a")
    assert submit(store, idempotency="k", fingerprint="a").id == first.id
    assert submit(store, "ben", idempotency="k", fingerprint="a").id != first.id
    assert len(list(store.jobs_folder.iterdir())) == 2
    with pytest.raises(JobConflict):
        submit(store, idempotency="k", fingerprint="b")
    assert len(list(store.jobs_folder.iterdir())) == 2


def test_limits_are_kept_and_say_when_to_come_back(store: JobStore) -> None:
    insert(store, 3, "ana")
    for limits, code in (
        (replace(store.limits, waiting=3), "queue_full"),
        (replace(store.limits, active_per_owner=3), "quota_exceeded"),
        (replace(store.limits, jobs_per_owner=3), "quota_exceeded"),
        (replace(store.limits, free_bytes=1 << 60), "disk_full"),
    ):
        full = JobStore(store.root, limits)
        with pytest.raises(QueueFull) as refused:
            submit(full, "ana")
        assert refused.value.code == code and refused.value.retry_after > 0
    assert list(store.jobs_folder.iterdir()) == []
    submit(JobStore(store.root, replace(store.limits, active_per_owner=3)), "ben")


def test_pages_cover_all_jobs_once_in_order(store: JobStore) -> None:
    insert(store, 25, "ana")
    insert(store, 5, "ben")
    for ascending in (False, True):
        seen: list[str] = []
        after = None
        while page := store.list("ana", 10, after, ascending):
            seen += [job.id for job in page]
            after = page[-1].id
        assert len(seen) == 25 and seen == sorted(seen, reverse=not ascending)
    with pytest.raises(JobNotFound):
        store.list("ben", after=seen[0])


def test_cancel_retry_delete(store: JobStore) -> None:
    job = submit(store)
    with pytest.raises(JobConflict):
        store.retry(job.id)
    cancelled = store.cancel(job.id)
    assert cancelled.state is State.CANCELLED and cancelled.error is not None and cancelled.expires is not None
    assert store.cancel(job.id) == cancelled
    assert store.retry(job.id) == job
    claim = Leases(store).claim("w")
    assert claim is not None
    with pytest.raises(JobConflict):
        store.delete(job.id)
    assert store.cancel(job.id).cancelling
    Leases(store).release(claim)
    store.delete(job.id)
    assert not store.folder(job.id).exists() and store.list() == []
    with pytest.raises(JobNotFound):
        store.delete(job.id)


def test_sweeping_removes_what_expired_and_what_belongs_to_nobody(store: JobStore) -> None:
    old, kept = submit(store), submit(store)
    store.cancel(old.id)
    with store.database.write() as connection:
        connection.execute("UPDATE jobs SET expires = ? WHERE id = ?", (time.time() - 1, old.id))
    orphan = store.folder("video_" + "a" * 32)
    orphan.mkdir()
    import os

    os.utime(orphan, (0, 0))
    fresh = store.folder("video_" + "b" * 32)
    fresh.mkdir()
    assert store.sweep() == 1
    assert {path.name for path in store.jobs_folder.iterdir()} == {kept.id, fresh.name}
    assert store.list() == [kept]


def test_a_queue_of_ten_thousand_lists_in_50_ms(store: JobStore) -> None:
    insert(store, 10_000, "ana")
    insert(store, 10_000, "ben", "done")
    middle = store.list("ana", 5_000)[-1].id

    def cpu(call) -> float:
        best = 1.0
        for _ in range(5):
            start = time.thread_time()
            call()
            best = min(best, time.thread_time() - start)
        return best

    assert cpu(lambda: store.list("ana", 100)) < 0.05
    assert cpu(lambda: store.list("ana", 100, middle)) < 0.05
    assert cpu(store.counts) < 0.05
    roomy = JobStore(store.root, replace(store.limits, waiting=100_000))
    assert cpu(lambda: roomy.require_room("carl")) < 0.05


def test_a_file_that_is_no_queue_is_refused(tmp_path: Path) -> None:
    (tmp_path / "queue.sqlite3").write_bytes(b"not a database" * 100)
    with pytest.raises(InputError, match="cannot be opened"):
        JobStore(tmp_path)
    with pytest.raises(InputError):
        JobStore(tmp_path / "queue.sqlite3" / "below")
