"""A worker: takes jobs one after another, keeps their leases, turns what happens into states."""

from __future__ import annotations

import json
import logging
import shutil
import sqlite3
import threading
import time
from pathlib import Path
from typing import Protocol

from talkies.domain.errors import InputError, TalkiesError
from talkies.jobs.folders import LOCK, sole
from talkies.jobs.job import JobError, Task
from talkies.jobs.leases import Claim, LeaseLost, Leases
from talkies.jobs.store import JobStore

VIDEO, THUMBNAIL, SPRITESHEET, PREVIEW, RESULT = (
    "video.mp4", "thumbnail.webp", "spritesheet.jpg", "preview.jpg", "result.json",
)  # fmt: skip
#: Folder of the parts that a generator goes on from.
UNFINISHED = f"{VIDEO}.unfinished"
_log = logging.getLogger(__name__)


class Stopped(Exception):  # noqa: N818 - not an error
    """Raised in the generator, at its next report, when it is to stop: cancelled, shut down, or the lease lost."""


class WorkerLost(Exception):  # noqa: N818 - happens to the machine, not to the task
    """Raised by a generator that works elsewhere, when the machine it works on is gone."""


class Report(Protocol):
    """How a generator tells how far it is."""

    def __call__(self, progress: float, doing: str) -> None:
        """Reports progress (0..1) and what is being done.

        Raises:
            Stopped: Leave now; finished parts may stay in the folder.
        """

    def describe(self, seconds: float, size: str) -> None:
        """Reports the length in seconds and the size (WIDTHxHEIGHT) of the video, once they are known."""


class Generator(Protocol):
    """What makes a video; handed in by who starts the worker."""

    def __call__(self, task: Task, folder: Path, report: Report) -> None:
        """Makes `folder/video.mp4`, whole or not at all, as the last thing; may leave `preview.jpg` while it works.

        Called again with the same folder after it was stopped or killed, it goes on from the parts in `UNFINISHED`.

        Raises:
            InputError: The task cannot be done.
            TalkiesError: It could not be done this time.
        """


class _Heart:
    """Renews a claim's lease in a thread of its own, so that one long step does not lose the job."""

    def __init__(self, leases: Leases, claim: Claim, stop: threading.Event) -> None:
        self.lost = self.cancelled = False
        self._leases, self._claim, self._stop = leases, claim, stop
        self._progress, self._doing = claim.job.progress, "starting"
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heart", daemon=True)
        self._thread.start()

    def __call__(self, progress: float, doing: str) -> None:
        self._progress, self._doing = progress, doing
        if self.lost or self.cancelled or self._stop.is_set():
            raise Stopped

    def describe(self, seconds: float, size: str) -> None:
        try:
            self._leases.describe(self._claim, seconds, size)
        except LeaseLost:
            self.lost = True
            raise Stopped from None

    def end(self) -> None:
        """Stops beating; afterwards nothing is written any more."""
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        period = self._leases.store.limits.lease / 3
        told, last = (self._progress, self._doing), time.monotonic()
        while not self._over.wait(min(0.5, period)):
            now = (self._progress, self._doing)
            try:
                if now == told and not self._due(last, period):
                    continue
                self.cancelled = not self._leases.beat(self._claim, *now) or self.cancelled
                told, last = now, time.monotonic()
            except LeaseLost:
                self.lost = True
                return
            except sqlite3.Error:  # a full disk or a busy file: the lease lasts a while, the next beat may succeed
                _log.warning("heartbeat failed", exc_info=True)
        self._leases.store.database.close()

    def _due(self, last: float, period: float) -> bool:
        # Also when the job was cancelled: reading that takes no lock.
        if time.monotonic() - last >= period:
            return True
        job = self._leases.store.database.connection.execute(
            "SELECT cancelling FROM jobs WHERE id = ?", (self._claim.job.id,)
        ).fetchone()
        return job is None or bool(job["cancelling"] and not self.cancelled)


def work(
    store: JobStore,
    generate: Generator,
    name: str,
    stop: threading.Event,
    pause: float = 0.5,
) -> None:
    """Does jobs until told to stop; a job in progress is then given back with its finished parts.

    Args:
        store: The queue.
        generate: Makes videos.
        name: Unique among workers.
        stop: Set from elsewhere.
        pause: Seconds between looks at an empty queue.
    """
    leases = Leases(store)
    elsewhere: dict[str, float] = {}  # jobs whose folder another worker still holds, and until when to leave them alone
    while not stop.is_set():
        now = time.monotonic()
        elsewhere = {job_id: until for job_id, until in elsewhere.items() if until > now}
        try:
            claim = leases.claim(name, elsewhere)
            if claim is not None and not do(store, leases, claim, generate, stop):
                elsewhere[claim.job.id] = time.monotonic() + store.limits.lease / 3
        except (sqlite3.Error, OSError):  # a full disk, say; what was claimed comes back when its lease runs out
            _log.warning("the queue cannot be used", exc_info=True)
            claim = None
        if claim is None:
            stop.wait(pause)


def do(store: JobStore, leases: Leases, claim: Claim, generate: Generator, stop: threading.Event) -> bool:
    """Does one job; returns False if its folder is still in another worker's hands and it was given back."""
    folder = store.folder(claim.job.id)
    try:
        with sole(folder / LOCK) as free:
            if not free:
                leases.release(claim)
                return False
            _do(leases, claim, folder, generate, stop)
    except LeaseLost:
        _log.warning("%s: the lease was lost", claim.job.id)
    except FileNotFoundError:
        _settle(leases, claim, JobError("generation_failed", "The job's folder is gone."))
    return True


def _do(leases: Leases, claim: Claim, folder: Path, generate: Generator, stop: threading.Event) -> None:
    if (folder / RESULT).is_file():  # done before, but the worker was killed before it could say so
        leases.finish(claim)
        return
    heart = _Heart(leases, claim, stop)
    error: JobError | None = None
    released = lost = False
    try:
        if not (folder / VIDEO).is_file():  # else a worker was killed between the video and its pictures
            generate(claim.job.task, folder, heart)
        _complete(folder)
    except Stopped:
        released = not heart.cancelled
        error = JobError("cancelled", "Cancelled.")
    except WorkerLost:
        lost = True
        _log.warning("%s: its machine was lost", claim.job.id)
    except InputError as problem:
        error = JobError("invalid_input", _public(problem, folder))
    except TalkiesError as problem:
        error = JobError("generation_failed", _public(problem, folder))
    except Exception as problem:
        _log.exception("%s failed", claim.job.id)
        error = JobError("generation_failed", f"Internal error: {type(problem).__name__}: {_public(problem, folder)}")
    finally:
        heart.end()
    if lost:
        leases.lose(claim.worker)
    elif released:
        leases.release(claim)
    else:
        _settle(leases, claim, error)


def _settle(leases: Leases, claim: Claim, error: JobError | None) -> None:
    if error is None:
        leases.finish(claim)
    else:
        leases.fail(claim, error)


def _complete(folder: Path) -> None:
    """Makes the pictures that go with a video, and says that all is there."""
    from talkies.jobs.stills import write_stills
    from talkies.media.staging import staged

    shutil.rmtree(folder / UNFINISHED, ignore_errors=True)
    try:
        facts = write_stills(folder / VIDEO, folder / THUMBNAIL, folder / SPRITESHEET)
    except TalkiesError:
        (folder / VIDEO).unlink(missing_ok=True)  # or it would be taken for whole when it is tried again
        raise
    with staged(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _public(error: Exception, folder: Path) -> str:
    """An error in one line, without the paths of this machine."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text.replace(f"{folder}/", "").replace(str(folder.parent.parent), "")[:1_000]
