"""Fixtures of the runtime tests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from talkies.models.transformer_multitalk import MultiTalkTransformer3DModel
from tiny_network import tiny_inputs, tiny_transformer


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny networks lose by more threads, and equal computations give equal bits only on one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def model() -> MultiTalkTransformer3DModel:
    return tiny_transformer()


@pytest.fixture
def inputs() -> dict[str, Any]:
    return tiny_inputs()
