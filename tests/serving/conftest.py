"""A service of its own, and the queue's helpers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs talkies[serve]")
sys.path.append(str(Path(__file__).parents[1] / "jobs"))

from starlette.testclient import TestClient

from service_cases import client as make_client


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """Of a service without keys and without workers."""
    with make_client(tmp_path) as made:
        yield made
