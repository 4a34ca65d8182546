"""The device to compute on, and the libraries kept quiet."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from talkies.domain.errors import InputError

if TYPE_CHECKING:
    import torch


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Swallows what libraries say about themselves while they are loaded; `TALKIES_DEBUG=1` lets it through."""
    if os.environ.get("TALKIES_DEBUG"):
        yield
        return
    import logging
    import warnings

    logging.disable(logging.WARNING)
    # Read when these libraries are first imported.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import diffusers
            import transformers

            diffusers.utils.logging.disable_progress_bar()
            transformers.utils.logging.disable_progress_bar()
            yield
    finally:
        logging.disable(logging.NOTSET)


def choose_device(name: str) -> torch.device:
    """The device called `name`; `auto` takes the fastest there is.

    Raises:
        InputError: There is no such device.
    """
    import torch

    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        if torch.backends.mps.is_available():
            return torch.device("mps")
        return torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise InputError(f"There is no device {name!r} here.", "`talkies doctor` lists the devices.") from None
    if device.type == "meta":
        raise InputError("The device 'meta' computes nothing.", "`talkies doctor` lists the devices.")
    return device
