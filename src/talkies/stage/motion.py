"""Everything a face and head do besides the mouth shapes, and the whole of it put together as a `Performance`.

Time: frame `f` shows the world at `(f + 0.5) / fps` seconds, the middle of its exposure; sound starts at 0. Curves are
made on a grid of 200 Hz and sampled there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.blinks import blink_moments, lid
from talkies.domain.errors import InputError
from talkies.domain.face_units import FACE_UNITS, sides_of
from talkies.domain.gaze import fixations
from talkies.domain.moods import MOOD_UNITS, MOODS, ONSET, WHILE_SPEAKING, Mood
from talkies.stage.alignment import SILENCE, Phone
from talkies.stage.curves import GRID_RATE, Curve, bump, grid_length, smooth, smooth_noise
from talkies.stage.performance import Performance
from talkies.stage.prosody import Prosody, measure_prosody
from talkies.stage.speech import Speech
from talkies.stage.visemes import mouth_shapes

FPS = 25.0

Role = Literal["speaker", "listener", "idle"]
#: How often each mood is drawn.
_MOOD_SHARES = (0.40, 0.28, 0.12, 0.06, 0.07, 0.07)


@dataclass(frozen=True)
class Style:
    """How one person moves; drawn once per clip.

    Attributes:
        articulation: Clarity of lip movement, 0.5 to 1.5 (people: 0.8 to 1.3).
        mood: Standing expression.
        mood_onset: Seconds at which it begins to appear, over half a second; below 0 it is there from the start.
        liveliness: Factor on head, brow and gaze movement, 0 to 2.
        asymmetry: How much stronger the right side of the mouth moves, -0.2 to 0.2.
        blinks_per_minute: Mean rate.
    """

    articulation: float = 1.0
    mood: Mood = "neutral"
    mood_onset: float = -1.0
    liveliness: float = 1.0
    asymmetry: float = 0.0
    blinks_per_minute: float = 17.0

    @classmethod
    def sample(cls, rng: np.random.Generator) -> Style:
        """A random person's style."""
        return cls(
            articulation=float(rng.uniform(0.8, 1.3)),
            mood=MOODS[int(rng.choice(len(MOODS), p=_MOOD_SHARES))],
            liveliness=float(rng.uniform(0.5, 1.5)),
            asymmetry=float(np.clip(rng.normal(0, 0.07), -0.2, 0.2)),
            blinks_per_minute=float(rng.uniform(10, 28)),
        )


def perform(
    speech: Speech | None,
    frames: int,
    rng: np.random.Generator,
    role: Role = "speaker",
    partner_direction_deg: float | Sequence[float] = 0.0,
    style: Style | None = None,
) -> Performance:
    """One person's motion over `frames` frames at 25 fps.

    Args:
        speech: What is said, starting at time 0 of the clip; phones may reach beyond both ends. None: nothing.
        frames: Video frames, >= 1.
        rng: All randomness.
        role: `speaker` moves with the speech and listens in long pauses, `listener` follows the partner with nods and
            smiles, `idle` does neither. Whoever is not speaking keeps the lips shut.
        partner_direction_deg: Where the partner is, as head yaw (> 0: to the viewer's right); 0 is the camera. One
            number, or one per frame when attention moves.
        style: How the person moves; None draws one.

    Returns:
        Face units, head, gaze and breathing. Nobody's lips part while nothing is said.

    Raises:
        InputError: No frames, or a direction beyond 100 degrees.
    """
    if frames < 1:
        raise InputError(f"{frames} frames is no clip", hint="Ask for at least one frame.")
    count = grid_length(frames / FPS)
    partner = _direction_curve(partner_direction_deg, frames, count)
    style = style or Style.sample(rng)
    duration = frames / FPS
    talking = speech is not None and role == "speaker"
    prosody = measure_prosody(speech.waveform, count) if speech is not None and talking else Prosody.silent(count)
    units = (
        mouth_shapes(speech.phones, duration, prosody.loudness, style.articulation)
        if speech is not None and talking
        else np.zeros((count, len(FACE_UNITS)))
    )
    voiced = speaking_curve(speech.phones, count) if speech is not None and talking else np.zeros(count)
    head = _head(prosody, voiced, rng, style, partner, role)  # [n, 3]
    gaze, jumps = _gaze(head, rng, style, partner, role)  # [n, 2]
    _express(units, prosody, voiced, rng, style, role)
    _blink(units, gaze, jumps, rng, style)
    if role == "listener":
        _attend(units, head, rng, style, np.ones(count))
    elif talking and (quiet := _long_pauses(voiced)).any():
        _attend(units, head, rng, style, quiet)
    bones = _breathe(count, rng)
    picks = np.rint((np.arange(frames) + 0.5) / FPS * GRID_RATE).astype(int)

    def sampled(curve: Curve) -> NDArray[np.float32]:
        return np.ascontiguousarray(curve[picks], np.float32)

    return Performance(
        fps=FPS,
        face_units=np.clip(sampled(units), 0, 1),
        head=sampled(head),
        gaze=sampled(gaze),
        bones={name: sampled(curve) for name, curve in bones.items()},
    )


def _direction_curve(direction: float | Sequence[float], frames: int, count: int) -> Curve:
    """The partner's direction on the grid, `[count]`; InputError when it cannot be."""
    values = np.asarray(direction, np.float64)
    if values.ndim and values.shape != (frames,):
        raise InputError(f"{values.shape} directions for {frames} frames", hint="Give one number, or one per frame.")
    if np.abs(values).max() > 100:
        raise InputError(f"a partner at {values} degrees cannot be seen", hint="Choose -100 to 100.")
    times = np.arange(count) / GRID_RATE * FPS - 0.5
    return np.interp(times, np.arange(frames), np.broadcast_to(values, frames))


def _long_pauses(voiced: Curve) -> Curve:
    """1 well inside silences of more than about 0.8 s, with soft edges: `[n]`."""
    return np.clip(1 - 6 * smooth(voiced, 0.2), 0, 1)


def speaking_curve(phones: tuple[Phone, ...], count: int) -> Curve:
    """1 while phones are spoken, 0 in pauses longer than 0.25 s, with soft edges of 0.1 s: `[count]`."""
    times = np.arange(count) / GRID_RATE
    active = np.zeros(count)
    for phone in phones:
        if phone.label != SILENCE or phone.end - phone.start < 0.25:
            active[(times >= phone.start) & (times < phone.end)] = 1
    return smooth(active, 0.04)


def _head(prosody: Prosody, voiced: Curve, rng: np.random.Generator, style: Style, partner: Curve, role: Role) -> Curve:
    """Yaw, pitch and roll in degrees, `[n, 3]`: towards the partner, swaying, nodding with the voice's accents."""
    count = len(voiced)
    live = style.liveliness * (1.0 if role == "speaker" else 0.45)
    share = rng.uniform(0.45, 0.8) if role != "idle" else rng.uniform(0, 0.5)
    yaw = smooth(partner, 0.13) * share + rng.normal(0, 2.5)  # a turn of the head takes half a second
    pitch = np.full(count, rng.normal(0, 2.0))
    roll = np.full(count, rng.normal(0, 1.6))
    sway = 0.35 + 0.65 * voiced
    yaw += live * sway * (2.6 * smooth_noise(rng, count, 0.45) + 0.7 * smooth_noise(rng, count, 0.15))
    pitch += live * sway * (1.3 * smooth_noise(rng, count, 0.4) + 0.5 * smooth_noise(rng, count, 0.13))
    roll += live * (1.3 * smooth_noise(rng, count, 0.5))
    # Accents go with a dip of the head, rising pitch with a lift (Munhall et al. 2004; Busso et al. 2007).
    pitch += live * (2.2 * smooth(prosody.melody, 0.10) - 3.0 * smooth(prosody.accents, 0.07))
    yaw += live * rng.choice([-1.0, 1.0]) * 2.0 * smooth(prosody.accents, 0.12)
    return np.stack([yaw, pitch, roll], axis=1)


def _gaze(head: Curve, rng: np.random.Generator, style: Style, partner: Curve, role: Role) -> tuple[Curve, list[float]]:
    """Eyes relative to the head in degrees `[n, 2]`, and the times of large jumps in seconds.

    The eyes hold their target while the head moves.
    """
    count = len(head)
    away = {"speaker": 0.28, "listener": 0.08, "idle": 0.45}[role] * min(style.liveliness, 1.3)
    target = np.zeros((count, 2))
    jumps: list[float] = []
    target[:, 0] = partner
    now, last = 0, np.zeros(2)
    looked = fixations(away, rng)
    while now < count:
        fixation = next(looked)
        if now and np.abs(fixation.offset - last).sum() > 8:
            jumps.append(now / GRID_RATE)
        stop = min(count, now + int(fixation.seconds * GRID_RATE))
        target[now:stop] += fixation.offset
        now, last = stop, fixation.offset
    jumps += [float(at) / GRID_RATE for at in np.flatnonzero(np.abs(np.diff(partner, append=partner[-1])) > 4)[::8]]
    eyes = smooth(target, 0.012) - head[:, :2]
    return np.clip(eyes, [-28, -18], [28, 16]), jumps


def _add(units: Curve, name: str, value: Curve | float) -> None:
    for unit in sides_of(name):
        units[:, FACE_UNITS.index(unit)] += value


def _express(units: Curve, prosody: Prosody, voiced: Curve, rng: np.random.Generator, style: Style, role: Role) -> None:
    """Mood, brows that follow the voice, one-sidedness and a trace of involuntary movement, added in place."""
    count = len(units)
    strength = np.clip(0.75 + 0.25 * smooth_noise(rng, count, 0.6), 0.3, 1.3)
    if style.mood_onset >= 0:
        strength *= smooth(np.clip((np.arange(count) / GRID_RATE - style.mood_onset) / ONSET, 0, 1), 0.05)
    for name, value in MOOD_UNITS[style.mood].items():
        level = value * strength
        _add(units, name, level * (1 - (1 - WHILE_SPEAKING) * voiced) if name.startswith("mouth") else level)
    live = style.liveliness
    accents = smooth(prosody.accents, 0.06)
    lift = live * (0.30 * accents + 0.10 * np.clip(smooth(prosody.melody, 0.08), 0, 1.5) * voiced)
    _add(units, "browInnerUp", lift + 0.05 * np.clip(smooth_noise(rng, count, 0.5), 0, 2))
    _add(units, "browOuterUp*", 0.6 * lift)
    _add(units, "eyeSquint*", 0.04 * np.clip(smooth_noise(rng, count, 0.4), 0, 2))
    mouth = [
        (FACE_UNITS.index(f"{stem}Left"), FACE_UNITS.index(f"{stem}Right"))
        for stem in ("mouthStretch", "mouthSmile", "mouthLowerDown", "mouthUpperUp")
    ]
    for left, right in mouth:
        units[:, left] *= 1 - style.asymmetry
        units[:, right] *= 1 + style.asymmetry
    drift = 0.03 * smooth_noise(rng, count, 0.4)
    _add(units, "mouthLeft", np.clip(drift, 0, 1) * voiced)
    _add(units, "mouthRight", np.clip(-drift, 0, 1) * voiced)
    if role != "speaker" or not voiced.any():
        _add(units, "mouthPress*", 0.05)


def _blink(units: Curve, gaze: Curve, jumps: list[float], rng: np.random.Generator, style: Style) -> None:
    """Blinks at the person's rate and with a third of the large gaze jumps; lids follow eyes that look down."""
    times = np.arange(len(units)) / GRID_RATE
    lids = np.zeros(len(units))
    moments = [jump - 0.03 for jump in jumps if rng.random() < 0.35]
    for moment in moments + blink_moments(times[-1], style.blinks_per_minute, rng):
        lids = np.maximum(lids, lid(times, moment) * rng.uniform(0.9, 1.0))
    squint = rng.uniform(0, 0.04)
    _add(units, "eyeBlink*", np.clip(lids + squint, 0, 1))
    closed = FACE_UNITS.index("eyeBlinkLeft")
    for stem in ("eyeWideLeft", "eyeWideRight"):
        units[:, FACE_UNITS.index(stem)] *= 1 - units[:, closed]


def _attend(units: Curve, head: Curve, rng: np.random.Generator, style: Style, quiet: Curve) -> None:
    """A listener's answers without words, where `quiet` `[n]` is 1: nods, a smile, raised brows; added in place."""
    times = np.arange(len(units)) / GRID_RATE
    now = rng.uniform(0.2, 1.6)
    while now < times[-1] - 0.3:
        kind = rng.choice(3, p=(0.55, 0.25, 0.2))
        if kind == 0:
            beats, period = int(rng.integers(1, 4)), rng.uniform(0.34, 0.5)
            envelope = quiet * bump(times, now, 0.12, max(beats * period - 0.24, 0.02), 0.2)
            depth = rng.uniform(2.5, 6.0) * min(style.liveliness, 1.3)
            head[:, 1] -= depth * envelope * np.clip(np.sin(2 * np.pi * (times - now) / period), -0.35, 1)
        elif kind == 1:
            smile = quiet * bump(times, now, 0.35, rng.uniform(0.5, 1.4), 0.5) * rng.uniform(0.15, 0.32)
            _add(units, "mouthSmile*", smile)
            _add(units, "cheekSquint*", 0.6 * smile)
        else:
            raised = quiet * bump(times, now, 0.16, rng.uniform(0.2, 0.6), 0.3) * rng.uniform(0.2, 0.45)
            _add(units, "browInnerUp", raised)
            _add(units, "browOuterUp*", 0.8 * raised)
        now += rng.uniform(1.0, 2.6)


def _breathe(count: int, rng: np.random.Generator) -> dict[str, Curve]:
    """Chest and shoulders at 12 to 18 breaths a minute: rig joints, `[n, 3]` Euler degrees."""
    phase = 2 * np.pi * (np.arange(count) / GRID_RATE * rng.uniform(0.2, 0.3) + rng.random())
    breath = 0.5 - 0.5 * np.cos(phase)
    zero = np.zeros(count)
    lift = 0.9 * breath
    return {
        "spine02": np.stack([-0.5 * breath, zero, zero], axis=1),
        "clavicle.L": np.stack([zero, zero, lift], axis=1),
        "clavicle.R": np.stack([zero, zero, -lift], axis=1),
    }
