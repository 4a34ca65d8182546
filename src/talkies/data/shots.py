"""Cutting: where the picture changes at once, and clips of allowed lengths in between.

A cut is a frame that differs from the one before far more than its neighbours do from theirs (after PySceneDetect's
adaptive detector; that library would bring a second OpenCV along). Fades and dissolves are not found: the faces of
such clips come or go, and that is found later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import TEMPORAL_STRIDE

Frames = NDArray[np.uint8]

#: A cut changes the small picture by so much in the mean (0..255), and by so many times what its neighbours do.
MIN_CHANGE = 12.0
MIN_RATIO = 3.0
#: Neighbours on either side that are looked at.
_WINDOW = 2
_SMALL = 32


@dataclass(frozen=True)
class Stretch:
    """Frames of one shot in a row.

    Attributes:
        shot: Number of the shot, from 0. first: Number of the first frame. frames: `[F, H, W, 3]`.
    """

    shot: int
    first: int
    frames: Frames


def shrink(frame: Frames) -> NDArray[np.float32]:
    """`[H, W, 3]` to `[32, 32, 3]`, the means of its tiles."""
    rows, columns = (np.linspace(0, length, _SMALL + 1).astype(int)[:-1] for length in frame.shape[:2])
    sums = np.add.reduceat(np.add.reduceat(frame, rows, axis=0, dtype=np.float32), columns, axis=1)
    areas = np.diff([*rows, frame.shape[0]])[:, None] * np.diff([*columns, frame.shape[1]])[None]
    return np.asarray(sums / areas[..., None], np.float32)


def is_cut(changes: Sequence[float]) -> bool:
    """Whether the middle one of five changes is a cut."""
    middle = changes[_WINDOW]
    others = (sum(changes) - middle) / (len(changes) - 1)
    return middle >= MIN_CHANGE and middle >= MIN_RATIO * max(1.0, others)


def with_cuts(frames: Iterable[Frames]) -> Iterator[tuple[Frames, bool]]:
    """Every frame, and whether a shot begins with it; two frames late."""
    nothing: tuple[Frames | None, float] = (None, 0.0)
    around = deque([nothing] * _WINDOW, maxlen=2 * _WINDOW + 1)
    before: NDArray[np.float32] | None = None
    for frame in chain(frames, [None] * _WINDOW):
        small = None if frame is None else shrink(frame)
        change = 0.0 if small is None or before is None else float(np.abs(small - before).mean())
        around.append((frame, change))
        before = small
        if len(around) > 2 * _WINDOW:
            middle, _ = around[_WINDOW]
            if middle is not None:
                yield middle, is_cut([value for _, value in around])


def stretches(frames: Iterable[Frames], shortest: int, longest: int) -> Iterator[Stretch]:
    """Cuts frames into clips of `shortest` to `longest` frames, 4n + 1; what is left of a shot is dropped.

    A shot gives as many of the longest as fit, then one of what remains. One clip is held while the next one grows.
    """
    held: list[Frames] = []
    shot = first = number = 0
    for number, (frame, cut) in enumerate(with_cuts(frames)):
        if cut:
            yield from _rest(shot, first, held, shortest)
            shot, first, held = shot + 1, number, []
        held.append(frame)
        if len(held) == longest:
            stretch = Stretch(shot, first, np.stack(held))
            first, held = number + 1, []
            yield stretch
            del stretch
    yield from _rest(shot, first, held, shortest)


def _rest(shot: int, first: int, held: list[Frames], shortest: int) -> Iterator[Stretch]:
    length = (len(held) - 1) // TEMPORAL_STRIDE * TEMPORAL_STRIDE + 1
    if length >= shortest:
        yield Stretch(shot, first, np.stack(held[:length]))
