"""HDTF: talking heads. Lists of addresses, spans, windows and heights, in three subsets (Zhang et al., CVPR 2021)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.evaluation.datasets.listed import (
    ListedClip,
    Listing,
    RefusedError,
    Window,
    is_safe,
    numbered_lines,
    seconds_of,
    youtube_id,
)

SUBSETS = ("RD", "WDA", "WRA")
#: Kinds of lists, and what stands behind a name in their lines.
_TABLES = {
    "video_url": re.compile(r"\S+"),
    "crop_wh": re.compile(r"-?\d{1,5}( -?\d{1,5}){3}", re.ASCII),
    "resolution": re.compile(r"\d{1,5}", re.ASCII),
}
_TIMES = "annotion_time"  # as the authors spell it
#: Times are whole seconds.
_SLACK = 1.0


@dataclass(frozen=True)
class FixedWindow:
    """A window in pixels of a video of known height; a video of another height has it scaled.

    Attributes:
        window: As listed. height: Of the video that it was listed for.
    """

    window: Window
    height: int

    def __call__(self, picture: FrameSize) -> tuple[Window, str]:
        """Raises RefusedError where it is not in the picture."""
        if picture.height == self.height:
            return self.window.inside(picture), ""
        ratio = picture.height / self.height
        listed = (self.window.left, self.window.top, self.window.width, self.window.height)
        scaled = Window(*(round(value * ratio) for value in listed)).inside(picture)
        return scaled, f"height {picture.height}, listed {self.height}: window scaled by {ratio:.4g}"


def read_hdtf(folder: Path) -> Listing:
    """The clips of the authors' folder `HDTF_dataset`; clip k of a video is its k-th span.

    Raises:
        InputError: There are no lists, or one of a subset is missing.
    """
    listing = Listing()
    kinds = (*_TABLES, _TIMES)
    present = [name for name in SUBSETS if any((folder / f"{name}_{kind}.txt").is_file() for kind in kinds)]
    if not present:
        raise InputError(f"There are no lists of HDTF in {folder}.", "Give the authors' folder HDTF_dataset.")
    for subset in present:
        _read_subset(folder, subset, listing)
    return listing


def _read_subset(folder: Path, subset: str, listing: Listing) -> None:
    paths = {kind: folder / f"{subset}_{kind}.txt" for kind in (*_TABLES, _TIMES)}
    for path in paths.values():
        if not path.is_file():
            raise InputError(f"There is no {path}.", "Give the authors' folder HDTF_dataset, with all its lists.")
    tables = {kind: _table(paths[kind], words, listing) for kind, words in _TABLES.items()}
    seen: set[str] = set()
    for where, line in numbered_lines(paths[_TIMES]):
        name, *spans = line.split()
        name = name.removesuffix(".mp4")
        if not is_safe(name):
            listing.refuse("", "unsafe name", f"{where}: {name[:80]!r}")
            continue
        if name in seen:
            listing.refuse(name, "duplicate name", where)
            continue
        seen.add(name)
        if not spans:
            listing.refuse(name, "malformed line", f"{where}: no times")
        stems = [name, f"{subset}_{name}"]
        if name in tables["video_url"] and (found := youtube_id(tables["video_url"][name][0])):
            stems.append(found)
        for k, span in enumerate(spans):
            try:
                start, end = _span(span, where)
                window = _window(f"{name}_{k}", paths["crop_wh"], tables["crop_wh"])
                height = _height(name, paths["resolution"], tables["resolution"])
            except RefusedError as error:
                listing.refuse(f"{name}_{k}", error.result, error.detail)
                continue
            clip = ListedClip(f"{name}_{k}", tuple(stems), start, end, FixedWindow(window, height), slack=_SLACK)
            listing.add(clip, where)


def _table(path: Path, expected: re.Pattern[str], listing: Listing) -> dict[str, list[str]]:
    """Words by name, without `.mp4`; of lines of one name the first stands."""
    table: dict[str, list[str]] = {}
    for where, line in numbered_lines(path):
        name, *words = line.split()
        name = name.removesuffix(".mp4")
        if not expected.fullmatch(" ".join(words)):
            listing.refuse(name, "malformed line", f"{where}: {line[:80]!r}")
        elif name in table:
            listing.refuse(name, "duplicate name", where)
        else:
            table[name] = words
    return table


def _span(text: str, where: str) -> tuple[float, float]:
    first, _, last = text.partition("-")
    start, end = seconds_of(first), seconds_of(last)
    if start is None or end is None:
        raise RefusedError("malformed line", f"{where}: {text[:40]!r} is no span like 00:30-01:00")
    return start, end


def _window(clip: str, path: Path, table: dict[str, list[str]]) -> Window:
    if clip not in table:
        raise RefusedError("no crop line", f"in {path.name}")
    left, width, top, height = map(int, table[clip])
    return Window(left, top, width, height)


def _height(name: str, path: Path, table: dict[str, list[str]]) -> int:
    height = int(table.get(name, ["0"])[0])
    if height == 0:
        raise RefusedError("no resolution", f"no height in {path.name}: what the window is for is unknown")
    return height
