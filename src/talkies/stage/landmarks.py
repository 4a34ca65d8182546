"""Named points of the body mesh from which a picture's truth is measured."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from talkies.stage.body import BODY_VERTICES, BaseBody, Index, load_body
from talkies.stage.performance import FACE_UNITS
from talkies.stage.skin import FACE_BOX, canvas


@dataclass(frozen=True)
class Landmarks:
    """Body vertices; left and right are the person's own.

    Attributes:
        lips: All of the lips. upper_lip, lower_lip: Those near the middle line that can be seen or meet.
        mouth_corners: Left and right corner.
        upper_lids, lower_lids: Per eye (left, right) the middle of the lid edges.
        nose: The tip. chin: Its lowest front.
        face: The face from chin to forehead and ear to ear.
    """

    lips: Index
    upper_lip: Index
    lower_lip: Index
    mouth_corners: Index
    upper_lids: tuple[Index, Index]
    lower_lids: tuple[Index, Index]
    nose: Index
    chin: Index
    face: Index

    def groups(self) -> dict[str, Index]:
        """All of them by name, the lids per eye."""
        lids = {
            f"{kind}_lid_{side}": getattr(self, f"{kind}_lids")[k]
            for kind in ("upper", "lower")
            for k, side in enumerate(("left", "right"))
        }
        names = ("lips", "upper_lip", "lower_lip", "mouth_corners", "nose", "chin", "face")
        return {**{name: getattr(self, name) for name in names}, **lids}


@lru_cache(maxsize=1)
def landmarks() -> Landmarks:
    """The landmarks of the base body, found from its masks and face units."""
    body = load_body()
    place = body.reference
    lips = _masked(body, "lips", 0.5)
    lips = lips[place[lips, 1] > 7.0]
    jaw, _ = unit_offsets(body, "jawOpen")
    lower_move = jaw[lips, 1] < -0.12
    middle = np.abs(place[lips, 0]) < 0.035
    eyes = []
    for side in ("Left", "Right"):
        blink, _ = unit_offsets(body, f"eyeBlink{side}")
        eyes.append(_lid_edges(body, blink))
    face = np.where((place[:BODY_VERTICES, 1] > 7.05) & (place[:BODY_VERTICES, 1] < 8.85))[0]
    face = face[(place[face, 2] > 0.55) & (np.abs(place[face, 0]) < 0.80)].astype(np.int32)
    return Landmarks(
        lips=lips,
        upper_lip=lips[middle & ~lower_move],
        lower_lip=lips[middle & lower_move],
        mouth_corners=np.array([lips[place[lips, 0].argmax()], lips[place[lips, 0].argmin()]], np.int32),
        upper_lids=(eyes[0][0], eyes[1][0]),
        lower_lids=(eyes[0][1], eyes[1][1]),
        nose=_furthest(body, (7.6, 8.0)),
        chin=_furthest(body, (7.05, 7.3)),
        face=face,
    )


def unit_offsets(body: BaseBody, name: str) -> tuple[NDArray[np.float32], Index]:
    """A face unit's offsets for all body vertices `[N, 3]`, and the vertices it moves."""
    k = FACE_UNITS.index(name)
    span = slice(int(body.unit_start[k]), int(body.unit_start[k + 1]))
    dense = np.zeros_like(body.vertices)
    dense[body.unit_vertex[span]] = body.unit_offset[span]
    return dense, body.unit_vertex[span]


def vertex_uv(body: BaseBody) -> NDArray[np.float32]:
    """One texture coordinate per body vertex, `[N, 2]`."""
    flat = body.faces["body"].reshape(-1, 2)
    uv = np.zeros((len(body.vertices), 2), np.float32)
    uv[flat[:, 0]] = body.uv[flat[:, 1]]
    return uv


def sample_mask(body: BaseBody, name: str) -> NDArray[np.float32]:
    """A painted mask of the face island at every body vertex, `[N]` (0 outside the island)."""
    mask = canvas(512, face=True).masks[name]
    uv = vertex_uv(body)
    x = (uv[:, 0] - FACE_BOX[0]) / (FACE_BOX[1] - FACE_BOX[0])
    y = 1 - (uv[:, 1] - FACE_BOX[2]) / (FACE_BOX[3] - FACE_BOX[2])
    inside = (x >= 0) & (x < 1) & (y >= 0) & (y < 1)
    inside[BODY_VERTICES:] = False
    value = np.zeros(len(uv), np.float32)
    value[inside] = mask[(y[inside] * 512).astype(int), (x[inside] * 512).astype(int)]
    return value


def _masked(body: BaseBody, name: str, threshold: float) -> Index:
    return np.where(sample_mask(body, name) > threshold)[0].astype(np.int32)


def _lid_edges(body: BaseBody, blink: NDArray[np.float32]) -> tuple[Index, Index]:
    """Middle of the upper and of the lower lid's edge: the upper one travels furthest in a blink."""
    down = -blink[:BODY_VERTICES, 1]
    upper = np.argsort(-down)[:6].astype(np.int32)
    centre = body.reference[upper].mean(0)
    near = np.where((np.abs(body.reference[:BODY_VERTICES, 0] - centre[0]) < 0.05) & (down < down.max() * 0.3))[0]
    near = near[(body.reference[near, 1] < centre[1]) & (body.reference[near, 1] > centre[1] - 0.3)]
    near = near[body.reference[near, 2] > centre[2] - 0.12]
    lower = near[np.argsort(-body.reference[near, 1])[:4]].astype(np.int32)
    return upper, lower


def _furthest(body: BaseBody, heights: tuple[float, float]) -> Index:
    """The four most forward vertices of the middle line between two heights."""
    place = body.reference[:BODY_VERTICES]
    row = np.where((place[:, 1] > heights[0]) & (place[:, 1] < heights[1]) & (np.abs(place[:, 0]) < 0.06))[0]
    return row[np.argsort(-place[row, 2])[:4]].astype(np.int32)
