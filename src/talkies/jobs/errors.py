"""What can be wrong with a request to the queue."""

from __future__ import annotations

from talkies.domain.errors import InputError, TalkiesError


class JobNotFound(InputError):  # noqa: N818 - named for what happened, as in the service's answers
    """There is no such job, or it belongs to somebody else: the two cannot be told apart."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no video {job_id[:80]!r}.")


class JobConflict(InputError):  # noqa: N818
    """The job is not in a state in which this can be done."""


class QueueFull(TalkiesError):  # noqa: N818
    """No room: the queue, the owner's share of it, or the disk.

    Args:
        message: Which.
        code: `queue_full`, `quota_exceeded` or `disk_full`.
        retry_after: When to try again, in seconds.
    """

    def __init__(self, message: str, code: str, retry_after: float) -> None:
        super().__init__(message, f"Try again in {retry_after:.0f} s.")
        self.code = code
        self.retry_after = retry_after
