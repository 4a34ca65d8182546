"""CelebV-HQ: talking heads. One JSON file of videos, spans and boxes (Zhu et al., ECCV 2022)."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.evaluation.datasets.listed import ListedClip, Listing, Window, find_list, is_safe, read_text

LIST = "celebvhq_info.json"
#: What the authors add to a box on every side, as a share of the picture.
_MARGIN = 0.02


@dataclass(frozen=True)
class FaceBox:
    """A box in shares of the picture; its window is the square that the authors cut.

    The box grows by 0.02 on every side, is clamped, rounded to pixels, and made square around its centre with half the
    side `min(height, width) // 2`. A corner between two pixels takes the one before (FFmpeg's crop, which the authors
    call, may be another pixel off: it wants even numbers).
    """

    top: float
    bottom: float
    left: float
    right: float

    def __call__(self, picture: FrameSize) -> tuple[Window, str]:
        """Raises RefusedError where nothing of it is in the picture."""
        top, bottom = _grown(self.top, self.bottom, picture.height)
        left, right = _grown(self.left, self.right, picture.width)
        half = min(bottom - top, right - left) // 2
        square = Window((left + right) // 2 - half, (top + bottom) // 2 - half, 2 * half, 2 * half)
        return square.inside(picture), ""


def _grown(first: float, last: float, length: int) -> tuple[int, int]:
    return round(max(first - _MARGIN, 0) * length), round(min(last + _MARGIN, 1) * length)


def read_celebv_hq(path: Path) -> Listing:
    """The clips of the authors' `celebvhq_info.json` (or of the folder it lies in).

    Raises:
        InputError: It is no such file.
    """
    path = find_list(path, LIST)
    twice: list[str] = []

    def first_stands(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                twice.append(key)
            else:
                found[key] = value
        return found

    try:
        clips = json.loads(read_text(path), object_pairs_hook=first_stands)["clips"].items()
    except json.JSONDecodeError as error:
        raise InputError(f"{path} is no JSON: line {error.lineno}, {error.msg}.") from None
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        raise InputError(f'{path} holds no {{"clips": ...}}.', f"Give the authors' {LIST}.") from None
    listing = Listing()
    for key, entry in clips:
        where = f"{path.name}, clip {key[:80]!r}"
        try:
            listing.add(_clip(key, entry), where)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            why = " ".join(str(error).split())[:80]
            listing.refuse(key, "malformed line", f"{where}: without good ytb_id, duration and bbox ({why})")
    known = {key for key, _ in clips}
    for key in twice:
        if key in known:
            listing.refuse(key, "duplicate name", path.name)
    return listing


def _clip(key: str, entry: Any) -> ListedClip:
    """Raises KeyError, TypeError, ValueError or OverflowError: not as it should be."""
    video = entry["ytb_id"]
    if not (isinstance(video, str) and is_safe(video)):
        raise ValueError("ytb_id is no name of a video")
    start, end = (_number(entry["duration"], name) for name in ("start_sec", "end_sec"))
    box = FaceBox(*(_number(entry["bbox"], name) for name in ("top", "bottom", "left", "right")))
    if start < 0 or box.top >= box.bottom or box.left >= box.right:
        raise ValueError("it begins before 0 s, or its bbox is empty")
    return ListedClip(key, (video,), start, end, box)


def _number(entry: Any, name: str) -> float:
    value = entry[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name} is no number")
    return float(value)
