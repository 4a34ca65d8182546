"""What travels between the queue's machine and a worker far away, without a cluster between them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from queue_cases import journal, submit
from talkies.domain.errors import InputError, TalkiesError
from talkies.jobs.executors.ray import Message, _Actor, _apply, _read_folder, _write
from talkies.jobs.job import Job, Task
from talkies.jobs.store import JobStore
from talkies.jobs.work import VIDEO, Generator, Report, Stopped
from tiny_generator import Tiny


class Heard:
    """A report that keeps what it hears."""

    def __init__(self) -> None:
        self.size = ""

    def __call__(self, progress: float, doing: str) -> None: ...

    def describe(self, seconds: float, size: str) -> None:
        self.size = size


def _travel(store: JobStore, job: Job, actor: _Actor, on: Callable[[Message], None] = lambda _: None) -> Heard:
    folder, report = store.folder(job.id), Heard()
    for message in actor.make(job.task_json, _read_folder(folder)):
        on(message)
        if message[0] != "progress":
            _apply(message, folder, report)
    return report


def test_a_job_is_done_far_away(store: JobStore) -> None:
    job = submit(store)
    report = _travel(store, job, _Actor(partial(Tiny, 3, 0)))
    assert report.size == "64x48" and (store.folder(job.id) / VIDEO).stat().st_size > 1_000
    assert journal(store, job.id) == ["segment 0", "segment 1", "segment 2", "video"]
    assert not (store.folder(job.id) / f"{VIDEO}.unfinished" / "frames-000000.mkv").exists()


def test_a_job_told_to_stop_goes_on_with_another(store: JobStore) -> None:
    job = submit(store)
    actor = _Actor(partial(Tiny, 5, 0))

    def tell(message: Message) -> None:
        if message[:2] == ("progress", 0.4):
            actor.stop()

    with pytest.raises(Stopped):
        _travel(store, job, actor, tell)
    done = journal(store, job.id)
    assert done[:2] == ["segment 0", "segment 1"] and "video" not in done
    _travel(store, job, _Actor(partial(Tiny, 5, 0)))
    assert journal(store, job.id)[: len(done)] == done and len(journal(store, job.id)) == 6


def test_a_journey_broken_off_anywhere_leaves_what_can_be_resumed(store: JobStore) -> None:
    whole = submit(store)
    count = len(list(_Actor(partial(Tiny, 3, 0)).make(whole.task_json, _read_folder(store.folder(whole.id)))))
    for messages in range(0, count, 3):
        job = submit(store)
        left = messages

        def leave(_: Message) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise ConnectionError

        with pytest.raises(ConnectionError):
            _travel(store, job, _Actor(partial(Tiny, 3, 0)), leave)
        _travel(store, job, _Actor(partial(Tiny, 3, 0)))
        assert (store.folder(job.id) / VIDEO).is_file()


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InputError("a", "b"), InputError), (TalkiesError("a"), TalkiesError), (OSError("x"), RuntimeError)],
)
def test_errors_travel(store: JobStore, error: Exception, kind: type[Exception]) -> None:
    job = submit(store)

    def make() -> Generator:
        def generate(task: Task, folder: Path, report: Report) -> None:
            raise error

        return generate

    with pytest.raises(kind) as told:
        _travel(store, job, _Actor(make))
    assert str(error) in str(told.value)


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x"])
def test_no_worker_writes_outside_the_job_s_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(TalkiesError, match="outside"):
        _write(tmp_path / "job", name, b"x")
    assert list(tmp_path.iterdir()) == []
