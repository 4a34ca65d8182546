"""Files from outside: re-encoded in a limited process, kept for a while, seen by their owner only."""

from __future__ import annotations

import json
import os
import re
import secrets
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from talkies.serving.errors import ApiError
from talkies.serving.settings import UploadLimits

Kind = Literal["image", "mask", "audio", "any"]
_ID = re.compile(r"file-[0-9a-f]{32}")
_ANSWER_BYTES = 100_000


@dataclass(frozen=True)
class Source:
    """A file to be re-encoded.

    Attributes:
        path: Where its bytes are.
        kind: What it must be.
        target: Where it goes, without a suffix.
        what: What it is, for messages.
    """

    path: Path
    kind: Kind
    target: Path
    what: str


class Facts(BaseModel):
    """What a re-encoded file is; checked, since a process that read strangers' bytes says so."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    kind: Literal["image", "audio"]
    path: str = Field(pattern=r"^[A-Za-z0-9_-]{1,80}\.(png|flac)$", description="File name beside the target.")
    width: int | None = Field(None, ge=1, le=100_000)
    height: int | None = Field(None, ge=1, le=100_000)
    seconds: float | None = Field(None, gt=0, le=100_000)


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    files: list[Facts] = []
    error: str | None = Field(None, max_length=2_000)
    index: int = 0


class Sanitizer:
    """Runs `talkies.serving.sanitize`, a few at a time.

    Args:
        limits: What it may use.
    """

    def __init__(self, limits: UploadLimits) -> None:
        self._limits = limits
        self._running = threading.BoundedSemaphore(limits.at_once)
        self._lock = threading.Lock()
        self._waiting = 0
        self._idle: list[_Helper] = []

    def run(self, sources: Sequence[Source], size: tuple[int, int] | None = None) -> list[Facts]:
        """Re-encodes files, all or none.

        Args:
            sources: What; the picture before its masks.
            size: Of a picture re-encoded earlier, for masks.

        Returns:
            What each is; the files stand beside their targets.

        Raises:
            ApiError: One was refused, with the reason; or too many requests are waiting.
        """
        if not sources:
            return []
        with self._turn(), tempfile.TemporaryDirectory(prefix="talkies-") as folder:
            answer = self._ask(sources, size, Path(folder) / "answer.json")
        if answer is None:
            answer = _Answer(error="It takes more time or memory than is granted, or breaks its decoder.")
        if answer.error is not None or len(answer.files) != len(sources):
            for source in sources:
                for suffix in (".png", ".flac"):
                    source.target.with_suffix(suffix).unlink(missing_ok=True)
            which = sources[min(answer.index, len(sources) - 1)]
            raise ApiError(400, "invalid_file", f"{which.what} was refused: {answer.error}", which.what)
        return answer.files

    def close(self) -> None:
        """Ends the helping processes."""
        with self._lock:
            helpers, self._idle = self._idle, []
        for helper in helpers:
            helper.kill()

    def _ask(self, sources: Sequence[Source], size: tuple[int, int] | None, answer: Path) -> _Answer | None:
        orders = {
            "limits": asdict(self._limits),
            "answer": str(answer),
            "size": size,
            "files": [
                {"kind": entry.kind, "source": str(entry.path), "target": str(entry.target), "name": entry.what}
                for entry in sources
            ],
        }
        with self._lock:
            helper = self._idle.pop() if self._idle else None
        if helper is None or not helper.alive:
            helper = _Helper()
        if helper.ask(orders, self._limits.wall_seconds):
            with self._lock:
                self._idle.append(helper)
        else:
            helper.kill()
        try:
            if answer.stat().st_size > _ANSWER_BYTES:
                return None
            return _Answer.model_validate_json(answer.read_bytes())
        except (OSError, ValidationError):
            return None

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            if self._waiting >= self._limits.waiting + self._limits.at_once:
                raise ApiError(429, "busy", "Too many uploads are being checked.", headers={"Retry-After": "2"})
            self._waiting += 1
        try:
            with self._running:
                yield
        finally:
            with self._lock:
                self._waiting -= 1


class _Helper:
    """A process of `talkies.serving.sanitize`: isolated from the environment, a group of its own."""

    def __init__(self) -> None:
        environment = {"PATH": os.defpath, "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "talkies.serving.sanitize"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            env=environment, start_new_session=True, cwd="/",
        )  # fmt: skip

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        return self._process.poll() is None

    def ask(self, orders: dict[str, Any], seconds: float) -> bool:
        """Has orders obeyed; returns whether the helper can be used again."""
        assert self._process.stdin is not None and self._process.stdout is not None  # noqa: S101 - pipes, see above
        try:
            self._process.stdin.write(json.dumps(orders).encode() + b"\n")
            self._process.stdin.flush()
            ready, _, _ = select.select([self._process.stdout], [], [], seconds)
            return bool(ready) and self._process.stdout.readline(16) == b"done\n"
        except OSError:
            return False

    def kill(self) -> None:
        """Ends it with whatever it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


@dataclass(frozen=True)
class Upload:
    """A file kept for its owner.

    Attributes:
        id: `file-` and 32 hexadecimal digits.
        owner: Whose it is.
        name: As the client called it, for display only.
        purpose: As the client said.
        created, expires: Unix seconds.
        bytes: Of the re-encoded file.
        facts: What it is.
    """

    id: str
    owner: str
    name: str
    purpose: str
    created: float
    expires: float
    bytes: int
    facts: Facts

    @property
    def kind(self) -> str:
        """`image` or `audio`."""
        return self.facts.kind


#: Named here: inside `Files`, `list` is something else.
_Uploads = list[Upload]


class Files:
    """Uploaded files below a folder, one folder each.

    Args:
        folder: Made when it is not there.
        limits: How many, how long.
        sanitizer: What re-encodes them.
    """

    def __init__(self, folder: Path, limits: UploadLimits, sanitizer: Sanitizer) -> None:
        self._folder, self._limits, self._sanitizer = folder, limits, sanitizer
        folder.mkdir(mode=0o700, exist_ok=True)

    def add(self, owner: str, path: Path, name: str, purpose: str = "user_data", kind: Kind = "any") -> Upload:
        """Re-encodes and keeps a file.

        Raises:
            ApiError: It was refused, or there are too many.
        """
        kept = self.list(owner)
        room = len(kept) < self._limits.files_per_owner
        if not room or sum(upload.bytes for upload in kept) >= self._limits.bytes_per_owner:
            raise ApiError(429, "quota_exceeded", "Too many of your files are kept; delete some.",
                           headers={"Retry-After": "600"})  # fmt: skip
        upload_id = f"file-{secrets.token_hex(16)}"
        making = self._folder / f".{upload_id}"
        making.mkdir(mode=0o700)
        try:
            (facts,) = self._sanitizer.run([Source(path, kind, making / "data", "file")])
            now = time.time()
            size = (making / facts.path).stat().st_size
            upload = Upload(upload_id, owner, name[:200], purpose[:50], now, now + self._limits.retention, size, facts)
            record = asdict(upload) | {"facts": facts.model_dump()}
            (making / "about.json").write_text(json.dumps(record), encoding="utf-8")
            making.rename(self._folder / upload_id)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
        return upload

    def get(self, owner: str, upload_id: str) -> Upload:
        """One file.

        Raises:
            ApiError: There is none, or it is somebody else's.
        """
        upload = self._read(upload_id) if _ID.fullmatch(upload_id) else None
        if upload is None or upload.owner != owner:
            raise _unknown(upload_id)
        return upload

    def path(self, owner: str, upload_id: str) -> Path:
        """Where the re-encoded file is.

        Raises:
            ApiError: As `get`.
        """
        return self._folder / upload_id / self.get(owner, upload_id).facts.path

    def list(self, owner: str, after: str | None = None, ascending: bool = False) -> _Uploads:
        """The owner's files, newest first unless `ascending`.

        Args:
            owner: Whose.
            after: Start behind this one.
            ascending: Oldest first.

        Raises:
            ApiError: `after` is not there.
        """
        found = (self._read(entry.name) for entry in self._folder.iterdir() if _ID.fullmatch(entry.name))
        mine = [upload for upload in found if upload is not None and upload.owner == owner]
        mine.sort(key=lambda upload: (upload.created, upload.id), reverse=not ascending)
        if after is None:
            return mine
        ids = [upload.id for upload in mine]
        if after not in ids:
            raise _unknown(after)
        return mine[ids.index(after) + 1 :]

    def delete(self, owner: str, upload_id: str) -> None:
        """Removes a file; videos made or being made from it keep their own copy.

        Raises:
            ApiError: As `get`.
        """
        self.get(owner, upload_id)
        shutil.rmtree(self._folder / upload_id, ignore_errors=True)

    def sweep(self) -> None:
        """Removes files past their retention and what a killed server left."""
        now = time.time()
        for entry in list(self._folder.iterdir()):
            upload = self._read(entry.name)
            try:
                old = upload.expires < now if upload else entry.stat().st_mtime < now - 3600
            except FileNotFoundError:
                continue
            if old:
                shutil.rmtree(entry, ignore_errors=True)

    def _read(self, name: str) -> Upload | None:
        try:
            record: dict[str, Any] = json.loads((self._folder / name / "about.json").read_bytes())
        except (OSError, ValueError):
            return None
        return Upload(**record | {"facts": Facts(**record["facts"])})


def _unknown(upload_id: str) -> ApiError:
    return ApiError(404, "not_found", f"There is no file {upload_id[:80]!r}.")
