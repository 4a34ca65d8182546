"""Face tracks on any video: who is where in every frame, and 468 points of each face.

Faces are found by CenterFace once a second, linked over time, and followed by the face mesh: in every fourth frame
on the detector's box, which gives an upright, tight crop; in every frame on that crop, smooth over time. Blocks of
frames are decoded twice and never kept, so memory does not grow with length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from talkies.models import face_mesh as mesh

Array = NDArray[np.float32]

#: Frames between two detections, and between two looks of the mesh at a detector's box.
DETECTION_STEP = 25
_LOOK_STEP = 4
#: Longest side of the picture the detector sees: first, and where too few faces were found.
_DETECTION_SIDES = (320, 640)
#: Faces seen in less than this share of the frames are left out.
MIN_PRESENCE = 0.3
#: Side of the crop over the longer side of the points' box (the published network's habit).
_CROP_SCALE = 1.5
_MESH_BATCH = 32


class Blocks(Protocol):
    """Something that gives its frames again and again, e.g. `VideoFile` or `ArrayVideo`."""

    def blocks(self, size: int = ...) -> Any:
        """Iterates over `[n, H, W, 3]` uint8 RGB."""


@dataclass(frozen=True)
class ArrayVideo:
    """Frames in memory, `[F, H, W, 3]` uint8 RGB."""

    frames: NDArray[np.uint8]

    def blocks(self, size: int = 64) -> Any:
        for start in range(0, len(self.frames), size):
            yield self.frames[start : start + size]


@dataclass(frozen=True)
class FaceTrack:
    """One face through a video of F frames; pixels, x right, y down.

    Attributes:
        boxes: `[F, 4]` x0, y0, x1, y1 of the detector, interpolated in between and smoothed.
        points: `[F, 468, 2]` of the face mesh (`models.face_mesh` names some).
        presence: `[F]` in 0..1, how sure the mesh is that it saw a face.
        detected: Share of the looked-at frames in which the detector found it.
    """

    boxes: Array
    points: Array
    presence: Array
    detected: float

    @property
    def centre(self) -> Array:
        """Mean centre `[2]` of the boxes."""
        return np.asarray((self.boxes[:, :2] + self.boxes[:, 2:]).mean(0) / 2, np.float32)


def track_faces(video: Blocks, expected: Sequence[NDArray[Any]] = (), people: int = 1) -> tuple[FaceTrack | None, ...]:
    """Follows every face of a video.

    Args:
        video: Read twice.
        people: How many there should be at least; with fewer found, the detector looks closer.
        expected: `[4]` boxes where people are known to be (x0, y0, x1, y1). With them, one entry per box comes back in
            the same order, None where nobody is found; without them all faces, left to right.
    """
    chains, count = _chains(video, max(people, len(expected)))
    chains = [chain for chain in chains if len(chain.times) >= MIN_PRESENCE * len(range(0, count, DETECTION_STEP))]
    if expected:
        order = _assign(chains, expected)
    else:
        chains.sort(key=lambda chain: float(np.mean([(box[0] + box[2]) / 2 for box in chain.boxes])))
        order = list(range(len(chains)))
    wanted = [k for k in order if k is not None]
    looked = len(range(0, count, DETECTION_STEP))
    boxes = [chains[k].dense(count) for k in wanted]
    points, presence = follow_faces(video, boxes)
    found = {
        k: FaceTrack(boxes[n], points[n], presence[n], len(chains[k].times) / looked) for n, k in enumerate(wanted)
    }
    return tuple(None if k is None else found[k] for k in order)


@dataclass
class _Chain:
    """Detections of one face in order."""

    times: list[int] = field(default_factory=list)
    boxes: list[Array] = field(default_factory=list)

    def dense(self, count: int) -> Array:
        """Boxes of all `count` frames: interpolated, held at the ends, smoothed."""
        from scipy.ndimage import gaussian_filter1d

        known = np.stack(self.boxes)
        frames = np.arange(count)
        dense = np.stack([np.interp(frames, self.times, known[:, k]) for k in range(4)], axis=1)
        return np.asarray(gaussian_filter1d(dense, DETECTION_STEP / 4, axis=0, mode="nearest"), np.float32)


def _chains(video: Blocks, people: int) -> tuple[list[_Chain], int]:
    """Linked detections, and how many frames there are."""
    chains: list[_Chain] = []
    count = 0
    for block in video.blocks():
        for offset, frame in enumerate(block):
            time = count + offset
            if time % DETECTION_STEP == 0:
                _link(chains, _detect(frame, people), time)
        count += len(block)
    return chains, count


def _detect(frame: NDArray[np.uint8], people: int) -> list[Array]:
    """Boxes of faces; a small picture is enough for most, a larger one is looked at if somebody is missing."""
    from PIL import Image

    from talkies.media.people import find_faces

    picture = Image.fromarray(np.ascontiguousarray(frame))
    faces = find_faces(picture, _DETECTION_SIDES[0])
    for side in _DETECTION_SIDES[1:]:
        if len(faces) < people and max(picture.size) > side / 2:
            faces = max(faces, find_faces(picture, side), key=len)
    return [np.array([face.left, face.top, face.right, face.bottom], np.float32) for face in faces]


def _link(chains: list[_Chain], boxes: list[Array], time: int) -> None:
    """Adds detections to the chains they continue; the rest begin chains of their own."""
    from scipy.optimize import linear_sum_assignment

    distances = np.array([[_distance(chain.boxes[-1], box) for box in boxes] for chain in chains])
    taken = set()
    if distances.size:
        for row, column in zip(*linear_sum_assignment(np.minimum(distances, 10.0)), strict=True):
            if distances[row, column] < 0.75:
                chains[row].times.append(time)
                chains[row].boxes.append(boxes[column])
                taken.add(int(column))
    chains += [_Chain([time], [box]) for k, box in enumerate(boxes) if k not in taken]


def _distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """Between two boxes' centres, in heights of the first."""
    apart = (a[:2] + a[2:] - b[:2] - b[2:]) / 2
    return float(np.hypot(*apart) / max(float(a[3] - a[1]), 1.0))


def _assign(chains: list[_Chain], expected: Sequence[NDArray[Any]]) -> list[int | None]:
    """The chain of every expected box, nearest pairs first, at most one face height apart."""
    from scipy.optimize import linear_sum_assignment

    result: list[int | None] = [None] * len(expected)
    if chains:
        cost = np.array([[_distance(box, np.median(c.boxes, axis=0)) for c in chains] for box in expected])
        for row, column in zip(*linear_sum_assignment(np.minimum(cost, 10.0)), strict=True):
            if cost[row, column] < 1.0:
                result[row] = int(column)
    return result


def follow_faces(video: Blocks, boxes: Sequence[Array]) -> tuple[Array, Array]:
    """Looks at faces whose places are known.

    Args:
        video: Of F frames, read once. boxes: `[F, 4]` x0, y0, x1, y1 of each of K faces.

    Returns:
        Mesh points `[K, F, 468, 2]` in pixels of the video, and presence `[K, F]` in 0..1.
    """
    count = len(boxes[0]) if boxes else 0
    points = np.zeros((len(boxes), count, mesh.POINTS, 2), np.float32)
    presence = np.zeros((len(boxes), count), np.float32)
    start = 0
    for block in video.blocks() if boxes else ():
        span = slice(start, start + len(block))
        for k, own in enumerate(boxes):
            looks = sorted({*range(0, len(block), _LOOK_STEP), len(block) - 1})
            first, _ = _mesh(block[looks], _box_frames(own[span][looks]))
            points[k, span], presence[k, span] = _mesh(block, _point_frames(first, looks, len(block)))
        start += len(block)
    return points, presence


def _box_frames(boxes: Array) -> Array:
    """Crop frames `[n, 4]` (centre x, y, side, angle) from detector boxes: these end at the brow, the mesh's do not."""
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    side = _CROP_SCALE * np.maximum(width, height)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    return np.stack([centre[:, 0], centre[:, 1], side, np.zeros_like(side)], axis=1)


def _point_frames(points: Array, looks: list[int], count: int) -> Array:
    """Crop frames `[count, 4]` from mesh points `[n, 468, 2]` at times `looks`: upright, tight, smooth over time."""
    from scipy.ndimage import gaussian_filter1d

    left, right = points[:, mesh.EYE_CORNERS[0]], points[:, mesh.EYE_CORNERS[1]]
    angle = np.unwrap(np.arctan2(right[:, 1] - left[:, 1], right[:, 0] - left[:, 0]))
    low, high = points.min(1), points.max(1)
    centre = (low + high) / 2
    side = _CROP_SCALE * (high - low).max(1)
    known = (centre[:, 0], centre[:, 1], side, angle)
    frames = np.stack([np.interp(np.arange(count), looks, values) for values in known], axis=1)
    return np.asarray(gaussian_filter1d(frames, 2.0, axis=0, mode="nearest"), np.float32)


def _mesh(block: NDArray[np.uint8], frames: Array) -> tuple[Array, Array]:
    """Points in pixels of the video and presence, for one crop per frame."""
    import torch

    network = mesh.load_face_mesh()
    crops = np.stack([crop(picture, frame, mesh.INPUT_SIZE) for picture, frame in zip(block, frames, strict=True)])
    points, presence = [], []
    with torch.inference_mode():
        for start in range(0, len(crops), _MESH_BATCH):
            batch = torch.from_numpy(crops[start : start + _MESH_BATCH]).permute(0, 3, 1, 2).float() / 255
            found, logit = network(batch.contiguous(memory_format=torch.channels_last))
            points.append(found[..., :2].numpy())
            presence.append(torch.sigmoid(logit).numpy())
    unit = (np.concatenate(points) + 0.5) / mesh.INPUT_SIZE - 0.5  # [n, 468, 2], share of the crop's side
    cos, sin = np.cos(frames[:, 3, None]), np.sin(frames[:, 3, None])
    x = frames[:, 0, None] + frames[:, 2, None] * (cos * unit[..., 0] - sin * unit[..., 1])
    y = frames[:, 1, None] + frames[:, 2, None] * (sin * unit[..., 0] + cos * unit[..., 1])
    return np.stack([x, y], axis=-1).astype(np.float32), np.concatenate(presence)


def crop(picture: NDArray[np.uint8], frame: NDArray[Any], size: int, outside: int = 0) -> NDArray[np.uint8]:
    """A turned square of a picture.

    Args:
        picture: `[H, W, 3]`.
        frame: `[4]` centre x, y and side in pixels, angle in radians (clockwise in the picture).
        size: Side of the result.
        outside: Grey beyond the picture's edge.

    Returns:
        `[size, size, 3]`.
    """
    import cv2

    x, y, side, angle = (float(value) for value in frame)
    shrink = max(1, int(side / size))
    if shrink > 1:  # averaged first: sampling alone would alias
        height, width = picture.shape[:2]
        small = (max(1, width // shrink), max(1, height // shrink))
        picture = np.asarray(cv2.resize(picture, small, interpolation=cv2.INTER_AREA), np.uint8)
        x, y, side = x * small[0] / width, y * small[1] / height, side / shrink
    scale = side / size
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    half = size / 2 - 0.5
    # Result pixel -> picture pixel; pixel centres lie at .5, hence the halves.
    back = np.array([[cos, -sin, x - 0.5 - cos * half + sin * half], [sin, cos, y - 0.5 - sin * half - cos * half]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    cut = cv2.warpAffine(np.ascontiguousarray(picture), back, (size, size), flags=flags, borderValue=(outside,) * 3)
    return np.asarray(cut, np.uint8)
