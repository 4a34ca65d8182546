"""Crops to fit from: every track's mouth and face as evaluation would cut them out, in one array each.

The face mesh looks at the rendered people as it looks at any video, so what is fitted meets the mesh's own errors, not
exact landmarks that evaluation never has. Tracks have no background; each gets a plain one of its own.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.domain.face_units import FACE_UNITS
from talkies.evaluation.aligned import FACE, MOUTH, CropKind, crop_frames, cut
from talkies.evaluation.faces import ArrayVideo, follow_faces

#: Pixels kept around crops, for shifted ones.
MOUTH_MARGIN, FACE_MARGIN = 6, 6
#: The mesh looks at every so manieth frame (places in between are interpolated); faces are kept of as many.
_MESH_STEP, FACE_STEP = 3, 2
#: How far a detector's box is off, in shares of its sides (standard deviation).
_BOX_ERROR = 0.05
_ARRAYS = ("mouths", "faces", "sounds", "units", "speaks", "people")


@dataclass(frozen=True)
class Crops:
    """N tracks of F frames, memory-mapped.

    Attributes:
        mouths: `[N, F, 60, 60]` uint8, grey. faces: `[N, ceil(F / 2), 92, 92]` uint8, grey, every second frame.
        sounds: `[N, F * 640]` int16, 16 kHz. units: `[N, F, 52]` float16. speaks: `[N]` bool. people: `[N]` int64.
    """

    mouths: NDArray[np.uint8]
    faces: NDArray[np.uint8]
    sounds: NDArray[np.int16]
    units: NDArray[np.float16]
    speaks: NDArray[np.bool_]
    people: NDArray[np.int64]


def cut_tracks(
    tracks: Path, folder: Path, limit: int | None = None, every: int = 1, say: Callable[[str], None] = lambda text: None
) -> Crops:
    """Crops of the tracks of a folder; made once, then read.

    Args:
        tracks: Of `talkies stage tracks`. folder: Where the arrays go. limit: Only the first so many.
        every: Every so manieth of these.

    Raises:
        InputError: There are no tracks, or they are of different lengths.
    """
    paths = [path for path in sorted(tracks.glob("person-*.npz")) if path.with_suffix(".npy").exists()][:limit:every]
    if not paths:
        raise InputError(f"There are no tracks in {tracks}.", "Make some: talkies stage tracks --out DIR")
    mark = folder / "crops.json"
    made_of = {"tracks": [path.stem for path in paths], "places": [repr(MOUTH), repr(FACE)]}
    if not mark.exists() or json.loads(mark.read_text()) != made_of:
        folder.mkdir(parents=True, exist_ok=True)
        mark.unlink(missing_ok=True)
        _cut_all(paths, folder, say)
        mark.write_text(json.dumps(made_of))
    return Crops(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS})


def _cut_all(paths: list[Path], folder: Path, say: Callable[[str], None]) -> None:
    count = len(np.load(paths[0].with_suffix(".npy"), mmap_mode="r"))
    mouth, face = MOUTH.wider(MOUTH_MARGIN), FACE.wider(FACE_MARGIN)
    shapes: dict[str, tuple[tuple[int, ...], Any]] = {
        "mouths": ((count, mouth.size, mouth.size), np.uint8),
        "faces": ((len(range(0, count, FACE_STEP)), face.size, face.size), np.uint8),
        "sounds": ((count * 640,), np.int16), "units": ((count, len(FACE_UNITS)), np.float16),
        "speaks": ((), np.bool_), "people": ((), np.int64),
    }  # fmt: skip
    arrays = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", "w+", dtype, (len(paths), *shape))
        for name, (shape, dtype) in shapes.items()
    }
    for number, path in enumerate(paths):
        for name, value in _cut_one(path, count, mouth, face).items():
            arrays[name][number] = value
        if number % 100 == 99:
            say(f"{number + 1} of {len(paths)} tracks cut")
    for array in arrays.values():
        array.flush()


def _cut_one(path: Path, count: int, mouth: CropKind, face: CropKind) -> dict[str, Any]:
    rng = np.random.default_rng(int.from_bytes(hashlib.sha256(path.stem.encode()).digest()[:8], "big"))
    pictures = on_plain(np.load(path.with_suffix(".npy")), rng.integers(0, 256, 3))
    with np.load(path, allow_pickle=False) as labels:
        if len(pictures) != count or len(labels["face_units"]) != count:
            raise InputError(f"{path.name} is not {count} frames long.", "Make all tracks of one length.")
        boxes, units, waveform = labels["face_box"].astype(np.float32), labels["face_units"], labels["waveform"]
        speaks, person = len(labels["phone_labels"]) > 0, int(json.loads(str(labels["meta"]))["person"])
    looked = np.arange(0, count, _MESH_STEP)
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    seen = (boxes + rng.normal(0, _BOX_ERROR, 4) * sides).astype(np.float32)[looked]
    points = follow_faces(ArrayVideo(pictures[looked]), [seen])[0][0]  # [n, 468, 2]
    dense = np.stack([
        np.interp(np.arange(count), looked, column) for column in points.reshape(len(looked), -1).T
    ], axis=1).reshape(count, -1, 2)  # fmt: skip
    sound = np.zeros(count * 640, np.int16)
    sound[: len(waveform)] = waveform[: len(sound)]
    return {
        "mouths": cut(pictures, crop_frames(dense, mouth), mouth.size),
        "faces": cut(pictures[::FACE_STEP], crop_frames(dense, face)[::FACE_STEP], face.size),
        "sounds": sound, "units": units, "speaks": speaks, "people": person,
    }  # fmt: skip


def on_plain(pictures: NDArray[np.uint8], colour: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Premultiplied RGBA `[F, H, W, 4]` on a colour `[3]`: RGB `[F, H, W, 3]`."""
    clear = 255 - pictures[..., 3:].astype(np.uint16)
    return np.minimum(pictures[..., :3] + clear * colour.astype(np.uint16) // 255, 255).astype(np.uint8)
