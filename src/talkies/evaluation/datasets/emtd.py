"""EMTD: talking bodies, the benchmark of EchoMimicV2 (Meng et al., CVPR 2025). One CSV file of addresses and spans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.evaluation.datasets.listed import (
    ListedClip,
    Listing,
    Window,
    find_list,
    numbered_lines,
    seconds_of,
    youtube_id,
)

LIST = "echomimicv2_benchmark_url+start_timecode+end_timecode.txt"
_HEADER = ["url", "start timecode", "end timecode"]
#: Frames of the video that the authors leave out at both ends: the neighbouring shots.
_TRIM = 3


@dataclass(frozen=True)
class WholePicture:
    """Nothing is cut away: the list has no windows; the authors' come from a pose network."""

    def __call__(self, picture: FrameSize) -> tuple[Window, str]:
        """All of it."""
        return Window(0, 0, picture.width, picture.height), ""


def read_emtd(path: Path) -> Listing:
    """The clips of the authors' list (or of the folder it lies in): row n, from 0, is `{n:03d}_{id}`.

    Raises:
        InputError: It is no such file.
    """
    path = find_list(path, LIST)
    lines = list(numbered_lines(path))
    if not lines or [word.strip().lower() for word in lines[0][1].split(",")] != _HEADER:
        raise InputError(f"{path} does not begin with URL,Start Timecode,End Timecode.", f"Give the authors' {LIST}.")
    listing = Listing()
    for row, (where, line) in enumerate(lines[1:]):
        words = [word.strip() for word in line.split(",")]
        found, *times = (youtube_id(words[0]), *map(seconds_of, words[1:]))
        match found, times:
            case str(video), [float(start), float(end)]:
                clip = ListedClip(f"{row:03d}_{video}", (video,), start, end, WholePicture(), trim=_TRIM, square=False)
                listing.add(clip, where)
            case _:
                listing.refuse(f"{row:03d}", "malformed line", f"{where}: {line[:80]!r}")
    return listing
