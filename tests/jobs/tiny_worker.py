"""A worker process with the drawing generator: `python tiny_worker.py ROOT NAME LEASE SEGMENTS PAUSE PARENT`."""

from __future__ import annotations

import sys
from pathlib import Path

from talkies.cli.worker import stop_on_signals
from talkies.jobs.store import JobStore, Limits
from talkies.jobs.work import work
from tiny_generator import Tiny


def main(root: str, name: str, lease: str, segments: str, pause: str, parent: str) -> None:
    """Works until told to stop."""
    store = JobStore(Path(root), Limits(lease=float(lease), losses=1_000, free_bytes=0))
    with stop_on_signals(int(parent)) as stop:
        work(store, Tiny(int(segments), float(pause)), name, stop, pause=0.05)


if __name__ == "__main__":
    main(*sys.argv[1:])
