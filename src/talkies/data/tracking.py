"""Faces followed through a shot: detections every few frames, linked where their boxes overlap."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.data.verdict import LeftOutError
from talkies.media.people import Face, find_faces

Array = NDArray[np.float32]
#: Finds the faces of a picture.
Detector = Callable[[Image.Image], Sequence[Face]]
#: Longest side in which faces are looked for: those of a 20th of it are found, smaller ones would be left out anyway.
_DETECTION_SIDE = 320

#: Boxes that overlap less (intersection over union) are different people: a head moves less in 0.3 s.
MIN_OVERLAP = 0.2
#: A face missed for longer than this many detections has gone.
MAX_MISSED = 3
#: A person is there in at least this share of the detections; a face seen less than `NOISE` is a false one.
PRESENT = 0.85
NOISE = 0.2


@dataclass(frozen=True)
class FaceTrack:
    """One face through F frames; pixels, x right, y down.

    Attributes:
        boxes: `[F, 4]` left, top, right, bottom; interpolated between detections.
        turns: `[F]` see `media.people.Face.turn`.
        score: Mean of the detector's. seen: Share of the detections in which it was found.
    """

    boxes: Array
    turns: Array
    score: float
    seen: float

    def face(self, frame: int) -> Face:
        """As it is in one frame."""
        left, top, right, bottom = (float(value) for value in self.boxes[frame])
        return Face(left, top, right, bottom, self.score, float(self.turns[frame]))


@dataclass
class _Chain:
    times: list[int] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)


def find_large_faces(image: Image.Image) -> tuple[Face, ...]:
    """The shipped detector, at a size that serves many pictures."""
    return find_faces(image, _DETECTION_SIDE)


def overlap(a: Face, b: Face) -> float:
    """Intersection over union of two boxes, 0..1."""
    width = min(a.right, b.right) - max(a.left, b.left)
    height = min(a.bottom, b.bottom) - max(a.top, b.top)
    inner = max(0.0, width) * max(0.0, height)
    return inner / (a.width * a.height + b.width * b.height - inner)


def track_faces(frames: NDArray[np.uint8], every: int, most: int, detect: Detector) -> tuple[FaceTrack, ...]:
    """Follows the people of a clip, who must be there from its first to its last frame.

    Args:
        frames: `[F, H, W, 3]`. every: Frames between detections. most: People.
        detect: Finds the faces of a picture.

    Returns:
        Left to right.

    Raises:
        LeftOutError: Nobody, too many, or somebody who comes or goes.
    """
    times = sorted({*range(0, len(frames), every), len(frames) - 1})
    chains: list[_Chain] = []
    for step, time in enumerate(times):
        _link(chains, detect(Image.fromarray(frames[time])), step)
    chains = [chain for chain in chains if len(chain.times) > NOISE * len(times)]
    if not chains:
        raise LeftOutError("no face")
    shares = [len(chain.times) / len(times) for chain in chains]
    if min(shares) < PRESENT:
        raise LeftOutError("somebody comes or goes", f"a face is seen {100 * min(shares):.0f} % of the time")
    if len(chains) > most:
        raise LeftOutError("too many people", f"{len(chains)}")
    tracks = [_dense(chain, times, share) for chain, share in zip(chains, shares, strict=True)]
    return tuple(sorted(tracks, key=lambda track: float(track.boxes[:, ::2].mean())))


def _link(chains: list[_Chain], faces: Sequence[Face], step: int) -> None:
    """Adds detections to the chains they continue, best overlaps first; the rest begin chains of their own."""
    from scipy.optimize import linear_sum_assignment

    open_chains = [chain for chain in chains if step - chain.times[-1] <= MAX_MISSED]
    overlaps = np.array([[overlap(chain.faces[-1], face) for face in faces] for chain in open_chains])
    taken = set()
    if overlaps.size:
        for row, column in zip(*linear_sum_assignment(-overlaps), strict=True):
            if overlaps[row, column] >= MIN_OVERLAP:
                open_chains[row].times.append(step)
                open_chains[row].faces.append(faces[column])
                taken.add(int(column))
    chains += [_Chain([step], [face]) for k, face in enumerate(faces) if k not in taken]


def _dense(chain: _Chain, times: Sequence[int], share: float) -> FaceTrack:
    """Every frame's box: interpolated between detections, held at the ends."""
    known = np.array([(f.left, f.top, f.right, f.bottom, f.turn) for f in chain.faces])
    at = [times[step] for step in chain.times]
    frames = np.arange(times[-1] + 1)
    dense = np.stack([np.interp(frames, at, column) for column in known.T], axis=1).astype(np.float32)
    return FaceTrack(dense[:, :4], dense[:, 4], float(np.mean([f.score for f in chain.faces])), share)
