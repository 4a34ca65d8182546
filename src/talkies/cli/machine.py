"""Which device and precision to compute with, and how much memory there is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from talkies.domain.errors import InputError

if TYPE_CHECKING:
    import torch

DTYPES = ("auto", "float32", "bfloat16", "float16")


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


def choose_dtype(name: str, device: torch.device) -> torch.dtype:
    """The precision called `name`; `auto` is bfloat16 on GPUs, float32 elsewhere.

    Raises:
        InputError: Unknown.
    """
    import torch

    if name not in DTYPES:
        raise InputError(f"Unknown precision {name!r}.", f"Known: {', '.join(DTYPES)}.")
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def free_memory(device: torch.device) -> int:
    """Bytes free on the device; on the CPU what the system could give."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return available_ram()


def available_ram() -> int:
    """Bytes of main memory that could be had now."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123 - a file of the system
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return total_ram()


def total_ram() -> int:
    """Bytes of main memory; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return 0
