"""An empty queue."""

from __future__ import annotations

from pathlib import Path

import pytest

from talkies.jobs.store import JobStore, Limits


@pytest.fixture
def store(tmp_path: Path) -> JobStore:
    """A queue of its own, with short leases and no guard of the disk."""
    return JobStore(tmp_path / "queue", Limits(lease=5.0, free_bytes=0, losses=3))
