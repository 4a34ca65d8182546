"""Material for the evaluation's tests: a voice that follows lips, and two rendered people whose lips are known."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.faces import ArrayVideo
from talkies.evaluation.mouth import true_mouth
from talkies.evaluation.sample import Person, Sample

Array = NDArray[np.float32]


def buzz(opening: NDArray[np.floating]) -> Array:
    """A voiced sound (120 Hz, vowel-like) whose loudness follows `opening` `[F]` in 0..1: `[F * 640]` at 16 kHz."""
    from scipy.signal import lfilter

    count = len(opening) * 640
    pulses = np.zeros(count)
    pulses[:: 16_000 // 120] = 1.0
    for centre, width in ((700, 110), (1200, 130), (2600, 200)):  # formants of an open vowel
        radius, angle = np.exp(-np.pi * width / 16_000), 2 * np.pi * centre / 16_000
        pulses = lfilter([1 - radius], [1, -2 * radius * np.cos(angle), radius**2], pulses)
    loudness = np.interp(np.arange(count) / 640 - 0.5, np.arange(len(opening)), np.clip(opening, 0, 1))
    sound = pulses / np.abs(pulses).max() * loudness
    return (0.5 * sound).astype(np.float32)


@dataclass(frozen=True)
class Filmed:
    """A clip of two people; `moves` `[2, F]` in 0..1 is how far each opens the jaw.

    Attributes:
        frames: `[F, H, W, 3]`. labels: As in a shard. voices: Per person `[F * 640]`.
    """

    frames: NDArray[np.uint8]
    labels: dict[str, NDArray[np.generic]]
    voices: tuple[Array, Array]
    moves: NDArray[np.floating]


def film(count: int = 44, height: int = 128, width: int = 224) -> Filmed:
    """Two rendered people who open and close their mouths at different moments."""
    from talkies.stage.background import Background
    from talkies.stage.figure import Figure
    from talkies.stage.identity import Identity
    from talkies.stage.light import Light
    from talkies.stage.performance import FACE_UNITS, Performance
    from talkies.stage.renderer import Actor
    from talkies.stage.scene import Scene, arrange, shoot

    rng = np.random.default_rng(4)
    moves = np.stack([np.convolve(np.random.default_rng(s).random(count + 6), np.hanning(7), "valid") for s in (1, 2)])
    moves = (moves - moves.min(1, keepdims=True)) / np.ptp(moves, axis=1, keepdims=True)
    layout = arrange(2, "head and shoulders", height, width, rng)
    actors = []
    for k, seed in enumerate((3, 8)):
        units = np.zeros((count, 52), np.float32)
        units[:, FACE_UNITS.index("jawOpen")] = 0.6 * moves[k]
        still = np.zeros((count, 3), np.float32)
        performance = Performance(25.0, units, still, np.zeros((count, 2), np.float32))
        figure = Figure.build(Identity.sample(seed), extent="bust", texture=128)
        actors.append(Actor(figure, performance, layout.placements[k]))
    ground = Background.sample(rng, height, width)
    take = shoot(Scene(tuple(actors), layout.camera, Light.sample(rng), ground))
    labels: dict[str, NDArray[np.generic]] = {"masks": take.masks}
    for k, truth in enumerate(take.truths):
        labels |= {f"p{k}/{name}": value for name, value in truth.arrays().items()}
        labels |= {f"p{k}/phone_labels": np.array(["AA"]), f"p{k}/phone_times": np.array([[0, count / 25]], np.float32)}
    return Filmed(take.frames, labels, (buzz(moves[0]), buzz(moves[1])), moves)


def manifest(key: str, filmed: Filmed) -> dict[str, object]:
    """As the stage writes it, for both people."""
    count, height, width = filmed.frames.shape[:3]
    people = []
    for k in range(2):
        box = np.median(filmed.labels[f"p{k}/face_box"].astype(np.float64), axis=0)
        people.append({
            "id": k, "audio": f"p{k}.wav", "box": None, "face_box": [round(float(v), 1) for v in box], "text": "ah",
            "gestures": [{"name": "nod", "stroke_start": 0.2, "stroke_end": 0.8}] if k else [],
        })  # fmt: skip
    return {
        "format": "talkies-clips", "version": 1, "key": key, "set": "tiny", "split": "test", "frames": count,
        "height": height, "width": width, "source": "stage", "captions": ["two people talk"], "people": people,
        "framing": "head and shoulders",
    }  # fmt: skip


def sample_of(filmed: Filmed, frames: np.ndarray | None = None, order: tuple[int, int] = (0, 1)) -> Sample:
    """The film; `order` says whose voice and truth each person gets."""
    shown = filmed.frames if frames is None else frames
    height, width = filmed.frames.shape[1:3]
    people = []
    for place, k in enumerate(order):
        truth = true_mouth(*(filmed.labels[f"p{k}/{name}"] for name in ("lip_opening", "lip_width", "points")))
        box = np.median(filmed.labels[f"p{place}/face_box"], axis=0) / np.array([width, height, width, height])
        people.append(Person(f"person {place + 1}", filmed.voices[k], truth, tuple(map(float, box))))
    return Sample("film", ArrayVideo(shown), tuple(people))
