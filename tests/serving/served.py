"""A whole service in a process of its own, with drawing workers: `python served.py ROOT PORT LEASE SEGMENTS PAUSE`."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

JOBS = Path(__file__).parents[1] / "jobs"


def main(root: str, port: str, lease: str, segments: str, pause: str) -> None:
    """Serves as `talkies serve` does, with other workers."""
    sys.path.append(str(JOBS))
    from queue_cases import tiny_command
    from service_cases import SETTINGS
    from talkies.cli.serve import ServeOptions, run
    from talkies.jobs.executors.local import LocalExecutor
    from talkies.jobs.store import JobStore, Limits
    from talkies.serving.app import create_app

    store = JobStore(Path(root), Limits(lease=float(lease), free_bytes=0, losses=1_000))
    executor = LocalExecutor(store, tiny_command(store, float(lease), int(segments), float(pause)), ["a"])
    run(create_app(SETTINGS, store, executor.alive), executor, ServeOptions(Path(root), port=int(port)))


@dataclass(frozen=True)
class Served:
    """A service that runs.

    Attributes:
        url: Ends in `/v1`.
        process: Its process.
        root: Its folder.
    """

    url: str
    process: subprocess.Popen[bytes]
    root: Path


@contextmanager
def served(root: Path, port: int = 0, lease: float = 5.0, segments: int = 3, pause: float = 0.05) -> Iterator[Served]:
    """Starts one, and stops it politely."""
    said = root.with_name(root.name + ".said")
    with said.open("wb") as target:
        process = subprocess.Popen(
            [sys.executable, __file__, *map(str, (root, port, lease, segments, pause))], stderr=target
        )
    try:
        yield Served(_url(said, process), process, root)
    finally:
        process.terminate()
        process.wait(60)


def _url(said: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline and process.poll() is None:
        for line in said.read_text().splitlines():
            if line.startswith("http://"):
                return _ready(line.strip(), deadline)
        time.sleep(0.1)
    raise RuntimeError(f"the service did not start: {said.read_text()}")


def _ready(url: str, deadline: float) -> str:
    while time.monotonic() < deadline:
        try:
            if httpx2.get(url.removesuffix("/v1") + "/health", timeout=30).status_code in (200, 503):
                return url
        except httpx2.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the service does not answer")


if __name__ == "__main__":
    main(*sys.argv[1:])
