"""How the service is set up: fixed once it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

#: Whose jobs are when no keys are used.
LOCAL_OWNER = "local"


@dataclass(frozen=True)
class ModelInfo:
    """A model that can be asked for.

    Attributes:
        id: What requests call it.
        created: Unix seconds.
        size_multiple: Both sides of a video must be multiples of it.
        steps: Denoising steps it takes where a request names none (paper: 40).
    """

    id: str
    created: int = 0
    size_multiple: int = 1
    steps: int = 40


@dataclass(frozen=True)
class UploadLimits:
    """What is accepted from outside. Every file is decoded and encoded anew in a process of its own, so limited.

    Attributes:
        body_bytes: Of one request, all its files together.
        image_pixels: Of a picture.
        audio_seconds: Of a recording.
        cpu_seconds, wall_seconds: For all files of a request.
        memory_bytes: Address space of that process.
        written_bytes: Of any one file it writes.
        at_once: Such processes at the same time.
        waiting: Requests that may wait for one; more are told to come back.
        files_per_owner, bytes_per_owner: Kept by `/v1/files`.
        retention: Seconds after which these are removed.
    """

    body_bytes: int = 200_000_000
    image_pixels: int = 40_000_000
    audio_seconds: float = 600.0
    cpu_seconds: int = 60
    wall_seconds: float = 120.0
    memory_bytes: int = 2_000_000_000
    written_bytes: int = 400_000_000
    at_once: int = 2
    waiting: int = 100
    files_per_owner: int = 500
    bytes_per_owner: int = 2_000_000_000
    retention: float = 86_400.0


@dataclass(frozen=True)
class ServiceSettings:
    """The service.

    Attributes:
        models: What can be asked for; the first is the default.
        keys: File of API keys; None: no keys, and requests must come from this machine.
        hosts: Names under which the service is reached; others are refused, against DNS rebinding. Empty: any.
        consent: The operator's statement for all requests; None: every request brings its own.
        uploads: Limits.
    """

    models: tuple[ModelInfo, ...]
    keys: Path | None = None
    hosts: tuple[str, ...] = ("localhost", "127.0.0.1", "::1", "[::1]")
    consent: str | None = None
    uploads: UploadLimits = field(default_factory=UploadLimits)
