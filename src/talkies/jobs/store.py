"""The clients' side of the queue: submit, look, cancel, retry, delete, within quotas and disk space."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkies.domain.errors import InputError
from talkies.jobs.database import Database
from talkies.jobs.errors import JobConflict, JobNotFound, QueueFull
from talkies.jobs.folders import remove_folder, unused
from talkies.jobs.job import Job, JobError, State, Task

_ID = re.compile(r"video_[0-9a-f]{32}")
_COLUMNS = (
    "id, owner, state, task AS task_json, created, started, finished, expires, progress, doing, seconds, size, "
    "error_code, error, attempts, cancelling"
)
#: A folder without a job is older than this, in seconds, before it counts as left behind.
_ABANDONED = 3600.0


@dataclass(frozen=True)
class Limits:
    """How much the queue takes.

    Attributes:
        waiting: Jobs waiting at once, everybody's.
        active_per_owner: Jobs one owner may have waiting or running.
        jobs_per_owner: Jobs one owner may keep, finished ones included.
        free_bytes: Disk space that is left alone: below it nothing is accepted and nothing started.
        retention: Seconds after which a job that is over is removed with its files.
        lease: Seconds a worker's word holds; it renews it three times as often.
        losses: A job that was being done when this many workers were lost, without getting further meanwhile, counts as
            their cause, and fails.
    """

    waiting: int = 1_000
    active_per_owner: int = 100
    jobs_per_owner: int = 10_000
    free_bytes: int = 2_000_000_000
    retention: float = 7 * 86_400.0
    lease: float = 30.0
    losses: int = 5


@dataclass(frozen=True)
class Draft:
    """A job's folder before the job is submitted.

    Attributes:
        id: The id the job will have.
        folder: Its folder.
    """

    id: str
    folder: Path

    @property
    def inputs(self) -> Path:
        """Where pictures and voices go."""
        return self.folder / "inputs"


#: Named here: inside `JobStore`, `list` is something else.
_Jobs = list[Job]


class JobStore:
    """The queue below one folder.

    Safe to use from many threads and processes at once.

    Args:
        root: Made when it is not there, readable by its owner only.
        limits: How much it takes.

    Raises:
        InputError: The folder or the file in it cannot be used.
    """

    def __init__(self, root: Path, limits: Limits | None = None) -> None:
        self.root = root.absolute()
        self.limits = limits or Limits()
        self.jobs_folder = self.root / "jobs"
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.jobs_folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise InputError(f"The folder {root} cannot be used: {error.strerror or error}.") from None
        self.database = Database(self.root / "queue.sqlite3")

    # Submitting

    @contextmanager
    def draft(self) -> Iterator[Draft]:
        """A new folder for a job's inputs; removed again when the block raises or does not submit it."""
        job_id = f"video_{secrets.token_hex(16)}"
        draft = Draft(job_id, self.folder(job_id))
        draft.inputs.mkdir(parents=True)
        try:
            yield draft
        finally:
            if not self._exists(job_id):
                remove_folder(draft.folder)

    def submit(
        self,
        draft: Draft,
        task: Task,
        owner: str,
        seconds: float | None = None,
        idempotency: str | None = None,
        fingerprint: str = "",
    ) -> Job:
        """Queues a job.

        Args:
            draft: Its folder, inputs in place.
            task: What is to be made.
            owner: Whose it is.
            seconds: Length of the video, if it is known already.
            idempotency: The client's own key: the same key again gives the same job, and this draft is dropped.
            fingerprint: Of the request, to tell a repetition from another request under the same key.

        Returns:
            The job; an older one if `idempotency` is known.

        Raises:
            QueueFull: Quota, queue or disk.
            JobConflict: The key was used for another request.
        """
        for path in (*draft.inputs.iterdir(), draft.inputs, draft.folder, self.jobs_folder):
            _flush(path)
        with self.database.write() as connection:
            if idempotency is not None:
                known = self.find_repeated(owner, idempotency, fingerprint)
                if known is not None:
                    return known
            self.require_room(owner)
            connection.execute(
                "INSERT INTO jobs (id, owner, state, task, created, seconds, size, idempotency, fingerprint) "
                "VALUES (?, ?, 'queued', ?, ?, ?, ?, ?, ?)",
                (
                    draft.id, owner, task.model_dump_json(exclude_none=True), time.time(), seconds, task.size,
                    idempotency, fingerprint,
                ),
            )  # fmt: skip
        return self.get(draft.id)

    def find_repeated(self, owner: str, idempotency: str, fingerprint: str) -> Job | None:
        """The job an earlier request with the same key made.

        Raises:
            JobConflict: That request was another one.
        """
        row = self.database.connection.execute(
            f"SELECT fingerprint, {_COLUMNS} FROM jobs WHERE owner = ? AND idempotency = ?",  # noqa: S608
            (owner, idempotency),
        ).fetchone()
        if row is None:
            return None
        if row["fingerprint"] != fingerprint:
            raise JobConflict("This Idempotency-Key was used for another request.", "Use a new key for a new request.")
        return _job(row)

    def require_room(self, owner: str) -> None:
        """Checks quotas, queue and disk.

        Raises:
            QueueFull: There is no room.
        """
        if self.free_bytes() < self.limits.free_bytes:
            raise QueueFull("The disk is nearly full.", "disk_full", 60)
        connection, limits = self.database.connection, self.limits
        waiting: int = connection.execute("SELECT count(*) FROM jobs WHERE state = 'queued'").fetchone()[0]
        if waiting >= limits.waiting:
            raise QueueFull(f"{waiting} videos are waiting already.", "queue_full", self._usual_duration())
        active: int = connection.execute(
            "SELECT count(*) FROM jobs WHERE owner = ? AND state IN ('queued', 'running')", (owner,)
        ).fetchone()[0]
        if active >= limits.active_per_owner:
            raise QueueFull(f"{active} of your videos are not finished.", "quota_exceeded", self._usual_duration())
        kept: int = connection.execute("SELECT count(*) FROM jobs WHERE owner = ?", (owner,)).fetchone()[0]
        if kept >= limits.jobs_per_owner:
            raise QueueFull(f"{kept} videos of yours are kept; delete some.", "quota_exceeded", 3600)

    def free_bytes(self) -> int:
        """Disk space left below the root."""
        return shutil.disk_usage(self.root).free

    def _usual_duration(self) -> float:
        """Seconds the latest jobs took on average, within reason: when room may be expected."""
        row = self.database.connection.execute(
            "SELECT avg(finished - started) FROM "
            "(SELECT started, finished FROM jobs WHERE state = 'done' ORDER BY number DESC LIMIT 20)"
        ).fetchone()
        return min(600.0, max(2.0, row[0] or 10.0))

    # Looking

    def get(self, job_id: str, owner: str | None = None) -> Job:
        """One job.

        Args:
            job_id: Its id.
            owner: Who asks; None may see everybody's.

        Raises:
            JobNotFound: There is none, or it is not the owner's.
        """
        row = self.database.connection.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ?",  # noqa: S608
            (job_id,),
        ).fetchone()
        if row is None or (owner is not None and row["owner"] != owner):
            raise JobNotFound(job_id)
        return _job(row)

    def list(
        self, owner: str | None = None, limit: int = 20, after: str | None = None, ascending: bool = False
    ) -> _Jobs:
        """Jobs in the order of their arrival, newest first unless `ascending`.

        Args:
            owner: Whose; None is everybody's.
            limit: At most so many.
            after: Start behind this one.
            ascending: Oldest first.

        Raises:
            JobNotFound: `after` is not there.
        """
        conditions, values = ["1"], []
        if owner is not None:
            conditions.append("owner = ?")
            values.append(owner)
        if after is not None:
            self.get(after, owner)
            beyond = "number > " if ascending else "number < "
            conditions.append(beyond + "(SELECT number FROM jobs WHERE id = ?)")  # noqa: S608 - fixed words only
            values.append(after)
        rows = self.database.connection.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE {' AND '.join(conditions)} "  # noqa: S608 - fixed words only
            f"ORDER BY number {'ASC' if ascending else 'DESC'} LIMIT ?",
            (*values, limit),
        )
        return [_job(row) for row in rows]

    def position(self, job_id: str) -> int:
        """How many jobs wait before this one."""
        row = self.database.connection.execute(
            "SELECT count(*) FROM jobs WHERE state = 'queued' AND number < (SELECT number FROM jobs WHERE id = ?)",
            (job_id,),
        ).fetchone()
        return int(row[0])

    def counts(self) -> dict[State, int]:
        """How many jobs are in each state."""
        rows = self.database.connection.execute("SELECT state, count(*) FROM jobs GROUP BY state").fetchall()
        return dict.fromkeys(State, 0) | {State(state): count for state, count in rows}

    def folder(self, job_id: str) -> Path:
        """A job's folder.

        Raises:
            JobNotFound: This is not an id.
        """
        if not _ID.fullmatch(job_id):
            raise JobNotFound(job_id)
        return self.jobs_folder / job_id

    def _exists(self, job_id: str) -> bool:
        return self.database.connection.execute("SELECT 1 FROM jobs WHERE id = ?", (job_id,)).fetchone() is not None

    # Changing

    def cancel(self, job_id: str, owner: str | None = None) -> Job:
        """Stops a job: a waiting one at once, a running one at its next step; one that is over stays as it is.

        Raises:
            JobNotFound: There is none, or it is not the owner's.
        """
        self.get(job_id, owner)
        with self.database.write() as connection:
            connection.execute("UPDATE jobs SET cancelling = 1 WHERE id = ? AND state = 'running'", (job_id,))
            now = time.time()
            connection.execute(
                "UPDATE jobs SET state = 'cancelled', finished = ?, expires = ?, doing = '', "
                "error_code = 'cancelled', error = 'Cancelled.' WHERE id = ? AND state = 'queued'",
                (now, now + self.limits.retention, job_id),
            )
        return self.get(job_id, owner)

    def retry(self, job_id: str, owner: str | None = None) -> Job:
        """Queues a failed or cancelled job again; finished segments are not made again.

        Raises:
            JobNotFound: There is none, or it is not the owner's.
            JobConflict: It did not fail.
            QueueFull: Quota, queue or disk.
        """
        self.get(job_id, owner)
        with self.database.write() as connection:
            job = self.get(job_id, owner)
            if job.state not in (State.FAILED, State.CANCELLED):
                raise JobConflict(f"Only a failed or cancelled video can be tried again; this one is {job.state}.")
            self.require_room(job.owner)
            connection.execute(
                "UPDATE jobs SET state = 'queued', started = NULL, finished = NULL, expires = NULL, doing = '', "
                "error_code = NULL, error = NULL, losses = 0, cancelling = 0 WHERE id = ?",
                (job_id,),
            )
        return self.get(job_id, owner)

    def delete(self, job_id: str, owner: str | None = None) -> None:
        """Removes a job that is not running, with all its files.

        Raises:
            JobNotFound: There is none, or it is not the owner's.
            JobConflict: It is running.
        """
        self.get(job_id, owner)
        with self.database.write() as connection:
            gone = connection.execute("DELETE FROM jobs WHERE id = ? AND state != 'running'", (job_id,)).rowcount
        if not gone:
            self.get(job_id, owner)
            raise JobConflict("This video is being made.", "Cancel it first.")
        remove_folder(self.folder(job_id))

    def sweep(self) -> int:
        """Removes jobs past their retention and folders that belong to no job; returns how many jobs went."""
        now = time.time()
        rows = self.database.connection.execute("SELECT id FROM jobs WHERE expires < ?", (now,)).fetchall()
        for row in rows:
            with self.database.write() as connection:
                connection.execute("DELETE FROM jobs WHERE id = ? AND expires < ?", (row["id"], now))
            if not self._exists(row["id"]):
                remove_folder(self.folder(row["id"]))
        for folder in unused(self.jobs_folder, _ABANDONED):
            if not self._exists(folder.name):
                remove_folder(folder)
        return len(rows)


def _job(row: sqlite3.Row) -> Job:
    values: dict[str, Any] = {name: row[name] for name in row.keys() if name != "fingerprint"}  # noqa: SIM118
    code, message = values.pop("error_code"), values.pop("error")
    error = None if code is None else JobError(code, message or "")
    return Job(**values | {"state": State(values["state"]), "cancelling": bool(values["cancelling"])}, error=error)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
