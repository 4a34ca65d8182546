"""What a job is: the task a client hands in, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from talkies.domain.conversation import MAX_SECONDS, Conversation


class State(StrEnum):
    """Where a job is. QUEUED and RUNNING change by themselves; the others only by `retry` or `delete`."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nobody works on it any more."""
        return self not in (State.QUEUED, State.RUNNING)


class Task(BaseModel):
    """What is to be made. Paths in the conversation are relative to the job's folder."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    conversation: Conversation
    model: str = Field("", max_length=200, description="Model id; empty is the worker's own.")
    seconds: Annotated[float, Field(ge=0.04, le=MAX_SECONDS)] | None = Field(None, description="Stop there.")
    size: str | None = Field(None, pattern=r"^\d{2,4}x\d{2,4}$", description="WIDTHxHEIGHT; else the model's.")
    fps: str = Field("25", max_length=20, description="Of the file, as in `25` or `30000/1001`.")
    seed: int = Field(0, ge=0, lt=2**63)
    num_inference_steps: int | None = Field(None, ge=1, le=1000)
    text_guidance_scale: float | None = Field(None, ge=0, le=100)
    audio_guidance_scale: float | None = Field(None, ge=0, le=100)


@dataclass(frozen=True)
class JobError:
    """Why a job did not succeed.

    Attributes:
        code: For programs: `invalid_input`, `generation_failed`, `worker_lost`, `cancelled`.
        message: For people, one line.
    """

    code: str
    message: str


@dataclass(frozen=True)
class Job:
    """A job as it stands in the queue. Times are Unix seconds.

    Attributes:
        id: `video_` and 32 hexadecimal digits, not guessable.
        owner: Whose it is.
        state: Where it is.
        task_json: The task as stored; see `task`.
        created, started, finished: When; None if it has not happened yet.
        expires: When retention removes it; None while it is not over.
        progress: 0..1.
        doing: What is being done, in a few words.
        seconds: Length of the video, once known.
        size: WIDTHxHEIGHT, once known.
        error: Why it did not succeed.
        attempts: How often a worker has taken it.
        cancelling: Whether a running job has been told to stop.
    """

    id: str
    owner: str
    state: State
    task_json: str
    created: float
    started: float | None = None
    finished: float | None = None
    expires: float | None = None
    progress: float = 0.0
    doing: str = ""
    seconds: float | None = None
    size: str | None = None
    error: JobError | None = None
    attempts: int = 0
    cancelling: bool = False

    @property
    def task(self) -> Task:
        """What is to be made."""
        return Task.model_validate_json(self.task_json)
