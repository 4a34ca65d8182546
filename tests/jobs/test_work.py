"""A worker's day: jobs done, stopped, cancelled, failed, resumed."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import av
import pytest
from PIL import Image

from queue_cases import journal, submit, until
from talkies.domain.errors import InputError, TalkiesError
from talkies.jobs.folders import LOCK, sole
from talkies.jobs.job import Job, State, Task
from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore
from talkies.jobs.work import RESULT, SPRITESHEET, THUMBNAIL, VIDEO, Generator, Report, WorkerLost, do, work
from tiny_generator import Tiny


def _do(store: JobStore, generate: Generator, stop: threading.Event | None = None) -> Job:
    leases = Leases(store)
    claim = leases.claim("w")
    assert claim is not None
    do(store, leases, claim, generate, stop or threading.Event())
    return store.get(claim.job.id)


def test_a_job_becomes_a_video_with_its_pictures(store: JobStore) -> None:
    submit(store)
    job = _do(store, Tiny())
    folder = store.folder(job.id)
    assert job.state is State.DONE and job.size == "64x48" and job.seconds == pytest.approx(0.4)
    with av.open(str(folder / VIDEO)) as file:
        assert sum(1 for _ in file.decode(video=0)) == 10
        assert file.streams.audio
    facts = json.loads((folder / RESULT).read_text())
    assert facts["frames"] == 10 and facts["bytes"] == (folder / VIDEO).stat().st_size
    assert Image.open(folder / THUMBNAIL).size == (64, 48) and Image.open(folder / THUMBNAIL).format == "WEBP"
    assert Image.open(folder / SPRITESHEET).size == (5 * 64, 4 * 48)
    assert journal(store, job.id) == [*(f"segment {number}" for number in range(4)), "video"]


def test_a_worker_told_to_stop_gives_its_job_back_and_the_next_goes_on(store: JobStore) -> None:
    submit(store)
    stop = threading.Event()

    def stopping(task: Task, folder: Path, report: Report) -> None:
        class Halfway:
            def __call__(self, progress: float, doing: str) -> None:
                if progress >= 0.5:
                    stop.set()
                report(progress, doing)

            describe = report.describe

        Tiny()(task, folder, Halfway())

    job = _do(store, stopping, stop)
    assert job.state is State.QUEUED and journal(store, job.id) == ["segment 0", "segment 1"]
    assert _do(store, Tiny()).state is State.DONE
    assert journal(store, job.id) == ["segment 0", "segment 1", "segment 2", "segment 3", "video"]


def test_a_cancelled_job_stops_and_can_be_tried_again(store: JobStore) -> None:
    job = submit(store)
    thread = threading.Thread(target=_do, args=(store, Tiny(segments=10, pause=0.3)))
    thread.start()
    until(lambda: "segment 1" in journal(store, job.id))
    assert store.cancel(job.id).state is State.RUNNING
    thread.join()
    cancelled = store.get(job.id)
    assert cancelled.state is State.CANCELLED and not (store.folder(job.id) / VIDEO).exists()
    done = journal(store, job.id)
    store.retry(job.id)
    assert _do(store, Tiny(segments=10, pause=0)).state is State.DONE
    assert journal(store, job.id)[: len(done)] == done and len(journal(store, job.id)) == 11


def _raise(error: Exception) -> Generator:
    def generate(task: Task, folder: Path, report: Report) -> None:
        raise error

    return generate


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (InputError("The picture is too small."), "invalid_input", "The picture is too small."),
        (TalkiesError("Out of memory.", "Choose less."), "generation_failed", "Out of memory. Choose less."),
        (ZeroDivisionError("what"), "generation_failed", "Internal error: ZeroDivisionError: what"),
    ],
)
def test_failures_say_why(store: JobStore, error: Exception, code: str, words: str) -> None:
    submit(store)
    job = _do(store, _raise(error))
    assert job.state is State.FAILED and job.error is not None
    assert (job.error.code, job.error.message) == (code, words)


def test_errors_tell_nothing_of_the_server_s_paths(store: JobStore) -> None:
    job = submit(store)
    folder = store.folder(job.id)
    failed = _do(store, _raise(InputError(f"There is no file {folder}/inputs/a.wav in {store.root}.")))
    assert failed.error is not None and str(store.root) not in failed.error.message


def test_a_broken_video_is_not_a_result(store: JobStore) -> None:
    submit(store)

    def broken(task: Task, folder: Path, report: Report) -> None:
        (folder / VIDEO).write_bytes(b"\0" * 100)

    job = _do(store, broken)
    assert job.state is State.FAILED and job.error is not None and "not whole" in job.error.message
    store.retry(job.id)
    assert _do(store, Tiny()).state is State.DONE


@pytest.mark.parametrize("pictures", [True, False], ids=["and its pictures", "but not its pictures"])
def test_a_video_finished_before_the_worker_was_killed_is_not_made_again(store: JobStore, pictures: bool) -> None:
    submit(store)
    leases = Leases(store)
    claim = leases.claim("killed")
    assert claim is not None

    class Report:
        def __call__(self, progress: float, doing: str) -> None: ...

        def describe(self, seconds: float, size: str) -> None: ...

    folder = store.folder(claim.job.id)
    Tiny()(claim.job.task, folder, Report())
    if pictures:
        (folder / RESULT).write_text("{}")
    leases.lose("killed")
    job = _do(store, _raise(AssertionError("made again")))
    assert job.state is State.DONE and (pictures or (folder / THUMBNAIL).is_file())


def test_a_lost_machine_is_not_the_job_s_fault(store: JobStore) -> None:
    submit(store)
    assert _do(store, _raise(WorkerLost("gone"))).state is State.QUEUED


def test_a_folder_in_other_hands_is_left_alone(store: JobStore) -> None:
    job, other = submit(store), submit(store)
    stop = threading.Event()
    with sole(store.folder(job.id) / LOCK) as free:
        assert free
        thread = _start(store, Tiny(), stop)
        until(lambda: store.get(other.id).state is State.DONE)
        assert store.get(job.id).state is State.QUEUED
    until(lambda: store.get(job.id).state is State.DONE)
    stop.set()
    thread.join()


def test_a_disk_that_fails_for_a_while_ends_no_worker(store: JobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    job = submit(store)
    failed = threading.Event()

    def fails() -> int:
        failed.set()
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(store, "free_bytes", fails)
        stop = threading.Event()
        thread = _start(store, Tiny(), stop)
        assert failed.wait(60)
    until(lambda: store.get(job.id).state is State.DONE)
    stop.set()
    thread.join()


def test_many_workers_do_every_job_once(store: JobStore) -> None:
    jobs = [submit(store) for _ in range(8)]
    stop = threading.Event()
    threads = [_start(store, Tiny(segments=2, pause=0), stop, f"w{number}") for number in range(3)]
    until(lambda: all(store.get(job.id).state is State.DONE for job in jobs))
    stop.set()
    for thread in threads:
        thread.join()
    assert all(journal(store, job.id).count("video") == 1 for job in jobs)


def _start(store: JobStore, generate: Generator, stop: threading.Event, name: str = "w") -> threading.Thread:
    target: Callable[..., None] = work
    thread = threading.Thread(target=target, args=(store, generate, name, stop), kwargs={"pause": 0.05})
    thread.start()
    return thread
