"""What a clip is measured by, and which ones are good enough."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.data.settings import QualityLimits
from talkies.data.speakers import SAMPLES_PER_FRAME, Flags, Voice
from talkies.data.tracking import FaceTrack
from talkies.data.verdict import LeftOutError
from talkies.media.audio import SPEECH_RATE
from talkies.media.loudness import LoudnessMeter

#: Faces are looked at in every fifth frame, shrunk to this many pixels in height where they are taller.
STEP = 5
_FACE = 64
#: Samples from here on are at full scale.
_FULL_SCALE = 0.999
#: Frames so near to speech may hold some; pauses shorter than this in all, in frames, say nothing about noise.
_BORDER, _MIN_PAUSES = 2, 8


@dataclass(frozen=True)
class PictureQuality:
    """Of the face that is worst in each respect; see `settings.QualityLimits`."""

    scale: float
    face_height: float
    face_score: float
    turn: float
    sharpness: float
    darkest: float
    brightest: float
    movement: float

    def judge(self, limits: QualityLimits) -> None:
        """Raises LeftOutError for the first limit that is not kept."""
        _least("too small", self.scale, limits.scale, "pixels of the video for one of the clip")
        _least("small face", self.face_height, limits.face_height, "of the height")
        _least("unsure face", self.face_score, limits.face_score, "sure")
        _most("turned away", self.turn, limits.turn, "face heights")
        _least("blurred", self.sharpness, limits.sharpness, "sharpness")
        _least("too dark", self.darkest, limits.darkest, "of 255")
        _most("too bright", self.brightest, limits.brightest, "of 255")
        _least("still picture", self.movement, limits.movement, "grey levels in 0.2 s")


@dataclass(frozen=True)
class SoundQuality:
    """See `settings.QualityLimits`; speech_to_noise is None without pauses to judge it by."""

    loudness: float
    clipped: float
    speech: float
    speech_to_noise: float | None

    def judge(self, limits: QualityLimits) -> None:
        """Raises LeftOutError for the first limit that is not kept."""
        _least("too quiet", self.loudness, limits.loudness, "LUFS")
        _most("clipped sound", self.clipped, limits.clipped, "of the samples")
        _least("no speech", self.speech, limits.speech, "of the frames")
        if self.speech_to_noise is not None:
            _least("noisy sound", self.speech_to_noise, limits.speech_to_noise, "dB speech to noise")


def _least(reason: str, value: float, limit: float, unit: str) -> None:
    if not value >= limit:
        raise LeftOutError(reason, f"{value:.3g} {unit}, at least {limit:g}")  # type: ignore[arg-type]


def _most(reason: str, value: float, limit: float, unit: str) -> None:
    if not value <= limit:
        raise LeftOutError(reason, f"{value:.3g} {unit}, at most {limit:g}")  # type: ignore[arg-type]


def measure_picture(frames: NDArray[np.uint8], tracks: Sequence[FaceTrack], scale: float) -> PictureQuality:
    """Measures the faces of a clip.

    Args:
        frames: `[F, H, W, 3]` of the clip. tracks: In its pixels. scale: Pixels of the video for one of the clip.
    """
    faces = [_measure_face(frames, track) for track in tracks]
    heights = [np.median(track.boxes[:, 3] - track.boxes[:, 1]) for track in tracks]
    turns = [np.median(np.abs(track.turns)) / height for track, height in zip(tracks, heights, strict=True)]
    return PictureQuality(
        scale=scale,
        face_height=float(min(heights)) / frames.shape[1],
        face_score=min(track.score for track in tracks),
        turn=float(max(turns)),
        sharpness=min(face[0] for face in faces),
        darkest=min(face[1] for face in faces),
        brightest=max(face[1] for face in faces),
        movement=min(face[2] for face in faces),
    )


def _measure_face(frames: NDArray[np.uint8], track: FaceTrack) -> tuple[float, float, float]:
    """Sharpness, grey level and movement of one face, medians (of the movement: the mean) over time."""
    sharp, grey, moved = [], [], []
    before: NDArray[np.float32] | None = None
    for time in range(0, len(frames), STEP):
        face = face_picture(frames[time], track.boxes[time])
        sharp.append(sharpness(face))
        grey.append(float(np.median(face)))
        small = np.asarray(Image.fromarray(face).resize((32, 32), Image.Resampling.BOX), np.float32)
        if before is not None:
            moved.append(float(np.abs(small - before).mean()))
        before = small
    return float(np.median(sharp)), float(np.median(grey)), float(np.mean(moved)) if moved else math.inf


def face_picture(frame: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Grey `[h, w]` of a face, at most 64 pixels high."""
    left, top = np.maximum(np.floor(box[:2]), 0).astype(int)
    right, bottom = np.ceil(box[2:]).astype(int)
    face = Image.fromarray(np.ascontiguousarray(frame[top : max(bottom, top + 3), left : max(right, left + 3)]))
    face = face.convert("L")
    if face.height > _FACE:
        face = face.resize((max(3, round(face.width * _FACE / face.height)), _FACE), Image.Resampling.LANCZOS)
    return np.asarray(face)


def sharpness(grey: NDArray[np.uint8]) -> float:
    """Standard deviation of the Laplacian of `[h, w]`: how strong the finest detail is, in grey levels."""
    g = grey.astype(np.float32)
    laplacian = 4 * g[1:-1, 1:-1] - g[:-2, 1:-1] - g[2:, 1:-1] - g[1:-1, :-2] - g[1:-1, 2:]
    return float(laplacian.std())


def measure_sound(voices: Sequence[Voice], speaking: Flags) -> SoundQuality:
    """Measures everybody's sound together.

    Args:
        voices: Per person `[F * 640]`. speaking: `[P, F]`.
    """
    sound = np.sum(voices, axis=0)
    meter = LoudnessMeter(SPEECH_RATE)
    meter.add(sound)
    anybody: Flags = np.asarray(speaking.any(axis=0))
    power = np.square(sound[: len(anybody) * SAMPLES_PER_FRAME].reshape(-1, SAMPLES_PER_FRAME)).mean(1)
    pauses = np.convolve(anybody, np.ones(2 * _BORDER + 1), "same") < 0.5
    ratio = None
    if anybody.any() and pauses.sum() >= _MIN_PAUSES:
        ratio = float(10 * np.log10(max(power[anybody].mean(), 1e-12) / max(power[pauses].mean(), 1e-12)))
    return SoundQuality(
        loudness=max(meter.integrated(), -120.0),
        clipped=float(max((np.abs(voice) >= _FULL_SCALE).mean() for voice in voices)),
        speech=float(anybody.mean()),
        speech_to_noise=ratio,
    )


def numbers(picture: PictureQuality, sound: SoundQuality) -> dict[str, float | None]:
    """All measurements by name, for manifests and reports."""
    values = asdict(picture) | asdict(sound)
    return {name: None if value is None else round(float(value), 4) for name, value in values.items()}
