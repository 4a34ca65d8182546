"""Clips of the stage's sets: everything decided from a set's name and a number, then performed and filmed.

A clip is a function of its set and its number alone. Sets draw people, voices and sentences from their split; the
splits share none of them: people by their seeds (`FIRST_TEST_SEED`), sentences by a hash, voices by the catalogue. Test
people who look like somebody of training have `stand_ins`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.stage.assets import AssetPack
from talkies.stage.background import Background
from talkies.stage.captions import PersonWords, SceneWords, describe, hair_words
from talkies.stage.dialogue import Pattern, Turn, converse
from talkies.stage.figure import Figure
from talkies.stage.gestures import (
    ARM_GESTURES,
    GESTURES,
    Gesture,
    GestureName,
    apply_gestures,
    plan_gesture,
    shortest_time,
)
from talkies.stage.identity import FIRST_TEST_SEED, Identity
from talkies.stage.light import Light
from talkies.stage.motion import FPS, Role, Style
from talkies.stage.renderer import Actor
from talkies.stage.scene import Framing, Layout, Scene, Take, arrange, shoot
from talkies.stage.stand_ins import stand_in
from talkies.stage.texts import Split
from talkies.stage.tracks import Track, listen, speak
from talkies.stage.voices import Register
from talkies.stage.wardrobe import outfit_words

PARAPHRASES = 4
_SEEDS_PER_SET = 10_000_000


@dataclass(frozen=True)
class SetSpec:
    """One set of clips.

    Attributes:
        name: Its name. split: Where people, voices and sentences come from.
        people: Per clip. height, width: Pixels.
        framings: Each as likely as the others.
        frames: Lengths, each as likely as the others; 4 n + 1 at 25 fps.
        clips: How many by default.
        speech: Whether people talk.
        gestures: Chance that a person makes a gesture.
        cast: How many people the clips of one shard share; 0: everyone appears once.
    """

    name: str
    split: Split
    people: int
    height: int
    width: int
    framings: tuple[Framing, ...]
    frames: tuple[int, ...]
    clips: int
    speech: bool = True
    gestures: float = 0.0
    cast: int = 0


_CLOSE: tuple[Framing, ...] = ("head and shoulders", "head and shoulders", "close-up")
_MIXED: tuple[Framing, ...] = ("head and shoulders", "head and shoulders", "head and shoulders", "waist-up")
_LENGTHS = (33, 57, 81, 105, 129)
SETS: dict[str, SetSpec] = {
    spec.name: spec
    for spec in (
        SetSpec("train-head", "train", 1, 192, 160, _CLOSE, _LENGTHS, 4000, cast=8),
        SetSpec("train-body", "train", 1, 192, 160, ("waist-up",), _LENGTHS[1:], 2000, gestures=0.7, cast=8),
        SetSpec("train-dual", "train", 2, 192, 320, _MIXED, _LENGTHS, 4000, gestures=0.25, cast=10),
        SetSpec("train-motion", "train", 2, 192, 320, _MIXED[2:], _LENGTHS[2:], 1000, False, 1.0, cast=10),
        SetSpec("test-head", "test", 1, 192, 160, _CLOSE, (81,), 100),
        SetSpec("test-body", "test", 1, 192, 160, ("waist-up",), (81,), 100, gestures=0.7),
        SetSpec("test-dual", "test", 2, 192, 320, _MIXED, (129,), 40, gestures=0.25),
        SetSpec("test-three", "test", 3, 192, 448, _MIXED[:1], (129,), 20),
        SetSpec("test-four", "test", 4, 192, 576, _MIXED[:1], (129,), 20),
        SetSpec("train-arms", "train", 2, 192, 320, ("waist-up",), (81, 105), 160, False, 1.0, cast=10),
        SetSpec("test-arms", "test", 2, 192, 320, ("waist-up",), (81, 105), 40, False, 1.0),
        SetSpec("test-motion", "test", 2, 192, 320, _MIXED[2:], (81,), 40, False, 1.0),
    )
}


@dataclass(frozen=True)
class ClipPlan:
    """What is decided before anyone moves.

    Attributes:
        spec: The set. index: The clip's number. frames: Its length.
        seeds: Of the people, left to right. layout: Places and camera. light: The light.
        seed: For speech and motion. background_seed: For the surroundings.
        wishes: Gestures per person, in order.
    """

    spec: SetSpec
    index: int
    frames: int
    seeds: tuple[int, ...]
    layout: Layout
    light: Light
    seed: int
    background_seed: int
    wishes: tuple[tuple[GestureName, ...], ...]

    @property
    def key(self) -> str:
        return f"{self.spec.name}-{self.index:06d}"


@dataclass(frozen=True)
class Clip:
    """A performed and filmed clip.

    Attributes:
        plan: What was decided. take: Frames, masks and truth.
        tracks: One per person. gestures: Per person. words: What captions are made from.
        captions: Paraphrases. turns: Who said what when; empty for one person. pattern: Of the turns.
    """

    plan: ClipPlan
    take: Take
    tracks: tuple[Track, ...]
    gestures: tuple[tuple[Gesture, ...], ...]
    words: SceneWords
    captions: tuple[str, ...]
    turns: tuple[Turn, ...]
    pattern: Pattern | None


def plan_clip(spec: SetSpec, index: int, clips_per_shard: int = 16) -> ClipPlan:
    """Decides clip `index` of a set; clips of one shard share its cast.

    Raises:
        InputError: A negative number, or one so large that sets would meet.
    """
    if not 0 <= index < _SEEDS_PER_SET // 16:
        raise InputError(f"Clip {index} of {spec.name} does not exist.", f"Choose 0 to {_SEEDS_PER_SET // 16 - 1}.")
    number = tuple(SETS).index(spec.name) if spec.name in SETS else len(SETS)
    rng = np.random.default_rng([0xC11B, number, index])
    seeds = _cast(spec, number, index, clips_per_shard, rng)
    frames = spec.frames[int(rng.integers(len(spec.frames)))]
    framing = spec.framings[int(rng.integers(len(spec.framings)))]
    layout = arrange(spec.people, framing, spec.height, spec.width, rng)
    wishes = tuple(_wish(spec, framing, frames, rng) for _ in range(spec.people))
    if spec.gestures >= 1 and not any(wishes):
        wishes = (("nod",), *wishes[1:])
    return ClipPlan(
        spec, index, frames, seeds, layout, Light.sample(rng), number * _SEEDS_PER_SET + index,
        int(rng.integers(2**31)), wishes,
    )  # fmt: skip


def _cast(spec: SetSpec, number: int, index: int, per_shard: int, rng: np.random.Generator) -> tuple[int, ...]:
    if spec.cast:
        pool = np.random.default_rng([0xCA57, number, index // per_shard]).integers(0, FIRST_TEST_SEED, spec.cast)
        return tuple(int(seed) for seed in rng.choice(np.unique(pool), spec.people, replace=False))
    first = (FIRST_TEST_SEED if spec.split == "test" else 0) + number * 100_000 + index * spec.people
    return tuple(stand_in(seed) for seed in range(first, first + spec.people))


def _wish(spec: SetSpec, framing: Framing, frames: int, rng: np.random.Generator) -> tuple[GestureName, ...]:
    """Gestures of one person that can be seen and fit into the clip; talkers' lips must stay visible."""
    room = frames / FPS - 0.1
    near = framing != "waist-up"
    crowded: set[GestureName] = {"lean"} if near and spec.people > 1 else set()  # they would hide each other
    possible = [g for g in GESTURES if shortest_time(g) < room and g not in crowded]
    possible = [g for g in possible if not near or g not in ARM_GESTURES]
    if not possible or rng.random() >= spec.gestures:
        return ()
    first = possible[int(rng.integers(len(possible)))]
    left = room - shortest_time(first) - 0.2
    second = [g for g in possible if g != first and shortest_time(g) < left]
    if second and rng.random() < 0.3:
        return first, second[int(rng.integers(len(second)))]
    return (first,)


def make_clip(
    plan: ClipPlan,
    figure: Callable[[int, str], Figure],
    pack: AssetPack | None,
    speech_cache: Path | None = None,
    filmed: int | None = None,
) -> Clip:
    """Performs and films a clip.

    Args:
        plan: From `plan_clip`.
        figure: Gives the figure of a seed and an extent; may keep figures for later.
        pack: The asset pack the figures are dressed from, for the captions.
        speech_cache: Where utterances are kept between runs.
        filmed: How many of the first frames are filmed; None films all.
    """
    extent = "waist" if plan.layout.framing == "waist-up" else "bust"
    identities = [Identity.sample(seed) for seed in plan.seeds]
    styles = _styles(plan)
    tracks, turns, pattern = _talk(plan, identities, styles, speech_cache)
    gestures = _plan_gestures(plan)
    moved = [
        replace(track, performance=apply_gestures(track.performance, own)) if own else track
        for track, own in zip(tracks, gestures, strict=True)
    ]
    background = Background.sample(np.random.default_rng(plan.background_seed), plan.spec.height, plan.spec.width)
    actors = tuple(
        Actor(figure(seed, extent), track.performance, place)
        for seed, track, place in zip(plan.seeds, moved, plan.layout.placements, strict=True)
    )
    take = shoot(Scene(actors, plan.layout.camera, plan.light, background), filmed)
    words = SceneWords(
        people=tuple(
            person_words(identity, pack, style, track.role, tuple(g.name for g in own))
            for identity, style, track, own in zip(identities, styles, moved, gestures, strict=True)
        ),
        place=background.place,
        light=plan.light.name,
        framing=plan.layout.framing,
        pattern=pattern,
    )
    captions = describe(words, np.random.default_rng([0xCA9, plan.seed]), PARAPHRASES)
    return Clip(plan, take, tuple(moved), gestures, words, captions, turns, pattern)


def _styles(plan: ClipPlan) -> list[Style]:
    rng = np.random.default_rng([0x57E, plan.seed])
    return [Style.sample(rng) for _ in plan.seeds]


def _talk(
    plan: ClipPlan, identities: list[Identity], styles: list[Style], cache: Path | None
) -> tuple[tuple[Track, ...], tuple[Turn, ...], Pattern | None]:
    """Everyone's part: a conversation, a monologue, or quiet company."""
    people = range(len(identities))
    looks = [[plan.layout.direction(i, j if i != j else None) for j in people] for i in people]
    registers: list[Register | None] = ["low" if person.sex == "male" else "high" for person in identities]
    if plan.spec.speech and len(identities) > 1:
        talk = converse(plan.seed, plan.spec.split, plan.frames, looks, registers, styles=styles, cache_dir=cache)
        return talk.tracks, talk.turns, talk.pattern
    if plan.spec.speech:
        only = speak(plan.seed, plan.spec.split, plan.frames, registers[0], looks[0][0], styles[0], cache)
        return (only,), (), None
    rng = np.random.default_rng([0x1D1E, plan.seed])
    silent = []
    for k in people:
        partner = looks[k][(k + 1) % len(identities)]
        role: Role = "idle" if rng.random() < 0.5 else "listener"
        silent.append(listen(plan.seed * 4 + k, plan.frames, role, partner, styles[k]))
    return tuple(silent), (), None


def _plan_gestures(plan: ClipPlan) -> tuple[tuple[Gesture, ...], ...]:
    """Times of the wished gestures, one after the other."""
    rng = np.random.default_rng([0x6E5, plan.seed])
    out = []
    for person, names in enumerate(plan.wishes):
        others = [k for k in range(len(plan.seeds)) if k != person]
        partner = others[int(rng.integers(len(others)))] if others else None
        direction = plan.layout.direction(person, partner)
        length = plan.frames / FPS
        borders = np.cumsum([0.0] + [shortest_time(name) for name in names])
        borders = borders / max(borders[-1], 1e-6) * length
        own = [
            plan_gesture(rng, name, float(a), float(b), direction)
            for name, a, b in zip(names, borders[:-1], borders[1:], strict=True)
        ]
        out.append(tuple(own))
    return tuple(out)


def person_words(
    identity: Identity, pack: AssetPack | None, style: Style, role: Role, gestures: tuple[GestureName, ...]
) -> PersonWords:
    """What captions may say about a person."""
    features = []
    if identity.outfit.glasses:
        features.append("glasses")
    if identity.hair.beard >= 0.5:
        features.append("a full beard" if identity.hair.beard > 0.8 else "a short beard")
    elif identity.hair.moustache >= 0.5:
        features.append("a moustache")
    if identity.skin.freckles > 0.3:
        features.append("freckles")
    return PersonWords(
        sex=identity.sex,
        age=identity.age,
        hair=hair_words(identity.hair.style, identity.hair.colour_name),
        wears=outfit_words(identity, pack),
        features=tuple(features),
        mood=style.mood,
        role=role,
        gestures=gestures,
    )


def truth_arrays(clip: Clip) -> dict[str, NDArray[np.generic]]:
    """All labels of a clip by name; person k's begin with `p{k}/`."""
    from talkies.stage.dialogue import spoken_frames
    from talkies.stage.gestures import gesture_labels

    arrays: dict[str, NDArray[np.generic]] = {"masks": clip.take.masks}
    for k, (track, truth, own) in enumerate(zip(clip.tracks, clip.take.truths, clip.gestures, strict=True)):
        motion = track.performance
        labels: dict[str, NDArray[np.generic]] = {
            "face_units": motion.face_units,
            "head": motion.head,
            "gaze": motion.gaze,
            **truth.arrays(),
            "speaking": spoken_frames(track.phones, len(motion)),
            "gesture": gesture_labels(own, len(motion), motion.fps),
            "phone_labels": np.array([phone.label for phone in track.phones], dtype="<U4"),
            "phone_times": np.array([(p.start, p.end) for p in track.phones], np.float32).reshape(-1, 2),
        }
        arrays |= {f"p{k}/{name}": value for name, value in labels.items()}
    return arrays
