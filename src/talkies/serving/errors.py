"""Errors as the `openai` client expects them: a status, and `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from typing import Any

from talkies.domain.errors import InputError, TalkiesError
from talkies.jobs.errors import JobConflict, JobNotFound, QueueFull


class ApiError(TalkiesError):
    """A refusal.

    Args:
        status: HTTP status.
        code: For programs.
        message: For people.
        param: The field that is wrong.
        headers: To send with it.
    """

    def __init__(
        self, status: int, code: str, message: str, param: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.param, self.headers = status, code, param, headers or {}

    @property
    def body(self) -> dict[str, Any]:
        """What is sent."""
        kind = {401: "authentication_error", 429: "rate_limit_error"}.get(self.status, "invalid_request_error")
        return {"error": {"message": str(self), "type": kind, "param": self.param, "code": self.code}}


def as_api_error(error: TalkiesError) -> ApiError:
    """Errors of the rooms below, with their status."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, JobNotFound):
        return ApiError(404, "not_found", str(error))
    if isinstance(error, JobConflict):
        return ApiError(409, "conflict", str(error))
    if isinstance(error, QueueFull):
        seconds = max(1, round(error.retry_after))
        return ApiError(429, error.code, str(error), headers={"Retry-After": str(seconds)})
    if isinstance(error, InputError):
        return ApiError(400, "invalid_input", str(error))
    return ApiError(500, "internal_error", str(error))
