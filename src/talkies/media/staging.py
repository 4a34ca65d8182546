"""Files that appear whole or not at all: written beside their place under another name, then renamed."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from talkies.domain.errors import InputError, TalkiesError

#: In bytes. File systems take 255 and 4096; working names are longer than the final one.
_LONGEST_NAME, _LONGEST_PATH = 200, 4000


@contextmanager
def staged(path: Path) -> Iterator[Path]:
    """A temporary name in the same folder, which becomes `path` (a file or a folder) when the block ends well.

    When it ends with an exception, Ctrl-C included, whatever was written is removed. Leftovers of a process that was
    killed are removed too, the next time something is written to the same place.

    Raises:
        InputError: The folder does not exist or cannot be written to.
        TalkiesError: The disk is full, or another error of the file system.
    """
    require_writable(path)
    _remove_leftovers(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        yield temporary
        if temporary.is_file():
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        if temporary.is_dir() and path.is_dir():
            # A folder cannot be replaced in one step while it has entries: move the old one aside first.
            aside = path.with_name(f".{path.stem}.{os.getpid()}.old.part{path.suffix}")
            path.rename(aside)
            temporary.rename(path)
            _remove(aside)
        else:
            temporary.replace(path)
    except OSError as error:
        _remove(temporary)
        if isinstance(error, TalkiesError):
            raise
        raise describe_write_error(error, path) from error
    except BaseException:
        _remove(temporary)
        raise


def describe_write_error(error: OSError, path: Path) -> TalkiesError:
    """The error of the file system in a user's words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TalkiesError(f"The disk is full: {path.name} was not written.", "Make room and start again.")
    return TalkiesError(f"{path} was not written: {error.strerror or error}.")


def require_writable(path: Path) -> None:
    """Checks, before any work is done, that `path` can be written later.

    Raises:
        InputError: It cannot; the message says why.
    """
    folder = path.parent
    if path.name in ("", ".."):
        raise InputError(f"{path} is no name for an output.")
    if len(os.fsencode(path.name)) > _LONGEST_NAME or len(os.fsencode(path.absolute())) > _LONGEST_PATH:
        raise InputError(f"The output's name {path.name[:40]}... is too long.", "Choose a shorter one.")
    if not folder.is_dir():
        raise InputError(f"The folder {folder} does not exist.", "Make it first, or choose another output.")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"The folder {folder} cannot be written to.")
    if path.is_file() and not os.access(path, os.W_OK):
        raise InputError(f"{path} is write-protected.")


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _remove_leftovers(path: Path) -> None:
    pattern = re.compile(rf"\.{re.escape(path.stem)}\.(\d+)(\.old)?\.part{re.escape(path.suffix)}")
    for candidate in path.parent.iterdir():
        match = pattern.fullmatch(candidate.name)
        if match is not None and not _alive(int(match[1])):
            _remove(candidate)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
