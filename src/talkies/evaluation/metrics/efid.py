"""E-FID: Frechet distance of expressions, by any extractor; which one stands in the column's name.

The papers' E-FID uses 3DMM coefficients. Such an extractor can be plugged in from Python (`efid_metric`). Two are
included, none of them a 3DMM: ARKit's face units, read off the face by a network fitted to the stage's truth; and the
shape of lips, brows and lids in the face mesh, turned, scaled and moved into a common frame.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.aligned import FACE, crop_frames, cut_video
from talkies.evaluation.faces import FaceTrack
from talkies.evaluation.metric import Column
from talkies.evaluation.sample import Observation
from talkies.evaluation.set_metric import Features, SetMetric

#: Mesh points that hardly move with expressions: eye corners, bridge and base of the nose.
_STILL = (33, 133, 362, 263, 168, 6, 2)
#: Inner and outer lips, upper and lower lids, brows.
_MOVING = (
    61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291, 375, 321, 405, 314, 17, 84, 181, 91, 146,
    78, 82, 13, 312, 308, 317, 14, 87, 159, 145, 386, 374, 70, 105, 107, 336, 334, 300,
)  # fmt: skip


class ExpressionExtractor(Protocol):
    """Something that reads expressions off a face."""

    @property
    def name(self) -> str:
        """Stands in the column's name."""

    @property
    def weights(self) -> str:
        """What it looks through, and its licence; "" for nothing."""

    def coefficients(self, seen: Observation, person: int) -> NDArray[np.floating]:
        """`[F, D]` of one person."""


class MeshExpression:
    """Places of lips, lids and brows relative to eyes and nose, in eye distances."""

    name = "mesh"
    weights = "MediaPipe Face Mesh (Apache-2.0), included"

    def coefficients(self, seen: Observation, person: int) -> NDArray[np.floating]:
        """`[F, 76]`.

        Raises:
            InputError: The face is not found.
        """
        face = seen.faces[person]
        if face is None:
            raise InputError(f"{seen.sample.key}: no face is found for {seen.sample.people[person].name}.")
        return expressions(face)


class UnitExpression:
    """ARKit's 52 face units; those that the stage never moves are 0."""

    name = "units"
    weights = "face units fitted to the stage (Apache-2.0), included"

    def coefficients(self, seen: Observation, person: int) -> NDArray[np.floating]:
        """`[F, 52]` in 0..1, columns `FACE_UNITS`.

        Raises:
            InputError: A face is not found.
        """
        found: list[NDArray[np.float32]] = seen.remember("face units", lambda: face_units(seen))
        return found[person]


def face_units(seen: Observation) -> list[NDArray[np.float32]]:
    """`[F, 52]` of everybody; decodes the video once.

    Raises:
        InputError: A face is not found.
    """
    import torch

    from talkies.evaluation.networks.face_units import load_face_units

    network = load_face_units()
    places = [crop_frames(face.points, FACE) for face in seen.found_faces]
    parts: list[list[NDArray[np.float32]]] = [[] for _ in places]
    with torch.inference_mode():
        for block in cut_video(seen.sample.video, places, FACE.size):
            for k, crops in enumerate(block):
                parts[k].append(network(torch.from_numpy(crops)).numpy())
    return [np.concatenate(part) for part in parts]


def expressions(face: FaceTrack) -> NDArray[np.float32]:
    """`[F, 76]`: x and y of `_MOVING` in the frame of `_STILL`."""
    left, right = face.points[:, (33, 133)].mean(1), face.points[:, (263, 362)].mean(1)
    axis = (right - left) / np.square(right - left).sum(1, keepdims=True)  # [F, 2], one over eye distances
    centred = face.points[:, _MOVING] - face.points[:, _STILL].mean(1, keepdims=True)
    along = centred @ axis[..., None]  # [F, n, 1]
    across = centred @ np.stack([-axis[:, 1], axis[:, 0]], axis=1)[..., None]
    return np.concatenate([along, across], axis=-1).reshape(len(centred), -1).astype(np.float32)


def efid_metric(extractor: ExpressionExtractor) -> SetMetric:
    """E-FID with an extractor."""

    def features(seen: Observation) -> Features:
        parts = [extractor.coefficients(seen, k) for k in range(len(seen.sample.people))]
        return np.concatenate(parts).astype(np.float32)

    return SetMetric(
        name=f"e-fid-{extractor.name}",
        column=Column(
            f"E-FID ({extractor.name})", "lower", "", "Frechet distance of expressions per frame from the real ones'"
        ),
        needs="faces, and the set's own videos",
        features=features,
        weights=extractor.weights,
        source="Tian et al., EMO, arXiv 2402.17485 (with 3DMM coefficients)",
        of_people=True,
    )


EFID = efid_metric(MeshExpression())
EFID_UNITS = efid_metric(UnitExpression())
