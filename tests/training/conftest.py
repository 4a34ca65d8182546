"""Caches shared by the tests of training."""

from __future__ import annotations

from pathlib import Path

import pytest

from training_cases import write_cache


@pytest.fixture(scope="session")
def cache_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten clips of two people and four of one."""
    return write_cache(tmp_path_factory.mktemp("cache") / "train", [2] * 10 + [1] * 4)


@pytest.fixture(scope="session")
def validation_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four other clips of two people."""
    return write_cache(tmp_path_factory.mktemp("cache") / "validation", [2] * 4, seed=1)
