"""What the lists of public sets come down to: named spans of videos, each with the window that it shows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError

Result = Literal[
    "made",
    "malformed line", "duplicate name", "unsafe name", "no crop line", "no resolution", "empty span",
    "missing video", "two videos", "broken video", "no sound", "beyond the end", "window outside the picture",
]  # fmt: skip

#: Names become file names: no separators, nothing hidden, nothing a terminal obeys.
_SAFE = re.compile(r"[\w-][\w.+-]{0,120}", re.ASCII)
_TIME = re.compile(r"(?:(\d{1,2}):)?(\d{1,3}):(\d{1,2}(?:\.\d{1,6})?)", re.ASCII)
_YOUTUBE = re.compile(r"(?:[?&]v=|youtu\.be/|/embed/|/shorts/)([\w-]{11})(?![\w-])", re.ASCII)


class RefusedError(Exception):
    """This clip cannot be made.

    Args:
        result: For counting. detail: Where, and what was found, in a few words.
    """

    def __init__(self, result: Result, detail: str) -> None:
        super().__init__(f"{result}: {detail}")
        self.result: Result = result
        self.detail = detail


@dataclass(frozen=True)
class Window:
    """A part of a picture, in pixels, x right and y down."""

    left: int
    top: int
    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.left} {self.top} {self.width} {self.height}"

    def inside(self, picture: FrameSize) -> Window:
        """Itself, moved by at most one pixel, which is what rounding may do.

        Raises:
            RefusedError: It is empty, or not in the picture.
        """
        left = min(max(self.left, 0), picture.width - self.width)
        top = min(max(self.top, 0), picture.height - self.height)
        moved = max(abs(left - self.left), abs(top - self.top))
        if moved > 1 or min(left, top) < 0 or min(self.width, self.height) < 2:
            raise RefusedError("window outside the picture", f"left top width height {self} in {picture}")
        return Window(left, top, self.width, self.height)


class Framing(Protocol):
    """Finds a clip's window in a picture of the user's video, and what is to be noted about it, or "".

    Raises RefusedError where there is none.
    """

    def __call__(self, picture: FrameSize) -> tuple[Window, str]: ...


@dataclass(frozen=True)
class ListedClip:
    """One clip of a list.

    Attributes:
        name: The clip becomes `NAME.mp4`. stems: Names that its video may have, without suffix.
        start, end: Seconds of the video. framing: Its window.
        trim: Frames of the video that are left out at both ends.
        slack: The list's times are rounded to so many seconds: an end may lie so far behind the video's.
        square: Whether the clip is a square; otherwise it keeps the window's shape.
    """

    name: str
    stems: tuple[str, ...]
    start: float
    end: float
    framing: Framing
    trim: int = 0
    slack: float = 0.0
    square: bool = True


@dataclass(frozen=True)
class Refused:
    """A line of a list that is no clip: its name as far as known, why, and where it stands."""

    name: str
    result: Result
    detail: str


@dataclass
class Listing:
    """Everything a list says.

    Attributes:
        clips: In the list's order. refused: The rest.
    """

    clips: list[ListedClip] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    _names: set[str] = field(default_factory=set, init=False, repr=False)

    def add(self, clip: ListedClip, where: str) -> None:
        """Takes a clip, or refuses it for its name or its span; of equal names the first stands."""
        if not is_safe(clip.name):
            self.refuse("", "unsafe name", f"{where}: {clip.name[:80]!r}")
        elif clip.name in self._names:
            self.refuse(clip.name, "duplicate name", where)
        elif clip.end <= clip.start:
            self.refuse(clip.name, "empty span", f"{where}: from {clip.start:g} to {clip.end:g} s")
        else:
            self._names.add(clip.name)
            self.clips.append(clip)

    def refuse(self, name: str, result: Result, detail: str) -> None:
        """Notes a line that is no clip."""
        self.refused.append(Refused(name if is_safe(name) else "", result, detail))


def is_safe(name: str) -> bool:
    """Whether a name of a list may become the name of a file."""
    return _SAFE.fullmatch(name) is not None


def seconds_of(text: str) -> float | None:
    """`01:30`, `1:02:30` or `00:00:54.596` in seconds; None: no such time."""
    match = _TIME.fullmatch(text)
    if match is None or float(match[3]) >= 60 or (match[1] and int(match[2]) >= 60):
        return None
    return 3600 * int(match[1] or 0) + 60 * int(match[2]) + float(match[3])


def youtube_id(url: str) -> str | None:
    """The eleven signs that name a video; None: the address holds none."""
    match = _YOUTUBE.search(url)
    return match[1] if match else None


def find_list(path: Path, name: str) -> Path:
    """The list: the file itself, or the one of that name in a folder.

    Raises:
        InputError: It is not there.
    """
    found = path / name if path.is_dir() else path
    if not found.is_file():
        raise InputError(f"There is no list {found}.", f"Give the authors' {name}, or the folder it lies in.")
    return found


def read_text(path: Path) -> str:
    """A list's text.

    Raises:
        InputError: It cannot be read, or is no text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path} is no text in UTF-8.", "Take the file as its authors publish it.") from None


def numbered_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Lines that are not empty, each with its place for messages: `RD_crop_wh.txt line 3`.

    Raises:
        InputError: As `read_text`.
    """
    for number, line in enumerate(read_text(path).split("\n"), 1):
        if line.strip():
            yield f"{path.name} line {number}", line.strip()
