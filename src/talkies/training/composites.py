"""Endless composites for the codec: one performer's track over another background, moved, recoloured, degraded.

Every draw is a crop with one person: four frames, a reference frame from elsewhere in the same track, and
where the mouth and the face are. All of it is a function of the generator's state.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.domain.expression import EXPRESSION, KEPT
from talkies.domain.face_units import FACE_UNITS
from talkies.models.face_painter import DETAIL
from talkies.models.motion_latents import CELL
from talkies.models.optical_flow import resized
from talkies.training.exact_flow import face_flow
from talkies.training.faces import detected, expressions, face_maps, move_points, since_reference

Array = NDArray[Any]
#: From between the eyes to the mouth, in pixels, at the size at which motion is told: the median over the stage's
#: tracks in panels of 192 pixels.
FACE_LENGTH = 31.0
#: Around eyes, in distances from between them to the mouth.
EYE_MARGIN = 0.32
_BLINK_UNIT, _SHUT = FACE_UNITS.index("eyeBlinkLeft"), 0.4
_IS_KEPT = np.array([name in KEPT for name in EXPRESSION])


@dataclass(frozen=True)
class Track:
    """One performer on a transparent ground.

    Attributes:
        path: `.npy` file of RGBA frames, colours multiplied by alpha, uint8 `[F, H, W, 4]`; labels beside it as `.npz`.
    """

    path: Path

    @cached_property
    def frames(self) -> Array:
        """`[F, H, W, 4]` uint8, memory-mapped."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    @cached_property
    def labels(self) -> dict[str, Array]:
        """`mouth_box [F, 4]`, `face_box [F, 4]` (x0, y0, x1, y1), `points [F, 8, 2]` (pixels), `face_units [F, 52]`."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as labels:
            return {name: labels[name] for name in ("mouth_box", "face_box", "points", "face_units")}

    @cached_property
    def about(self) -> dict[str, Any]:
        """Seeds, voice, looks and manner of the performer, as the stage wrote them."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as labels:
            return dict(json.loads(str(labels["meta"])))

    @cached_property
    def gesture(self) -> Array:
        """Which gesture's stroke is on at each frame, `[F]` uint8, 0 for none."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as labels:
            return np.asarray(labels["gesture"])

    def mesh(self, times: Sequence[int]) -> Array:
        """Where the face's vertices are at some frames, `[n, V, 3]`: x, y in pixels, distance."""
        with np.load(self.path.with_suffix(".npz"), allow_pickle=False) as labels:
            return np.asarray(labels["face_mesh"][list(times)])


def find_tracks(folder: Path) -> list[Track]:
    """All tracks below a folder, in the order of their names.

    Raises:
        InputError: There are none.
    """
    tracks = [Track(path) for path in sorted(folder.rglob("*.npy")) if path.with_suffix(".npz").exists()]
    if not tracks:
        raise InputError(f"no tracks in {folder}", "Render some first: talkies stage tracks --out DIR")
    return tracks


@dataclass(frozen=True)
class Composite:
    """One draw; pixels are float32 in [-1, 1], places in pixels of the crop. S is `DETAIL` times the size s at which
    motion is told."""

    group: Array  # [4, 3, S, S]
    reference: Array  # [3, S, S]
    mouth: Array  # [4, 4]
    face: Array  # [4, 4]
    eyes: Array  # [4, 4]: around both
    faces: Array  # [4, 10, s/16, s/16]: `face_maps`
    flow: Array  # [4, 2, s, s]: the optical flow from each frame to the reference, in pixels of that size
    points: Array  # [1, 5, 2]: landmarks of the reference as a detector might give them
    expression: Array  # [5, 8]: of the frames and of the reference
    mesh: Array  # [5, V, 3]: the face's vertices, x y in pixels of the crop, then their distance


class Composer:
    """Draws composites.

    Args:
        tracks: Performers to draw from.
        size: Side of the square crop at the size at which motion is told, a multiple of 16; its pixels are `DETAIL`
            times as many.
        augment: Vary background, colour, sharpness, scale and motion (training) or only compose (validation).
        blinks: Share of draws, of those that vary, in which eyes are shut in a frame: blinks are rare and short.
    """

    def __init__(self, tracks: Sequence[Track], size: int = 96, augment: bool = True, blinks: float = 0.0) -> None:
        self.tracks, self.size, self.augment, self.blinks = tracks, size, augment, blinks
        self.side = size * DETAIL
        bank = np.random.default_rng(7)
        self.backgrounds = [procedural_background(bank) for _ in range(96 if augment else 8)]

    def draw(self, rng: np.random.Generator) -> Composite:
        """One composite; the generator decides everything."""
        track = self.tracks[int(rng.integers(len(self.tracks)))]
        labels, width = track.labels, track.frames.shape[2]
        times = self._times(labels["face_units"][:, _BLINK_UNIT] > _SHUT, rng)
        flip = bool(self.augment and rng.random() < 0.5)
        frame = self._framing(labels["points"][times[4]], rng)
        sway = self._sway(rng)
        camera = self._sway(rng, 0.6) if self.augment and rng.random() < 0.25 else np.zeros((5, 4))
        background = self.backgrounds[int(rng.integers(len(self.backgrounds)))]
        ground = self._ground(background, rng)
        vertices = track.mesh(times)
        pictures, mouths, faces, eyes, points, covered = [], [], [], [], [], []
        for k, t in enumerate(times):
            body = frame @ _similarity(sway[k], width / 2)
            lens = _similarity(camera[k], self.side / 2)
            affine = lens @ body
            person = cv2.warpAffine(
                np.ascontiguousarray(track.frames[t]),
                affine[:2],
                (self.side, self.side),
                flags=cv2.INTER_AREA if affine[0, 0] < 1 else cv2.INTER_LINEAR,
            ).astype(np.float32)
            scenery = cv2.warpAffine(ground, lens[:2], (self.side, self.side), borderMode=cv2.BORDER_REFLECT)
            alpha = person[..., 3:] / 255
            covered.append(alpha[..., 0])
            pictures.append(person[..., :3] + scenery * (1 - alpha))
            mouths.append(move_box(labels["mouth_box"][t], affine))
            faces.append(move_box(labels["face_box"][t], affine))
            eyes.append(move_box(_eye_box(labels["points"][t]), affine))
            points.append(move_points(labels["points"][t], affine))
            vertices[k, :, :2] = move_points(vertices[k, :, :2], affine)
        film, coverage = np.stack(pictures) / 255, np.stack(covered)
        if self.augment:
            film = degrade(recolour(film, rng), rng)
        mouth, face, both, landmarks = np.stack(mouths), np.stack(faces), np.stack(eyes), np.stack(points)
        if flip:
            film, coverage = film[:, :, ::-1], coverage[:, :, ::-1]
            landmarks[..., 0] = self.side - landmarks[..., 0]
            vertices[..., 0] = self.side - vertices[..., 0]
            mouth, face, both = (
                np.stack([self.side - b[:, 2], b[:, 1], self.side - b[:, 0], b[:, 3]], 1) for b in (mouth, face, both)
            )
        film = np.ascontiguousarray((film * 2 - 1).transpose(0, 3, 1, 2), dtype=np.float32)
        frames = resized(torch.from_numpy(film), self.size, self.size).numpy()
        told = vertices / (DETAIL, DETAIL, 1.0)
        coverage = resized(torch.from_numpy(np.ascontiguousarray(coverage[:4])), self.size, self.size).numpy()
        flow = face_flow(frames[:4], frames[4], told[:4], told[4], coverage)
        cells = self.size // CELL
        maps = face_maps(labels["face_units"][times[:4]], landmarks[:4] / DETAIL, cells, cells)
        units = expressions(labels["face_units"][times])
        maps = since_reference(maps, units[4])
        units = np.where(_IS_KEPT, units - units[4], units)
        found = detected(landmarks[4:], rng)[:, :5] if self.augment else landmarks[4:, :5]
        boxes = (mouth[:4], face[:4], both[:4])
        return Composite(film[:4], film[4], *boxes, maps, flow, found, units, vertices)

    def _times(self, shut: Array, rng: np.random.Generator) -> list[int]:
        """Four frames of a track and the reference; `shut [F]` tells where its eyes are."""
        count = len(shut)
        # frames further apart than a film's say more of a face in one draw; a step of 0 is a still, as latent frame 0
        step = int(rng.choice([0, 1, 2, 4], p=[0.1, 0.3, 0.3, 0.3])) if self.augment else 1
        start = int(rng.integers(0, max(1, count - 3 * step)))
        if self.augment and shut.any() and rng.random() < self.blinks:
            during = int(rng.choice(np.flatnonzero(shut)))
            start = during - step * int(rng.integers(min(3, during // max(step, 1)) + 1))
        seen = int(rng.integers(0, count))
        if self.augment and shut[seen] and not shut.all() and rng.random() < 0.8:  # of shut eyes nothing is known
            seen = int(rng.choice(np.flatnonzero(~shut)))
        return [*(min(start + k * step, count - 1) for k in range(4)), seen]

    def _framing(self, points: Array, rng: np.random.Generator) -> Array:
        """Track pixels -> crop pixels: the mouth of `points [8, 2]` somewhere in the middle, at a random size and tilt
        of the face."""
        eyes, mouth = points[:2].mean(0), points[3:5].mean(0)
        scale = FACE_LENGTH * DETAIL / max(float(np.linalg.norm(mouth - eyes)), 4.0)
        scale *= float(np.exp(rng.uniform(np.log(0.7), np.log(1.5)))) if self.augment else 1.0
        tilt = rng.normal(0, 5) if self.augment else 0.0
        spread = self.side * 0.2
        below = np.array([0.0, 12.0 * DETAIL])
        target = self.side / 2 + (rng.uniform(-spread, spread, 2) if self.augment else below)
        matrix = np.eye(3)
        matrix[:2] = cv2.getRotationMatrix2D((float(mouth[0]), float(mouth[1])), float(tilt), scale)
        matrix[:2, 2] += target - mouth
        return matrix

    def _sway(self, rng: np.random.Generator, strength: float = 1.0) -> Array:
        """`[5, 4]`: x, y in pixels, tilt in degrees, log scale; smooth over the group, anything for the reference."""
        if not self.augment or rng.random() < 0.4:
            return np.zeros((5, 4))
        unit = np.array([3.0 * DETAIL, 2.0 * DETAIL, 2.0, 0.02]) * strength
        start, speed = rng.normal(0, 1, 4) * unit, rng.normal(0, 0.12, 4) * unit
        group = start + np.arange(4)[:, None] * speed
        return np.concatenate([group, np.zeros((1, 4))])

    def _ground(self, background: Array, rng: np.random.Generator) -> Array:
        side = int(rng.integers(self.size // 2, background.shape[0] - 1)) if self.augment else self.size
        y, x = rng.integers(0, background.shape[0] - side, 2)
        part = background[y : y + side, x : x + side]
        method = cv2.INTER_AREA if side > self.side else cv2.INTER_LINEAR
        return cv2.resize(part, (self.side, self.side), interpolation=method)


def _similarity(motion: Array, centre: float) -> Array:
    x, y, tilt, log_scale = motion
    matrix = np.eye(3)
    matrix[:2] = cv2.getRotationMatrix2D((centre, centre), float(tilt), float(np.exp(log_scale)))
    matrix[:2, 2] += (x, y)
    return matrix


def _eye_box(points: Array) -> Array:
    """Around both eyes of `points [8, 2]`, `[4]`."""
    eyes, mouth = points[:2], points[3:5].mean(0)
    length = float(np.linalg.norm(mouth - eyes.mean(0)))
    return np.concatenate([eyes.min(0) - EYE_MARGIN * length, eyes.max(0) + EYE_MARGIN * length])


def move_box(box: Array, affine: Array) -> Array:
    """The upright box around `box [4]` (x0, y0, x1, y1) after `affine [3, 3]`."""
    corners = np.array([[box[0], box[1], 1], [box[2], box[1], 1], [box[0], box[3], 1], [box[2], box[3], 1]]).T
    moved = (affine @ corners)[:2]
    return np.concatenate([moved.min(1), moved.max(1)]).astype(np.float32)


def recolour(film: Array, rng: np.random.Generator) -> Array:
    """The same camera for all frames: `[N, H, W, 3]` in [0, 1] under another exposure, tint, saturation and curve."""
    curve = float(np.exp(rng.normal(0, 0.25)))
    saturation = float(rng.choice([rng.uniform(0.4, 1.4), 0.0], p=[0.94, 0.06]))
    tint = np.exp(rng.normal(0, 0.12, 3)) * float(np.exp(rng.normal(0, 0.15)))
    middle, contrast, brighter = rng.uniform(0.3, 0.6), rng.uniform(0.75, 1.25), rng.normal(0, 0.04)
    # towards grey, tint, contrast and brightness are one matrix: [3, 3] and what is added
    mixed = (saturation * np.eye(3) + (1 - saturation) / 3) * (tint * contrast)[:, None]
    matrix = np.concatenate([mixed, np.full((3, 1), middle * (1 - contrast) + brighter)], 1)
    pixels = np.clip(film, 0, 1, dtype=np.float32).reshape(-1, film.shape[-2], 3)
    return np.clip(cv2.transform(cv2.pow(pixels, curve), matrix), 0, 1).reshape(film.shape)


def degrade(film: Array, rng: np.random.Generator) -> Array:
    """The same lens and the same codec for all frames: soft, oversharpened or compressed."""
    kind = rng.random()
    if kind < 0.30:
        sigma = float(rng.uniform(0.3, 2.2))
        return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in film])
    if kind < 0.45:
        amount = float(rng.uniform(0.2, 0.8))
        return np.stack([np.clip(f + amount * (f - cv2.GaussianBlur(f, (0, 0), 1.0)), 0, 1) for f in film])
    if kind < 0.60:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(45, 92))]
        return np.stack([_jpeg(frame, quality) for frame in film])
    return film


def _jpeg(frame: Array, quality: list[int]) -> Array:
    _, data = cv2.imencode(".jpg", (frame * 255).astype(np.uint8), quality)
    return np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32) / 255


def procedural_background(rng: np.random.Generator, side: int = 256) -> Array:
    """A picture that could stand behind somebody: planes, frames, gradients, foliage-like noise; `[S, S, 3]` 0..255."""
    base = rng.uniform(30, 220, 3)
    picture = np.ones((side, side, 3), np.float32) * base.astype(np.float32)
    for sigma in (side / 4, side / 10, side / 30, side / 90):
        cells = max(2, int(side / sigma))
        noise = cv2.resize(rng.standard_normal((cells, cells, 3)).astype(np.float32), (side, side))
        tint = rng.uniform(0, 1)
        picture += rng.gamma(1.0, 14.0) * (noise * tint + noise[..., :1] * (1 - tint))
    for _ in range(int(rng.integers(0, 14))):
        colour = tuple(float(c) for c in np.clip(base * rng.uniform(0.2, 1.8) * rng.uniform(0.7, 1.3, 3), 0, 255))
        corner = rng.uniform(-0.2, 1.1, 2) * side
        far = corner + rng.exponential(0.25, 2) * side
        if rng.random() < 0.7:
            cv2.rectangle(picture, corner.astype(int).tolist(), far.astype(int).tolist(), colour, -1, cv2.LINE_AA)
        else:
            cv2.line(picture, corner.astype(int).tolist(), far.astype(int).tolist(), colour, int(rng.integers(1, 12)))
    blur = rng.choice([0.0, rng.uniform(0.5, 10)], p=[0.3, 0.7])
    if blur:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), float(blur)), np.float32)
    return np.clip(picture, 0, 255).astype(np.float32)
