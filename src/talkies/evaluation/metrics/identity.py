"""Identity: does everybody keep their face? dlib's face recognition network, where it is installed.

The network (ResNet-29, 128 numbers per face, CC0) and its weights are not included: `dlib-bin` computes, and
`face-recognition-models` carries the weights. Distances under 0.6 are one person, by its authors' threshold. It was
trained on real faces: of rendered people, compare distances only with each other.
"""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.faces import ArrayVideo, FaceTrack, track_faces
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.metrics.drift import seconds_of
from talkies.evaluation.sample import Observation

#: Frames between two looks.
STEP = 12
#: Mesh points of dlib's five landmarks: outer and inner corner of the eye on the right of the picture, of the one on
#: the left, and under the nose.
_LANDMARKS = (263, 362, 33, 133, 2)
_FILE = "dlib_face_recognition_resnet_model_v1.dat"


def find_weights() -> Path | None:
    """The network's file in the installed package, which is not imported."""
    spec = find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(folder) / "models" / _FILE).is_file():
            return path
    return None


def missing() -> str:
    """Why identity cannot be computed, or ""."""
    if find_spec("dlib") is None or find_weights() is None:
        return "dlib's face recognition is not there; pip install dlib-bin face-recognition-models"
    return ""


def measure(seen: Observation) -> dict[str, float]:
    """Distances from the reference picture's face, mean over people.

    Raises:
        InputError: dlib is missing, or a face.
    """
    apart = _distances(seen)
    return {
        "identity distance": float(apart.mean()),
        "identity distance at end": float(apart[:, -1].mean()),
    }


def identity_curve(seen: Observation) -> dict[str, NDArray[np.float64]]:
    """One distance per second, mean over people and looks."""
    apart = _distances(seen).mean(0)
    second = np.searchsorted(seconds_of(seen.size[0]), STEP * np.arange(len(apart)), side="right") - 1
    return {"identity distance": np.bincount(second, apart) / np.bincount(second)}


def _distances(seen: Observation) -> NDArray[np.float64]:
    """`[people, looks]`."""
    found: NDArray[np.float64] = seen.remember("identity", lambda: _look_for_distances(seen))
    return found


def _look_for_distances(seen: Observation) -> NDArray[np.float64]:
    if seen.lost:
        raise InputError(f"{seen.sample.key}: no face is found for {', '.join(seen.lost)}.")
    vectors = _embed_all(seen)  # per person [n, 128]
    starts = _reference(seen) or [own[0] for own in vectors]
    return np.stack([np.linalg.norm(own - start, axis=1) for own, start in zip(vectors, starts, strict=True)])


def _reference(seen: Observation) -> list[NDArray[np.float64]] | None:
    """Everybody's face in the reference picture; None without one, or where somebody is not found in it."""
    picture = seen.sample.reference
    if picture is None:
        return None
    video = ArrayVideo(picture[None])
    height, width = picture.shape[:2]
    boxes = [person.face_box for person in seen.sample.people]
    scale = np.array([width, height, width, height], np.float32)
    expected = [np.asarray(box, np.float32) * scale for box in boxes if box is not None]
    faces = track_faces(video, expected if len(expected) == len(boxes) else (), len(boxes))
    if len(faces) < len(boxes) or any(face is None for face in faces):
        return None
    return [embed(picture, face, 0) for face in faces[: len(boxes)] if face is not None]


def _embed_all(seen: Observation) -> list[NDArray[np.float64]]:
    faces = [face for face in seen.faces if face is not None]
    found: list[list[NDArray[np.float64]]] = [[] for _ in faces]
    start = 0
    for block in seen.sample.video.blocks():
        for offset in range(-start % STEP, len(block), STEP):
            for own, face in zip(found, faces, strict=True):
                own.append(embed(block[offset], face, start + offset))
        start += len(block)
    return [np.stack(own) for own in found]


def embed(picture: NDArray[np.uint8], face: FaceTrack, frame: int) -> NDArray[np.float64]:
    """`[128]` of one face in one frame."""
    dlib, network = _network()
    points = [dlib.point(round(float(x)), round(float(y))) for x, y in face.points[frame, _LANDMARKS]]
    left, top, right, bottom = (round(float(v)) for v in face.boxes[frame])
    shape = dlib.full_object_detection(dlib.rectangle(left, top, right, bottom), points)
    chip = dlib.get_face_chip(np.ascontiguousarray(picture), shape, size=150, padding=0.25)
    return np.array(network.compute_face_descriptor(chip), np.float64)


@lru_cache(maxsize=1)
def _network() -> tuple[Any, Any]:
    path = find_weights()
    if path is None or missing():
        raise InputError("Identity cannot be computed.", missing())
    import dlib

    return dlib, dlib.face_recognition_model_v1(str(path))


IDENTITY = Metric(
    name="identity",
    columns=(
        Column(
            "identity distance", "lower", "", "distance of faces from those of the reference picture (0.6: another)"
        ),
        Column("identity distance at end", "lower", "", "the same at the last look"),
    ),
    needs="faces",
    measure=measure,
    curves=identity_curve,
    weights="dlib's face recognition network (CC0), from face-recognition-models",
    missing=missing,
    source="King, dlib 19.7, 2017",
)
