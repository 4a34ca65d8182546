"""Panels: one performer in a strip of picture, encoded once and put side by side anew in every sample.

The codec encodes what changed against a still ground, so the latents of a wide picture are those of its strips side by
side. N performers in panels give N^2 two-person clips (and N^3 of three) without rendering or encoding any of them
again: voices, people, poses and places are paired afresh for every pass over the data.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import CELL, EXPRESSIONS, FRAMES, compress_flow, liveliness_map
from talkies.runtime.machine import autocast_bf16
from talkies.training.composites import Track, degrade, move_box, procedural_background, recolour
from talkies.training.exact_flow import face_flow
from talkies.training.faces import detected, expressions, face_maps, move_points, places_of, since_reference
from talkies.training.shards import CachedSample

Array = NDArray[Any]
#: Latent frames at which a clip may begin: the picture itself, or a film that goes on.
STARTS = tuple(range(7))


@dataclass(frozen=True)
class Panel:
    """One performer's strip, encoded against one reference frame.

    Attributes:
        id: Track and variant.
        groups: Latents of frames 4k+1..4k+4, `[K, z, h, w]`.
        singles: Latents of the single frames `4 * STARTS`, `[len(STARTS), z, h, w]`: where a clip may begin.
        condition: The codec's word on the reference frame, `[c_ref, h, w]`.
        mask: The performer in the reference frame, `[h, w]`, 0 or 1.
        weight: Loss weights of the groups, `[K, h, w]`.
        audio: Speech features of the whole track with context on both sides, `[F + 2 context, S, C]`.
        reference: Number of the reference frame.
        person: Who it is: no clip shows a person twice.
        gesture: Which gesture's stroke is on at each frame, `[F]` uint8, 0 for none.
        about: What the track's label `meta` says.
    """

    id: str
    groups: Tensor
    singles: Tensor
    condition: Tensor
    mask: Tensor
    weight: Tensor
    audio: Tensor
    reference: int
    person: str
    gesture: Tensor
    about: dict[str, Any]


@dataclass(frozen=True)
class Strip:
    """A composed panel before encoding: `film [F, 3, H, W]` in [-1, 1], `alpha [F, H, W]`, face boxes `[F, 4]`, maps of
    expression `[F, 10, h, w]`, expressions `[F, 8]`, the places of mouth and eyes as a detector might give them
    `[F, 2, h, w]`, the face's vertices `[F, V, 3]` (x, y in pixels, distance), and whether a mirror shows all that."""

    film: Array
    alpha: Array
    box: Array
    faces: Array
    units: Array
    seen: Array
    mesh: Array
    mirrored: bool = False

    def flow(self, reference: int) -> Array:
        """From each frame to frame `reference`, `[F, 2, H, W]` in pixels."""
        film, mesh = self.film, self.mesh
        return face_flow(film, film[reference], mesh, mesh[reference], self.alpha)


def compose_strip(
    track: Track, rng: np.random.Generator, height: int = 192, width: int = 160, mirrors: bool = True
) -> Strip:
    """Puts a track before a background, under one camera, colour and lens for all its frames; every other one in a
    mirror, where `mirrors` allows it."""
    frames, labels = track.frames, track.labels
    count, tile_height, tile_width = frames.shape[:3]
    scale = float(rng.uniform(0.85, 1.12)) * height / tile_height
    x = width / 2 - tile_width * scale / 2 + rng.uniform(-0.07, 0.07) * width
    y = height - tile_height * scale + (rng.uniform(0, 0.06) * height if scale * tile_height > height * 0.9 else 0)
    affine = np.array([[scale, 0, x], [0, scale, max(y, height - tile_height * scale)], [0, 0, 1]])
    mirrored = rng.random() < 0.5 and mirrors
    if mirrored:
        affine = np.array([[-1, 0, width - 1], [0, 1, 0], [0, 0, 1]]) @ affine
    scenery = cv2.resize(procedural_background(rng), (width * 2, width * 2))[:height, :width]
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    film = np.empty((count, height, width, 3), np.float32)
    alpha = np.empty((count, height, width), np.float32)
    for k in range(count):
        person = cv2.warpAffine(np.ascontiguousarray(frames[k]), affine[:2], (width, height), flags=method)
        alpha[k] = person[..., 3] / np.float32(255)
        film[k] = person[..., :3] + scenery * (1 - alpha[k, ..., None])
    film = degrade(recolour(film / 255, rng), rng)
    points = move_points(labels["points"], affine)
    mesh = track.mesh(range(count))
    mesh[..., :2] = move_points(mesh[..., :2], affine)
    return Strip(
        np.ascontiguousarray((film * 2 - 1).transpose(0, 3, 1, 2), np.float32),
        alpha,
        np.stack([move_box(box, affine) for box in labels["face_box"]]),
        face_maps(labels["face_units"], points, height // CELL, width // CELL),
        expressions(labels["face_units"]),
        places_of(detected(points, rng), height // CELL, width // CELL),
        mesh,
        mirrored,
    )


@torch.no_grad()
def encode_strip(codec: AutoencoderReference, strip: Strip, reference: int) -> dict[str, Tensor]:
    """Everything of a `Panel` that comes from the picture; latents normalised by the codec's statistics."""
    film = torch.from_numpy(strip.film)
    count = (len(film) - 1) // FRAMES
    still = film[reference]
    flow = torch.from_numpy(strip.flow(reference))

    def in_groups(frames: Tensor) -> Tensor:  # [F, c, H, W] -> [K + len(STARTS), 4, c, H, W]
        groups = frames[1 : 1 + count * FRAMES].unflatten(0, (count, FRAMES))
        singles = frames[[FRAMES * start for start in STARTS], None].expand(-1, FRAMES, -1, -1, -1)
        return torch.cat([groups, singles])

    added = torch.from_numpy(since_reference(strip.faces, strip.units[reference]))
    both, moves, faces = in_groups(film), in_groups(flow), in_groups(added)
    faces[count:] = 0  # of a frame that is given only the picture is known
    z = codec.encode_groups(both, still[None].expand(len(both), -1, -1, -1), moves, faces)
    z = compress_flow(z, codec.config.flow_knee)
    with autocast_bf16("cpu"):
        seen = torch.from_numpy(strip.seen[reference])[None]
        condition = codec.encode_reference(still[None], seen)[0].float()
    if codec.config.latents_mean is not None:
        z = (z - z.new_tensor(codec.config.latents_mean)[:, None, None]) / z.new_tensor(codec.config.latents_std)[
            :, None, None
        ]
    mask = F.avg_pool2d(torch.from_numpy(strip.alpha[reference])[None], CELL)[0] > 0.5
    return {
        "groups": z[:count].half(),
        "singles": z[count:].half(),
        "condition": condition.half(),
        "mask": mask.float(),
        "weight": cell_weights(strip, count),
    }


def cell_weights(strip: Strip, count: int, mouth: float = 30.0, eyes: float = 8.0, face: float = 4.0) -> Tensor:
    """Loss weight of every cell of every group, `[K, h, w]`: by the share of mouth, eyes and face in it, at least 1."""
    _, H, W = strip.alpha.shape
    weight = np.ones((count, H // CELL, W // CELL), np.float32)
    for k in range(count):
        group = slice(1 + FRAMES * k, 1 + FRAMES * (k + 1))
        boxes, places = strip.box[group], strip.faces[group, EXPRESSIONS:].mean(0)  # [4, 4], [2, h, w]
        (x0, y0), (x1, y1) = boxes[:, :2].min(0), boxes[:, 2:].max(0)
        inside = np.outer(_overlap(y0, y1, H // CELL), _overlap(x0, x1, W // CELL))
        shares = ((inside, face), (places[0], mouth), (places[1], eyes))
        weight[k] = np.maximum.reduce([1 + (value - 1) * share for share, value in shares])
    return torch.from_numpy(weight)


def _overlap(low: float, high: float, cells: int) -> Array:
    """The share of each cell's length that lies in [low, high]."""
    edges = np.arange(cells) * CELL
    return np.clip(np.minimum(edges + CELL, high) - np.maximum(edges, low), 0, CELL) / CELL


def mood_onset(about: Mapping[str, Any]) -> float:
    """Seconds after which a performer's mood begins to appear; below 0 for one that is there from the start.

    Args:
        about: The track's label `meta`.
    """
    return float(about.get("style", {}).get("mood_onset", -1.0))


def liveliness_of(about: Mapping[str, Any]) -> float:
    """How much a performer moves (`talkies.domain.liveliness`), by the track's label `meta`."""
    return float(about.get("style", {}).get("liveliness", 1.0))


def partner_direction(about: Mapping[str, Any]) -> float:
    """Where the one a performer talks to is, as head yaw in degrees: > 0 to the viewer's right, 0 for the camera."""
    return float(about.get("partner_direction_deg", 0.0))


def build_panel(
    track: Track,
    codec: AutoencoderReference,
    speech: Callable[[Track, int], Tensor],
    rng: np.random.Generator,
    context: int,
    person: str,
) -> Panel:
    """Composes and encodes one variant of a track.

    Args:
        track: The performer.
        codec: Frozen, with its statistics.
        speech: Features of the track's sound for its frames and `context` more on both sides.
        rng: Decides placement, colour, lens, background and reference frame.
        context: Frames of audio context.
        person: Name of the identity.
    """
    # a head that is shaken begins to its left, and a mood begins after the picture: else words could not tell them
    gestures = bool(track.gesture.any())
    strip = compose_strip(track, rng, mirrors=not gestures)
    reference = 0 if rng.random() < 0.6 or mood_onset(track.about) > 0 else int(rng.integers(len(strip.film)))
    return Panel(
        id=track.path.stem,
        audio=speech(track, context),
        reference=reference,
        person=person,
        gesture=torch.from_numpy(track.gesture),
        about={**track.about, "partner_direction_deg": partner_direction(track.about) * (-1 if strip.mirrored else 1)},
        **encode_strip(codec, strip, reference),
    )


def side_by_side(
    panels: Sequence[Panel], starts: Sequence[int], latent_frames: int, context: int, prompt_ids: Tensor
) -> CachedSample:
    """One clip of several panels, each from a latent frame of its own on.

    Args:
        panels: From left to right.
        starts: Of every panel one of `STARTS`: the clip's first frame is video frame `4 * start` of its track.
        latent_frames: T of the clip; the tracks must reach that far.
        context: Frames of audio context.
        prompt_ids: Token ids `[L]`, or `[P + 1, L]` for each panel's and then the background's.
    """
    frames = FRAMES * (latent_frames - 1) + 1 + 2 * context
    width = panels[0].mask.shape[1]
    parts = list(zip(panels, starts, strict=True))

    def film(panel: Panel, start: int) -> Tensor:
        single = panel.singles[STARTS.index(start)]
        return torch.cat([single[None], panel.groups[start : start + latent_frames - 1]])  # [T, z, h, w]

    masks = torch.zeros(len(panels) + 1, panels[0].mask.shape[0], width * len(panels))
    for n, panel in enumerate(panels):
        masks[n, :, n * width : (n + 1) * width] = panel.mask
    masks[-1] = 1 - masks[:-1].amax(0)
    weight = torch.cat([panel.weight[start : start + latent_frames - 1] for panel, start in parts], -1)
    lively = torch.tensor([[liveliness_of(panel.about) for panel in panels]])
    condition = torch.cat([panel.condition for panel in panels], -1)
    told = liveliness_map(lively, masks[None], (masks.shape[1], masks.shape[2]))[0]
    return CachedSample(
        id="+".join(panel.id for panel in panels),
        latents=torch.cat([film(panel, start) for panel, start in parts], -1).transpose(0, 1),
        person_masks=masks,
        audio=torch.stack([panel.audio[FRAMES * start : FRAMES * start + frames] for panel, start in parts]),
        condition=torch.cat([condition, told.half()]),
        weight=torch.cat([weight[:1], weight]),
        prompt_ids=prompt_ids,
    )


def load_codec(folder: Path) -> AutoencoderReference:
    """The frozen codec, ready to encode."""
    codec = AutoencoderReference.from_pretrained(folder, torch_dtype=torch.float32)
    return codec.to(memory_format=torch.channels_last).eval().requires_grad_(False)
