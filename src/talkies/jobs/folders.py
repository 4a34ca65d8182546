"""Jobs' folders: who may write in one, and how they go away."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"


@contextmanager
def sole(path: Path) -> Iterator[bool]:
    """Holds an exclusive lock on a file for the length of the block; gives whether it was free.

    The system drops the lock when its process ends, however it ends. So a worker that was only believed to be dead
    still keeps others out of its job's folder.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)


def remove_folder(folder: Path) -> None:
    """Removes a folder with everything in it, under another name first, so that nobody finds half of it."""
    gone = folder.with_name(f".{folder.name}.gone")
    try:
        folder.rename(gone)
    except OSError:
        gone = folder
    shutil.rmtree(gone, ignore_errors=True)


def unused(folder: Path, age: float) -> Iterator[Path]:
    """Folders in `folder` in which nothing has appeared for `age` seconds."""
    limit = time.time() - age
    for entry in list(folder.iterdir()):
        try:
            if entry.is_dir() and entry.stat().st_mtime < limit:
                yield entry
        except FileNotFoundError:
            continue
