"""Several processes of one run on this machine, started by the command itself."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from types import FrameType

LAUNCHER = "TALKIES_LAUNCHER"
"""Environment variable with the process id of the launching command; its children stop when it is gone."""


def run_processes(arguments: list[str], count: int) -> int:
    """Runs `talkies <arguments>` in `count` processes that form one run.

    SIGTERM and Ctrl-C are passed on once, so that all processes save and end. When one fails, the others are ended.

    Args:
        arguments: Of the `talkies` command.
        count: Processes.

    Returns:
        The first exit code that is not 0, else 0.
    """
    shared = {"WORLD_SIZE": str(count), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    children = []
    for rank in range(count):
        places = {"RANK": str(rank), "LOCAL_RANK": str(rank), LAUNCHER: str(os.getpid())}
        # a session of their own: Ctrl-C reaches them once, through this process
        command = [sys.executable, "-m", "talkies.cli.main", *arguments]
        children.append(subprocess.Popen(command, env={**os.environ, **shared, **places}, start_new_session=True))

    def pass_on(number: int, _frame: FrameType | None) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    kept = {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        return _wait(children)
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait(children: list[subprocess.Popen[bytes]]) -> int:
    failed = 0
    waiting = list(children)
    while waiting:
        for child in list(waiting):
            try:
                code = child.wait(timeout=0.5)
            except subprocess.TimeoutExpired:
                continue
            waiting.remove(child)
            if code and not failed:
                failed = code
                for other in waiting:  # they would wait for it for ever
                    other.terminate()
    return failed
