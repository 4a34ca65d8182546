"""What the tests of the queue share: a store, jobs to put into it, and waiting for things to happen."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from talkies.domain.conversation import Conversation
from talkies.jobs.job import Job, Task
from talkies.jobs.store import JobStore


def task(seconds: float = 0.4) -> Task:
    """Two people, the first speaks."""
    conversation = Conversation.model_validate(
        {
            "image": "inputs/image.png",
            "prompt": "two talk",
            "speakers": [
                {"name": "Ana", "audio": "inputs/ana.wav", "region": {"box": [0, 0, 32, 48]}},
                {"name": "Ben", "region": {"box": [32, 0, 64, 48]}},
            ],
            "consent": "drawn",
        }
    )
    return Task(conversation=conversation, seconds=seconds)


def submit(store: JobStore, owner: str = "local", idempotency: str | None = None, fingerprint: str = "") -> Job:
    """Queues a small job with real files."""
    with store.draft() as draft:
        Image.new("RGB", (64, 48), (90, 90, 90)).save(draft.inputs / "image.png")
        soundfile.write(draft.inputs / "ana.wav", 0.2 * np.sin(np.arange(8_000) / 5), 16_000)
        return store.submit(draft, task(), owner, 0.4, idempotency, fingerprint)


def insert(store: JobStore, count: int, owner: str = "local", state: str = "queued") -> None:
    """Puts many jobs into the database alone, without folders."""
    text = task().model_dump_json(exclude_none=True)
    with store.database.write() as connection:
        first = connection.execute("SELECT count(*) FROM jobs").fetchone()[0]
        connection.executemany(
            "INSERT INTO jobs (id, owner, state, task, created) VALUES (?, ?, ?, ?, ?)",
            [(f"video_{number:032x}", owner, state, text, time.time()) for number in range(first, first + count)],
        )


def until(condition: Callable[[], bool], seconds: float = 600.0) -> None:
    """Waits for something to become true."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.02)


def tiny_command(store: JobStore, lease: float = 15.0, segments: int = 4, pause: float = 0.02):
    """Command lines of worker processes with the drawing generator, for `LocalExecutor`."""
    script = Path(__file__).with_name("tiny_worker.py")

    def command(device: str, name: str) -> Sequence[str]:
        return [sys.executable, str(script), *map(str, (store.root, name, lease, segments, pause, os.getpid()))]

    return command


def journal(store: JobStore, job_id: str) -> list[str]:
    """What the drawing generator noted."""
    path = store.folder(job_id) / "journal"
    return path.read_text().splitlines() if path.is_file() else []
