"""Worker processes of this machine, one per device, started again when they die."""

from __future__ import annotations

import logging
import secrets
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from talkies.jobs.leases import Leases
from talkies.jobs.store import JobStore

#: Seconds between looks at the processes, before the first restart, and before a restart at most.
_LOOK, _FIRST_PAUSE, _LONGEST_PAUSE = 0.2, 0.5, 30.0
#: A process that lived this long, in seconds, counts as healthy: its next death starts the pauses anew.
_HEALTHY = 60.0
_log = logging.getLogger(__name__)

Command = Callable[[str, str], Sequence[str]]


@dataclass
class _Slot:
    """A device and the process that works on it now."""

    device: str
    name: str = ""
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    start_at: float = 0.0
    pause: float = _FIRST_PAUSE


class LocalExecutor:
    """Keeps one worker process per device alive.

    Jobs of a process that died go back to the queue at once, without waiting for their leases to run out.

    Args:
        store: The queue.
        command: Gives the command line of a worker, from its device and its unique name.
        devices: As the command understands them.
    """

    def __init__(self, store: JobStore, command: Command, devices: Sequence[str]) -> None:
        self._leases, self._command = Leases(store), command
        self._slots = [_Slot(device) for device in devices]
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="executor", daemon=True)

    def start(self) -> None:
        """Starts the workers."""
        self._thread.start()

    def alive(self) -> int:
        """How many workers are running."""
        processes = [slot.process for slot in self._slots]
        return sum(process is not None and process.poll() is None for process in processes)

    def stop(self, patience: float = 20.0) -> None:
        """Stops the workers; their jobs go back to the queue with their finished parts.

        Args:
            patience: Seconds they are given to reach the end of a step; then they are killed.
        """
        self._stop.set()
        self._thread.join()
        running = [slot for slot in self._slots if slot.process is not None]
        for slot in running:
            if slot.process is not None and slot.process.poll() is None:
                slot.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + patience
        for slot in running:
            if slot.process is None:
                continue
            try:
                slot.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                slot.process.kill()
                slot.process.wait()
            self._leases.recall(slot.name)

    def _run(self) -> None:
        while not self._stop.is_set():
            for slot in self._slots:
                try:
                    self._tend(slot)
                except Exception:  # a full disk, say: the others go on, and this one is tried again
                    _log.exception("worker on %s", slot.device)
            self._stop.wait(_LOOK)

    def _tend(self, slot: _Slot) -> None:
        now = time.monotonic()
        if slot.process is None:
            if now >= slot.start_at:
                slot.name = f"{slot.device}-{secrets.token_hex(4)}"
                slot.process = subprocess.Popen(
                    self._command(slot.device, slot.name), stdin=subprocess.DEVNULL, start_new_session=True
                )
                slot.started = now
        elif slot.process.poll() is not None:
            code, slot.process = slot.process.returncode, None
            if now - slot.started > _HEALTHY:
                slot.pause = _FIRST_PAUSE
            slot.start_at = now + slot.pause
            _log.error("worker on %s ended with code %s; started again in %.1f s", slot.device, code, slot.pause)
            slot.pause = min(2 * slot.pause, _LONGEST_PAUSE)
            self._leases.lose(slot.name)
