"""The workers' side of the queue: take a job, keep it, give it back or finish it.

A worker's word holds for a lease, which it renews while it works. Every change it makes names the attempt it was given:
a worker that was believed dead, and whose job another has taken since, changes nothing any more.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass

from talkies.jobs.job import Job, JobError
from talkies.jobs.store import JobStore


class LeaseLost(Exception):  # noqa: N818 - not an error: somebody else has the job, or it is gone
    """This worker no longer holds the job; it stops and writes nothing."""


@dataclass(frozen=True)
class Claim:
    """A job in a worker's hands.

    Attributes:
        job: As it was taken.
        worker: Name of the worker.
        attempt: Which attempt this is; the job's `attempts` while the lease is held.
    """

    job: Job
    worker: str
    attempt: int


class Leases:
    """Takes, keeps and returns jobs of a store.

    Args:
        store: The queue.
    """

    def __init__(self, store: JobStore) -> None:
        self.store = store

    def claim(self, worker: str, besides: Collection[str] = ()) -> Claim | None:
        """Takes the oldest waiting job; None if there is none, or the disk is nearly full.

        Args:
            worker: Unique name of who takes it.
            besides: Ids to leave alone.
        """
        self.expire()
        database = self.store.database
        waiting = "state = 'queued'" + (f" AND id NOT IN ({', '.join('?' * len(besides))})" if besides else "")
        query = f"SELECT id FROM jobs WHERE {waiting} ORDER BY number LIMIT 1"  # noqa: S608 - question marks only
        if database.connection.execute(query, tuple(besides)).fetchone() is None:
            return None  # the usual case needs no lock
        if self.store.free_bytes() < self.store.limits.free_bytes:
            return None
        with database.write() as connection:
            row = connection.execute(query, tuple(besides)).fetchone()
            if row is None:
                return None
            now = time.time()
            connection.execute(
                "UPDATE jobs SET state = 'running', worker = ?, lease = ?, attempts = attempts + 1, "
                "started = coalesce(started, ?), doing = 'starting' WHERE id = ?",
                (worker, now + self.store.limits.lease, now, row["id"]),
            )
        job = self.store.get(row["id"])
        return Claim(job, worker, job.attempts)

    def beat(self, claim: Claim, progress: float, doing: str) -> bool:
        """Renews the lease and tells how far the job is; a job that got further is not blamed for workers lost before.

        Args:
            claim: What is held.
            progress: 0..1.
            doing: In a few words.

        Returns:
            Whether to go on; False when the job was cancelled.

        Raises:
            LeaseLost: The job is not this worker's any more.
        """
        lease = time.time() + self.store.limits.lease
        done = min(1.0, max(0.0, progress))
        self._change(
            claim,
            "lease = ?, losses = iif(? > progress, 0, losses), progress = max(progress, ?), doing = ?",
            lease, done, done, doing[:200],
        )  # fmt: skip
        return not self.store.get(claim.job.id).cancelling

    def describe(self, claim: Claim, seconds: float, size: str) -> None:
        """Says how long and large the video will be.

        Raises:
            LeaseLost: As `beat`.
        """
        self._change(claim, "seconds = ?, size = ?", seconds, size)

    def finish(self, claim: Claim) -> None:
        """The result is in the job's folder, whole.

        Raises:
            LeaseLost: As `beat`.
        """
        now = time.time()
        self._change(
            claim,
            "state = 'done', finished = ?, expires = ?, progress = 1, doing = '', lease = NULL",
            now, now + self.store.limits.retention,
        )  # fmt: skip

    def fail(self, claim: Claim, error: JobError) -> None:
        """The job cannot be done.

        Raises:
            LeaseLost: As `beat`.
        """
        now = time.time()
        self._change(
            claim,
            "state = ?, finished = ?, expires = ?, doing = '', lease = NULL, error_code = ?, error = ?",
            "cancelled" if error.code == "cancelled" else "failed", now, now + self.store.limits.retention,
            error.code, error.message[:2_000],
        )  # fmt: skip

    def release(self, claim: Claim) -> None:
        """Back into the queue, at its old place, without blame: the worker is being stopped.

        Raises:
            LeaseLost: As `beat`.
        """
        if self.store.get(claim.job.id).cancelling:
            self.fail(claim, JobError("cancelled", "Cancelled."))
            return
        self._change(claim, "state = 'queued', doing = '', worker = NULL, lease = NULL")

    def lose(self, worker: str) -> int:
        """Takes back what a dead worker held; returns how many jobs."""
        return self._take_back("worker = ?", worker)

    def recall(self, worker: str) -> int:
        """Takes back, without blame, what a worker held that was made to stop; returns how many jobs."""
        return self._take_back("worker = ?", worker, losses=0)

    def expire(self) -> int:
        """Takes back jobs whose lease ran out; returns how many."""
        return self._take_back("lease < ?", time.time())

    def _change(self, claim: Claim, assignments: str, *values: object) -> None:
        with self.store.database.write() as connection:
            changed = connection.execute(
                f"UPDATE jobs SET {assignments} WHERE id = ? AND state = 'running' AND attempts = ?",  # noqa: S608
                (*values, claim.job.id, claim.attempt),
            ).rowcount
        if not changed:
            raise LeaseLost(claim.job.id)

    def _take_back(self, condition: str, value: object, losses: int = 1) -> int:
        where = f"state = 'running' AND {condition}"
        query = f"SELECT 1 FROM jobs WHERE {where} LIMIT 1"  # noqa: S608
        if self.store.database.connection.execute(query, (value,)).fetchone() is None:
            return 0
        now, limits = time.time(), self.store.limits
        over = "worker = NULL, lease = NULL, doing = '', finished = ?, expires = ?"
        with self.store.database.write() as connection:
            cancelled = connection.execute(
                f"UPDATE jobs SET state = 'cancelled', {over}, error_code = 'cancelled', error = 'Cancelled.' "  # noqa: S608
                f"WHERE {where} AND cancelling",
                (now, now + limits.retention, value),
            ).rowcount
            failed = connection.execute(
                f"UPDATE jobs SET state = 'failed', {over}, losses = losses + ?, error_code = 'worker_lost', "  # noqa: S608
                f"error = 'The worker was lost ' || (losses + 1) || ' times while making this video.' "
                f"WHERE {where} AND ? AND losses + 1 >= ?",
                (now, now + limits.retention, losses, value, losses, limits.losses),
            ).rowcount
            queued = connection.execute(
                f"UPDATE jobs SET state = 'queued', losses = losses + ?, worker = NULL, lease = NULL, doing = '' "  # noqa: S608
                f"WHERE {where}",
                (losses, value),
            ).rowcount
        return cancelled + failed + queued
