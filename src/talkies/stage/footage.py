"""Single performers filmed on a transparent ground: what codecs and the small model are composed from.

Each track is two files: `person-SEED-take-KK.npy`, uint8 `[F, H, W, 4]` RGBA with colours multiplied by coverage, and
a `.npz` of the same name with everything known about it (`LABELS`). A track exists when its `.npz` does; it is written
last, so an interrupted run goes on where it stopped. Every track is a function of its seeds and the settings.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from talkies.domain.errors import InputError
from talkies.media.staging import staged
from talkies.runtime.workers import worker_processes
from talkies.stage.assets import AssetPack
from talkies.stage.camera import Camera
from talkies.stage.clips import person_words
from talkies.stage.figure import Figure
from talkies.stage.gestures import (
    Gesture,
    GestureName,
    apply_gestures,
    gesture_labels,
    plan_gesture,
    shortest_time,
)
from talkies.stage.identity import Identity
from talkies.stage.light import Light
from talkies.stage.motion import FPS, Role, Style
from talkies.stage.renderer import Placement, Truth, render
from talkies.stage.stand_ins import stand_in
from talkies.stage.tracks import Track, listen, speak
from talkies.stage.voices import Register

#: What a track's `.npz` holds. Shapes: F frames; pixels x right, y down.
LABELS: dict[str, str] = {
    "face_units": "[F, 52] float32, columns FACE_UNITS",
    "head": "[F, 3] float32, yaw pitch roll in degrees relative to the body",
    "gaze": "[F, 2] float32, yaw pitch in degrees relative to the head",
    "lip_opening": "[F] float32, pixels",
    "lip_width": "[F] float32, pixels",
    "eye_opening": "[F, 2] float32, pixels, left and right eye",
    "mouth_box": "[F, 4] float32, x0 y0 x1 y1",
    "face_box": "[F, 4] float32, x0 y0 x1 y1",
    "head_pose": "[F, 3] float32, yaw pitch roll in degrees towards the camera",
    "points": "[F, 8, 2] float32, eyes, nose, mouth corners, upper and lower lip, chin",
    "face_mesh": "[F, V, 3] float32, x y distance of the face's vertices (talkies.stage.landmarks)",
    "waveform": "[F * 640] int16, 16 kHz mono",
    "phone_labels": "[P] str, ARPAbet and SIL",
    "phone_times": "[P, 2] float32, seconds from the first frame",
    "gesture": "[F] uint8, 1 + index in GESTURES during its stroke, else 0",
    "meta": "JSON text: seeds, role, voice, text, words for captions, style, identity, camera, light, placement",
}
VERSION = 3
Framing = Literal["shoulders", "face"]
#: How often each gesture is made, of those that need no arms: the model's motion carries heads. Faces filmed closely
#: stay in the picture.
_GESTURES: dict[Framing, dict[GestureName, float]] = {
    "shoulders": {"nod": 0.16, "shake": 0.16, "turn": 0.12, "lean": 0.06},
    "face": {"nod": 0.2, "shake": 0.2},
}
_SILENT_EVERY = 4
_SEEDS_PER_PERSON = 256


@dataclass(frozen=True)
class FootageSettings:
    """What decides the tracks of a folder, apart from their seeds.

    Attributes:
        frames: Per track, at 25 fps. height, width: Pixels. texture: Texels of the face's picture.
        assets: Folder of a MakeHuman asset pack, or "" for home-made hair and clothes.
        framing: `shoulders`, as people appear when two share a wide picture, or `face`.
        version: Raised whenever the same seeds give other tracks.
    """

    frames: int = 57
    height: int = 192
    width: int = 192
    texture: int = 512
    assets: str = ""
    framing: Framing = "shoulders"
    version: int = VERSION

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.height, self.width) < 32 or max(self.height, self.width) > 2048:
            raise InputError(
                f"{self.frames} frames of {self.width}x{self.height} cannot be filmed.",
                "Give at least 1 frame and sides of 32 to 2048 pixels.",
            )


def film(
    folder: Path, people: int, first: int, takes: int, settings: FootageSettings, workers: int = 1
) -> Iterator[tuple[int, int]]:
    """Films `takes` tracks of each of `people` people into `folder`; what is there already is kept.

    Args:
        folder: Made if missing.
        people: How many. first: Seed of the first; the others follow, or their stand-ins (`stand_ins`).
        takes: Tracks per person. settings: See `FootageSettings`.
        workers: Processes, one thread each.

    Yields:
        (people done, tracks newly filmed) after every person.

    Raises:
        InputError: The folder holds tracks of other settings.
    """
    _check_folder(folder, settings)
    done = filmed = 0
    with worker_processes(workers) as submit:
        seeds = map(stand_in, range(first, first + people))
        jobs = [submit(film_person, folder, seed, takes, settings) for seed in seeds]
        for job in as_completed(jobs):
            filmed += job.result()
            done += 1
            yield done, filmed


def film_person(folder: Path, seed: int, takes: int, settings: FootageSettings) -> int:
    """Films one person's missing takes; returns how many."""
    missing = [take for take in range(takes) if not _path(folder, seed, take).with_suffix(".npz").exists()]
    if not missing:
        return 0
    identity = Identity.sample(seed)
    pack = Path(settings.assets) if settings.assets else None
    figure = Figure.build(identity, pack, texture=settings.texture)
    for take in missing:
        _film_take(folder, figure, take, settings, AssetPack.open(pack) if pack else None)
    return len(missing)


def _film_take(folder: Path, figure: Figure, take: int, settings: FootageSettings, pack: AssetPack | None) -> None:
    seed = figure.identity.seed
    rng = np.random.default_rng([0xF117, seed, take])
    side = 1.0 if rng.random() < 0.5 else -1.0
    placement = Placement((float(rng.uniform(-0.18, 0.18)), 0.0, 0.0), float(side * rng.uniform(-4, 16)))
    partner = float(side * rng.triangular(0, 8, 34))
    style = _draw_style(rng, settings.frames)
    track = perform_take(figure.identity, take, settings.frames, partner, style)
    gestures = _draw_gestures(rng, settings, partner)
    track = replace(track, performance=apply_gestures(track.performance, gestures))
    camera = _CAMERAS[settings.framing](rng)
    light = Light.sample(rng)
    size = (settings.height, settings.width)
    frames, truth, mesh = render(figure, track.performance, camera, light, size, placement, premultiplied=True)
    meta = {
        "person": seed, "take": take, "split": figure.identity.split, "role": track.role, "voice_id": track.voice_id,
        "text": track.text, "words": asdict(person_words(figure.identity, pack, style, track.role, ())),
        "style": asdict(style), "identity": asdict(figure.identity), "camera": asdict(camera), "light": asdict(light),
        "placement": asdict(placement), "partner_direction_deg": partner,
    }  # fmt: skip
    shown = gesture_labels(gestures, settings.frames, FPS)
    _write(_path(folder, seed, take), frames, track, truth, {"face_mesh": mesh, "gesture": shown}, json.dumps(meta))


def _draw_style(rng: np.random.Generator, frames: int) -> Style:
    """How a person moves; half of all moods appear during the take, so that their beginning can be seen."""
    style = Style.sample(rng)
    onset = float(rng.uniform(0.0, 0.6 * frames / FPS)) if rng.random() < 0.5 else -1.0
    return replace(style, mood_onset=onset)


def _draw_gestures(rng: np.random.Generator, settings: FootageSettings, partner: float) -> tuple[Gesture, ...]:
    """One gesture or none; none where the take is too short for it."""
    names, shares = list(_GESTURES[settings.framing]), list(_GESTURES[settings.framing].values())
    choice = int(rng.choice(len(names) + 1, p=[*shares, 1 - sum(shares)]))
    duration = settings.frames / FPS
    if choice == len(names) or shortest_time(names[choice]) > duration:
        return ()
    return (plan_gesture(rng, names[choice], 0.0, duration, partner),)


def perform_take(identity: Identity, take: int, frames: int, partner: float, style: Style | None = None) -> Track:
    """What a person says and does in a take; every fourth take is silent, half of these attentive."""
    number = identity.seed * _SEEDS_PER_PERSON + take
    if take % _SILENT_EVERY == _SILENT_EVERY - 1:
        role: Role = "listener" if take % (2 * _SILENT_EVERY) == _SILENT_EVERY - 1 else "idle"
        return listen(number, frames, role, partner, style)
    spoken = take - take // _SILENT_EVERY  # windows of one utterance follow each other without gaps
    register: Register = "low" if identity.sex == "male" else "high"
    number = identity.seed * _SEEDS_PER_PERSON + spoken
    return speak(number, identity.split, frames, register, partner, style)


def _tile_camera(rng: np.random.Generator) -> Camera:
    """Head and shoulders as they appear when two people share a wide picture."""
    height = float(rng.uniform(3.7, 4.7))
    crown = float(rng.uniform(1.95, 2.4))  # what is visible above the head joint
    target = (float(rng.uniform(-0.1, 0.1)), crown - height / 2, 0.0)
    return Camera.framing(
        target, height, float(rng.uniform(8, 16)), yaw=float(rng.normal(0, 2.5)), pitch=float(rng.normal(2.0, 3.0))
    )


def _face_camera(rng: np.random.Generator) -> Camera:
    """A face with hair and neck: about twice as large as `_tile_camera` shows it."""
    target = (float(rng.uniform(-0.12, 0.12)), float(rng.uniform(0.1, 0.4)), 0.0)
    return Camera.framing(
        target, float(rng.uniform(2.6, 3.3)), float(rng.uniform(6, 12)),
        yaw=float(rng.normal(0, 2.5)), pitch=float(rng.normal(2.0, 3.0)),
    )  # fmt: skip


_CAMERAS: dict[Framing, Callable[[np.random.Generator], Camera]] = {"shoulders": _tile_camera, "face": _face_camera}


def _path(folder: Path, seed: int, take: int) -> Path:
    return folder / f"person-{seed:07d}-take-{take:02d}.npy"


def _write(
    path: Path, frames: np.ndarray, track: Track, truth: Truth, further: dict[str, np.ndarray], meta: str
) -> None:
    performance = track.performance
    labels: dict[str, np.ndarray] = {
        "face_units": performance.face_units,
        "head": performance.head,
        "gaze": performance.gaze,
        **truth.arrays(),
        **further,
        "waveform": np.rint(np.clip(track.waveform, -1, 1) * 32767).astype(np.int16),
        "phone_labels": np.array([phone.label for phone in track.phones], dtype="<U4"),
        "phone_times": np.array([(phone.start, phone.end) for phone in track.phones], np.float32).reshape(-1, 2),
        "meta": np.array(meta),
    }
    with staged(path) as scratch:
        np.save(scratch, frames)
    with staged(path.with_suffix(".npz")) as scratch:
        np.savez(scratch, **labels)  # type: ignore[arg-type]


def _check_folder(folder: Path, settings: FootageSettings) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "footage.json"
    wanted = {**asdict(settings), "labels": LABELS}
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name in asdict(settings) if found.get(name) != wanted[name]]
        if different:
            raise InputError(
                f"{folder} holds tracks with another {', '.join(different)}.",
                "Choose another folder or the same settings.",
            )
        return
    with staged(path) as scratch:
        scratch.write_text(json.dumps(wanted, indent=1), encoding="utf-8")
