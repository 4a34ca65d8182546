"""The server's side of the helper process: one at a time, started when needed, replaced when it fails."""

from __future__ import annotations

import contextlib
import json
import os
import select
import subprocess
import sys
import threading
import time
from typing import Any

from talkies.domain.errors import InputError, TalkiesError
from talkies.serving.errors import ApiError

#: Variables the speech programs may need; everything else of the server's environment stays with the server.
_PASSED = ("PATH", "HOME", "LANG", "TALKIES_HOME", "ESPEAK_DATA_PATH")


class _GoneError(Exception):
    """The process ended without an answer."""


class Helper:
    """Gives orders to `talkies.serving.studio.helper`.

    Args:
        seconds: Longest an order may take.
        waiting: Orders that may wait for their turn; more are told to come back.
    """

    def __init__(self, seconds: float = 180.0, waiting: int = 32) -> None:
        self._seconds, self._waiting = seconds, threading.BoundedSemaphore(waiting)
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def ask(self, do: str, **order: Any) -> dict[str, Any]:
        """Has something done. Blocking; safe from any thread.

        Args:
            do: A function of the helper.
            order: What it needs.

        Raises:
            InputError: It cannot be done; says why.
            TalkiesError: The helper failed.
            ApiError: 429, too many are waiting.
        """
        if not self._waiting.acquire(blocking=False):
            raise ApiError(429, "busy", "Too many are waiting for this.", headers={"Retry-After": "2"})
        try:
            with self._turn:
                answer = self._ask(json.dumps({"do": do, **order}).encode() + b"\n")
        finally:
            self._waiting.release()
        if "error" in answer:
            raise InputError(str(answer["error"]))
        return answer

    def close(self) -> None:
        """Ends the process."""
        with self._turn:
            self._stop()

    @property
    def process_id(self) -> int | None:
        """Of the running process, if there is one."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def _ask(self, line: bytes) -> dict[str, Any]:
        for last in (False, True):
            process = self._running()
            try:
                return self._exchange(process, line)
            except (_GoneError, BrokenPipeError):  # it had just left for want of work
                self._stop()
                if last:
                    raise TalkiesError("The helper of the studio failed.", "Try again.") from None
            except BaseException:
                self._stop()
                raise
        raise AssertionError

    def _exchange(self, process: subprocess.Popen[bytes], line: bytes) -> dict[str, Any]:
        assert process.stdin is not None  # noqa: S101 - for the type checker
        assert process.stdout is not None  # noqa: S101
        process.stdin.write(line)
        process.stdin.flush()
        handle, answer, deadline = process.stdout.fileno(), b"", time.monotonic() + self._seconds
        while not answer.endswith(b"\n"):
            if not select.select([handle], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise InputError(f"This took longer than {self._seconds:.0f} s.", "Give less at once.")
            piece = os.read(handle, 65_536)
            if not piece:
                raise _GoneError
            answer += piece
        found: dict[str, Any] = json.loads(answer)
        return found

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._stop()
            environment = {name: os.environ[name] for name in _PASSED if name in os.environ}
            environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-m", "talkies.serving.studio.helper"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, cwd="/",
            )  # fmt: skip
        return self._process

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        self._process = None
