"""Scenes of one to four people: who stands where, seen how; and filming them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.stage.background import Background
from talkies.stage.camera import Camera
from talkies.stage.light import Light
from talkies.stage.renderer import Actor, Placement, Renderer, Truth, measure, stack_truth

Framing = Literal["close-up", "head and shoulders", "waist-up"]
MAX_PEOPLE = 4
#: Visible height in decimetres for one person, and how much of it lies above the head joint: ranges.
_FRAMINGS: dict[Framing, tuple[tuple[float, float], tuple[float, float]]] = {
    "close-up": ((2.7, 3.3), (1.75, 2.0)),
    "head and shoulders": ((3.8, 4.7), (2.0, 2.4)),
    "waist-up": ((5.8, 7.0), (2.1, 2.6)),
}
#: Distance between neighbours, decimetres: shoulders nearly touch, or leave room for arms.
_SPACING: dict[Framing, tuple[float, float]] = {
    "close-up": (3.5, 3.8),
    "head and shoulders": (3.7, 4.3),
    "waist-up": (4.6, 5.4),
}


@dataclass(frozen=True)
class Layout:
    """Places, camera and framing; people are numbered from left to right in the picture.

    Attributes:
        placements: One per person. camera: The camera. framing: For captions.
    """

    placements: tuple[Placement, ...]
    camera: Camera
    framing: Framing

    def direction(self, person: int, partner: int | None) -> float:
        """Head yaw in degrees, relative to the body, with which `person` looks at `partner` (None: the camera).

        People in front of a camera turn to each other only part of the way, so that both are seen.
        """
        if partner is None or partner == person:
            return -self.placements[person].yaw
        side = 1.0 if partner > person else -1.0
        return side * (24.0 + 7.0 * (abs(partner - person) - 1)) - self.placements[person].yaw


def arrange(people: int, framing: Framing, height: int, width: int, rng: np.random.Generator) -> Layout:
    """Places people side by side, turned a little towards the middle, all in the picture.

    Args:
        people: 1 to 4. framing: How close. height, width: Pixels of the picture.
        rng: All randomness.

    Raises:
        InputError: Nobody, or more than four.
    """
    if not 1 <= people <= MAX_PEOPLE:
        raise InputError(f"{people} people cannot share a stage.", f"Choose 1 to {MAX_PEOPLE}.")
    tall, above = (float(rng.uniform(*span)) for span in _FRAMINGS[framing])
    spacing = float(rng.uniform(*_SPACING[framing]))
    needed = ((people - 1) * spacing + 2.9) / (width / height)
    if people > 1 and needed > tall:  # step back until everyone is in the picture
        above += 0.25 * (needed - tall)
        tall = needed
    placements = []
    for k in range(people):
        offset = k - (people - 1) / 2
        x = offset * spacing + float(rng.uniform(-0.12, 0.12))
        inward = -np.sign(offset) * float(rng.uniform(6, 18)) if people > 1 else float(rng.normal(0, 9))
        z = float(rng.uniform(-0.35, 0.35)) + 0.3 * abs(offset)  # a shallow arc
        placements.append(Placement((x, float(rng.uniform(-0.22, 0.22)), z), float(inward)))
    target = (float(rng.uniform(-0.12, 0.12)), above - tall / 2, 0.0)
    camera = Camera.framing(
        target, tall, float(rng.uniform(9, 16)), yaw=float(rng.normal(0, 3)), pitch=float(rng.normal(2, 2.5))
    )
    return Layout(tuple(placements), camera, framing)


@dataclass(frozen=True)
class Scene:
    """Everything in front of the camera.

    Attributes:
        actors: One to four, left to right; performances of equal length.
        camera: The camera. light: The light. background: As large as the picture.
    """

    actors: tuple[Actor, ...]
    camera: Camera
    light: Light
    background: Background


@dataclass(frozen=True)
class Take:
    """A filmed scene.

    Attributes:
        frames: `[F, H, W, 3]` uint8 RGB.
        masks: `[F, H, W]` uint8, 0 background, k + 1 the k-th person.
        truths: What is known of each person.
    """

    frames: NDArray[np.uint8]
    masks: NDArray[np.uint8]
    truths: tuple[Truth, ...]


def shoot(scene: Scene, frames: int | None = None) -> Take:
    """Films a scene, or no more than its first `frames` frames.

    Raises:
        InputError: Performances of different lengths, or too many people.
    """
    lengths = {len(actor.performance) for actor in scene.actors}
    if len(lengths) != 1 or len(scene.actors) > MAX_PEOPLE:
        raise InputError(
            f"{len(scene.actors)} people with performances of {sorted(lengths)} frames.",
            f"Give 1 to {MAX_PEOPLE} people and the same number of frames to each.",
        )
    length = lengths.pop()
    count = length if frames is None else min(frames, length)
    backdrop = scene.background.picture.astype(np.float32)  # [H, W, 3]
    height, width = backdrop.shape[:2]
    renderer = Renderer(width, height)
    pictures = np.empty((count, height, width, 3), np.uint8)
    masks = np.empty((count, height, width), np.uint8)
    measured: list[list[dict[str, NDArray[np.float32]]]] = [[] for _ in scene.actors]
    for frame in range(count):
        posed = [
            (a.figure, a.figure.pose(a.performance, frame, a.placement.position, a.placement.yaw)) for a in scene.actors
        ]
        picture, masks[frame] = renderer.draw(posed, scene.camera, scene.light, premultiplied=True)
        hole = 1 - picture[..., 3:].astype(np.float32) / 255
        pictures[frame] = np.clip(picture[..., :3] + backdrop * hole + 0.5, 0, 255).astype(np.uint8)
        for k, (figure, pose) in enumerate(posed):
            measured[k].append(measure(figure, pose, scene.camera, (height, width)))
    return Take(pictures, masks, tuple(stack_truth(rows) for rows in measured))
