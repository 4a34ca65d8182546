"""Checks of what was made, on the files themselves: faces found, lips shut when they must be, listeners quiet."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.people import find_faces
from talkies.media.shards import decode_video, read_clips
from talkies.stage.background import Background
from talkies.stage.show import find_shards

BILABIALS = ("P", "B", "M")
#: Lips closer than this share of the face's height count as closed.
CLOSED = 0.005
#: Overlap (intersection over union) from which a detected face is the labelled one.
_OVERLAP = 0.3


@dataclass(frozen=True)
class Findings:
    """What the checks counted.

    Attributes:
        faces: Faces looked for. found: Of these, found by the detector. extra: Detections where nobody is.
        closures: Centres of p, b and m in view. closed: Of these, with closed lips.
        speaking: Mean lip opening of people who speak, as a share of the face's height. silent: Of people who do not.
            NaN where there are none.
    """

    faces: int
    found: int
    extra: int
    closures: int
    closed: int
    speaking: float
    silent: float


@dataclass(frozen=True)
class _Filmed:
    """One clip or track: frames on demand, and per person the labels that are checked."""

    frames: NDArray[np.uint8]
    people: tuple[dict[str, NDArray[np.generic]], ...]


def check(folder: Path, frames: int = 500, seed: int = 0, name: str = "") -> Findings:
    """Checks clips or tracks of a folder.

    Args:
        folder: Of `talkies stage render` or `talkies stage tracks`.
        frames: How many random frames to look for faces in.
        seed: Chooses them. name: Only files whose names begin so.

    Raises:
        InputError: There is nothing to check.
    """
    rng = np.random.default_rng(seed)
    count = _count(folder, name)
    if not count:
        raise InputError(f"There are no clips or tracks in {folder}.", "Make some: talkies stage render --out DIR")
    wanted = np.bincount(rng.integers(0, count, frames), minlength=count)
    faces = np.zeros(3, int)
    lips = np.zeros(2, int)
    openings: dict[bool, list[float]] = {True: [], False: []}
    for number, filmed in enumerate(_filmed(folder, name)):
        for frame in rng.integers(0, len(filmed.frames), wanted[number]):
            faces += _faces(filmed, int(frame), rng)
        for labels in filmed.people:
            lips += _closures(labels)
            spoke = len(labels["phone_labels"]) > 0
            openings[spoke].append(float(_relative_opening(labels).mean()))
    means = {spoke: float(np.mean(values)) if values else np.nan for spoke, values in openings.items()}
    return Findings(int(faces[0]), int(faces[1]), int(faces[2]), int(lips[0]), int(lips[1]), means[True], means[False])


def _count(folder: Path, name: str) -> int:
    shards = find_shards(folder, name)
    if shards:
        return sum(sum(1 for _ in read_clips(shard)) for shard in shards)
    return sum(1 for _ in folder.glob(f"{name}*.npy"))


def _filmed(folder: Path, name: str) -> Iterator[_Filmed]:
    shards = find_shards(folder, name)
    for shard in shards:
        for clip in read_clips(shard):
            with np.load(io.BytesIO(clip["npz"]), allow_pickle=False) as labels:
                people = tuple(
                    {key.partition("/")[2]: labels[key] for key in labels.files if key.startswith(f"p{k}/")}
                    for k in range(len(_manifest(clip)["people"]))
                )
            yield _Filmed(decode_video(clip["mp4"]), people)
    if not shards:
        for path in sorted(folder.glob(f"{name}*.npy")):
            with np.load(path.with_suffix(".npz"), allow_pickle=False) as labels:
                yield _Filmed(np.load(path, mmap_mode="r", allow_pickle=False), ({n: labels[n] for n in labels.files},))


def _manifest(clip: dict[str, bytes]) -> dict[str, Any]:
    manifest: dict[str, Any] = json.loads(clip["json"])
    if manifest["source"] != "stage":
        raise InputError(f"{manifest['key']} is footage.", "Only the stage's own clips hold the truth that is checked.")
    return manifest


def _faces(filmed: _Filmed, frame: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Faces labelled, found, and found too many, in one frame; tracks are put on a painted background."""
    from PIL import Image

    picture = np.asarray(filmed.frames[frame])
    if picture.shape[-1] == 4:
        ground = Background.sample(rng, *picture.shape[:2]).picture
        hole = 1 - picture[..., 3:].astype(np.float32) / 255
        picture = np.clip(picture[..., :3] + ground * hole, 0, 255).astype(np.uint8)
    detected = [(f.left, f.top, f.right, f.bottom) for f in find_faces(Image.fromarray(picture))]
    labelled = [person["face_box"][frame] for person in filmed.people]
    overlaps = np.array([[_overlap(box, other) for other in detected] for box in labelled])
    hits = overlaps.reshape(len(labelled), -1) > _OVERLAP
    return np.array([len(labelled), hits.any(1).sum(), max(0, len(detected) - hits.any(0).sum())])


def _overlap(a: NDArray[np.generic], b: tuple[float, float, float, float]) -> float:
    x0, y0, x1, y1 = (float(v) for v in a)
    width, height = min(x1, b[2]) - max(x0, b[0]), min(y1, b[3]) - max(y0, b[1])
    inner = max(0.0, width) * max(0.0, height)
    return inner / ((x1 - x0) * (y1 - y0) + (b[2] - b[0]) * (b[3] - b[1]) - inner)


def _relative_opening(labels: dict[str, NDArray[np.generic]]) -> NDArray[np.float64]:
    box = labels["face_box"].astype(np.float64)
    return labels["lip_opening"].astype(np.float64) / (box[:, 3] - box[:, 1])


def _closures(labels: dict[str, NDArray[np.generic]]) -> NDArray[np.int64]:
    """Centres of p, b and m within the clip, and how many of them have closed lips."""
    opening = _relative_opening(labels)
    spoken = np.isin(labels["phone_labels"], BILABIALS)
    centres = labels["phone_times"].astype(np.float64).reshape(-1, 2).mean(1)[spoken]
    frames = np.floor(centres * 25).astype(int)
    frames = frames[(frames >= 0) & (frames < len(opening))]
    return np.array([len(frames), (opening[frames] < CLOSED).sum()])
