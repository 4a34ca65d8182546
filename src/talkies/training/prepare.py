"""From tracks to the latent cache of the small model: panels are encoded once, then paired for every pass.

    talkies nano latents RECIPE --share 0/2 & talkies nano latents RECIPE --share 1/2; wait
    talkies nano latents RECIPE

With a share `i/n` only that share of the panels is encoded. Panels are kept in memory (about 0.4 MB each); each round
writes one pass of fresh pairings. A training run that reads the cache takes in new rounds as they come.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.domain.moods import MOODS, Mood
from talkies.domain.own_words import own_words
from talkies.domain.performer import Performer
from talkies.media.acoustics import Acoustics
from talkies.media.loudness import LoudnessMeter
from talkies.media.vocal_tract import move_formants, other_throat
from talkies.models.audio_encoder_whisper import RATE, WhisperSpeechEncoder
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import FRAMES
from talkies.training.composites import Track, find_tracks
from talkies.training.liveliness import with_liveliness
from talkies.training.moods import with_mood
from talkies.training.panels import (
    STARTS,
    Panel,
    build_panel,
    load_codec,
    mood_onset,
    partner_direction,
    side_by_side,
)
from talkies.training.recast import Casting
from talkies.training.shards import CacheWriter
from talkies.training.text import train_tokenizer

#: The features hear sound at this loudness, in LUFS (the paper's program).
LOUDNESS = -23.0
SAMPLES_PER_FRAME = RATE // 25


class PrepareRecipe(BaseModel):
    """Everything that decides a cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tracks: list[Path]
    codec: Path
    audio_encoder: Path
    tokenizer: Path = Field(description="Folder of the tokenizer; one is learnt from `captions` where there is none.")
    panels: Path
    output: Path
    variants: int = Field(1, description="Panels per track, each placed, lit and degraded differently.")
    rounds: int = 4
    samples_per_round: int = 2000
    latent_frames: int = 9
    context: int = 2
    people: dict[int, float] = Field({1: 0.2, 2: 0.7, 3: 0.1}, description="Share of clips by number of people.")
    captions: Path | None = Field(None, description="Text file, a caption a line: what the tokenizer is learnt from.")
    plain_prompts: float = Field(0.25, description="Share of clips with a prompt that says no more than who is there.")
    gestures: float = Field(0.5, description="Share of clips in which somebody makes a gesture, where tracks have any.")
    second_gesture: float = Field(0.4, description="Share of these in which two people make one each.")
    moods: float = Field(0.4, description="Share of people whose mood appears after the picture.")
    liveliness: float = Field(0.8, description="Share of people made calmer or livelier than they were filmed.")
    recast: float = Field(0.85, description="Share of people whose picture is another's.")
    revoiced: float = Field(0.6, description="Share of people whose voice, with its lips, is another's.")
    threads: int = 1
    seed: int = 0


def speech_features(encoder: WhisperSpeechEncoder, track: Track, context: int, rng: np.random.Generator) -> Tensor:
    """Features `[F + 2 context, S, C]` of a track's sound: loudness as the pipeline's, every other time with
    another throat and in a room."""
    with np.load(track.path.with_suffix(".npz"), allow_pickle=False) as labels:
        waveform = labels["waveform"].astype(np.float32) / 32768
    waveform = normalise_loudness(waveform)
    if rng.random() < 0.5:
        waveform = move_formants(waveform, other_throat(rng))
    if rng.random() < 0.5:
        waveform = Acoustics.sample(rng).apply(waveform)
    frames = len(waveform) // SAMPLES_PER_FRAME + 2 * context
    padded = np.concatenate([np.zeros(context * SAMPLES_PER_FRAME, np.float32), waveform])
    return encoder.encode_speech(torch.from_numpy(padded), frames).half()


def normalise_loudness(waveform: np.ndarray) -> np.ndarray:
    """`[samples]` at 16 kHz brought to -23 LUFS; silence stays silence."""
    meter = LoudnessMeter(RATE)
    meter.add(waveform)
    loudness = meter.integrated()
    if not np.isfinite(loudness) or loudness < LOUDNESS - 40:
        return waveform
    return np.asarray(waveform * 10 ** ((LOUDNESS - loudness) / 20), np.float32)


def encode_panels(
    recipe: PrepareRecipe, say: Callable[[str], None] = print, share: int = 0, shares: int = 1
) -> Iterator[Panel]:
    """All panels, or every `shares`-th; those on disk are read, the others encoded and kept."""
    recipe.panels.mkdir(parents=True, exist_ok=True)
    codec = load_codec(recipe.codec)
    encoder = WhisperSpeechEncoder.from_pretrained(recipe.audio_encoder).eval()
    tracks = [track for folder in recipe.tracks for track in find_tracks(folder)][share::shares]
    began = time.perf_counter()
    for number, track in enumerate(tracks):
        for variant in range(recipe.variants):
            path = recipe.panels / f"{track.path.stem}-{variant}.safetensors"
            if path.exists():
                yield _load_panel(path)
                continue
            rng = np.random.default_rng([recipe.seed, variant, *track.path.stem.encode()])

            def hear(heard: Track, context: int, rng: np.random.Generator = rng) -> Tensor:
                return speech_features(encoder, heard, context, rng)

            panel = build_panel(track, codec, hear, rng, recipe.context, track.path.stem.split("-take-")[0])
            _save_panel(panel, path)
            yield panel
        if number % 50 == 49:
            seconds = time.perf_counter() - began
            say(f"{number + 1} of {len(tracks)} tracks encoded, {seconds:.0f} s")


_TENSORS = ("groups", "singles", "condition", "mask", "weight", "audio", "gesture")


def _save_panel(panel: Panel, path: Path) -> None:
    about = {"id": panel.id, "reference": str(panel.reference), "person": panel.person}
    about["about"] = json.dumps(panel.about)
    partial = path.with_suffix(".part")
    save_file({name: getattr(panel, name).contiguous() for name in _TENSORS}, partial, about)
    partial.rename(path)


def _load_panel(path: Path) -> Panel:
    with safe_open(path, "pt") as file:
        about = file.metadata()
        tensors = {name: file.get_tensor(name) for name in _TENSORS}
    told = json.loads(about["about"])
    return Panel(id=about["id"], reference=int(about["reference"]), person=about["person"], about=told, **tensors)


PROMPT_TOKENS = 96
_GESTURES_FACE = 100  # times as much as others' does the direction count in which somebody makes a gesture
PROMPTS = {
    1: ("a person is talking to the camera.", "one person speaks.", "a portrait of a person who is speaking."),
    2: ("two people are talking to each other.", "a conversation between two people.", "two people speak in turn."),
    3: ("three people are talking to each other.", "a conversation between three people."),
    4: ("four people are talking to each other.", "a conversation between four people."),
}


#: Performers from left to right, and the generator that decides the wording -> caption.
Describe = Callable[[Sequence[Performer], np.random.Generator], str]
#: A gesture is told when so many frames of its stroke can be seen.
TOLD_FRAMES = 10


def part_of(panel: Panel, first: int, frames: int) -> Performer:
    """What a panel's performer does from frame `first` on. A mood that the picture has already is not told: latents say
    what changes, and it changes nothing."""
    shown = panel.gesture[first : first + frames].tolist()
    gestures = tuple(dict.fromkeys(g for g in shown if g and shown.count(g) >= TOLD_FRAMES))
    return Performer(panel.about, gestures, 0 <= mood_onset(panel.about) < (first + frames) / FPS - 0.5)


def onset_of(panel: Panel) -> tuple[int, int]:
    """Number of a panel's first gesture and the frame in which its stroke begins; (0, 0) without any."""
    shown = panel.gesture.nonzero()
    return (int(panel.gesture[shown[0, 0]]), int(shown[0, 0])) if len(shown) else (0, 0)


def aligned_start(panel: Panel, leads: Mapping[int, int], latest: int) -> int | None:
    """Latent frame at which a clip begins so that the panel's gesture begins with it, to two frames; None if none does.

    Args:
        panel: With or without a gesture.
        leads: Frames from a clip's first to a gesture's stroke, by the gesture's number.
        latest: Last latent frame at which a clip may begin.
    """
    gesture, onset = onset_of(panel)
    start = round((onset - leads.get(gesture, 0)) / FRAMES)
    if not gesture or not 0 <= start <= latest or panel.gesture[onset:].count_nonzero() < TOLD_FRAMES:
        return None
    return start


class Pairing:
    """Chooses who stands beside whom: every panel about equally often, nobody beside themselves.

    Gestures happen where words tell of them, and at one time: they begin with the clip. What comes at any moment, or is
    told of half the time, is next to nothing in a squared error, and words would never be learnt. Often two people of
    a clip make one each: where everybody does what is told of anybody, nobody learns whose words they are.

    People of a clip face each other as far as those drawn can: whose partner is to the right stands to the left.

    Args:
        recipe: Shares of everything.
        panels: Everybody there is.
        leads: Frames from a clip's first to a gesture's stroke, by the gesture's number.
        rng: Everything that is chosen.
    """

    def __init__(
        self, recipe: PrepareRecipe, panels: Sequence[Panel], leads: Mapping[int, int], rng: np.random.Generator
    ) -> None:
        self._recipe, self._panels, self._rng = recipe, panels, rng
        self.frames = FRAMES * (recipe.latent_frames - 1) + 1
        self._latest = min(STARTS[-1], min(len(panel.groups) for panel in panels) - (recipe.latent_frames - 1))
        aligned = {k: aligned_start(panel, leads, self._latest) for k, panel in enumerate(panels)}
        self._featured = [(k, start) for k, start in aligned.items() if start is not None]
        self._pool: list[int] = []

    def draw(self) -> list[tuple[Panel, int]]:
        """The performers of a clip from left to right, and the latent frame at which each one's part begins."""
        counts, shares = zip(*sorted(self._recipe.people.items()), strict=True)
        wanted = int(self._rng.choice(counts, p=np.array(shares) / sum(shares)))
        chosen: list[tuple[Panel, int]] = []
        if self._featured and self._rng.random() < self._recipe.gestures:
            for _ in range(min(wanted, 2 if self._rng.random() < self._recipe.second_gesture else 1)):
                fitting = [f for f in self._featured if self._can_face(chosen, self._panels[f[0]])] or self._featured
                number, start = fitting[int(self._rng.integers(len(fitting)))]
                self._join(chosen, self._panels[number], start)
        for attempt in range(100):
            if len(chosen) == wanted:
                break
            # a part that starts at the reference frame continues the picture; any other continues a film
            start = 0 if self._rng.random() < 0.5 else int(self._rng.integers(self._latest + 1))
            self._pool = self._pool or self._rng.permutation(len(self._panels)).tolist()
            candidate = self._panels[self._pool.pop()]
            if attempt > 50 or not part_of(candidate, FRAMES * start, self.frames).gestures:
                self._join(chosen, candidate, start)
        self._rng.shuffle(chosen)  # type: ignore[arg-type]
        return sorted(chosen, key=self._faces_left)

    def _faces_left(self, part: tuple[Panel, int]) -> float:
        """Degrees to the left at which somebody's partner is; of those who make gestures above all: who turns to
        the other does so on whichever side the other is."""
        panel, start = part
        does = part_of(panel, FRAMES * start, self.frames).gestures
        return -partner_direction(panel.about) * (_GESTURES_FACE if does else 1)

    @staticmethod
    def _can_face(chosen: list[tuple[Panel, int]], panel: Panel) -> bool:
        """Whether somebody's partner is on the other side than those of all `chosen`."""
        return all(partner_direction(panel.about) * partner_direction(other.about) <= 0 for other, _ in chosen)

    @staticmethod
    def _join(chosen: list[tuple[Panel, int]], panel: Panel, start: int) -> None:
        if all(panel.person != other.person for other, _ in chosen):
            chosen.append((panel, start))


def _draw_mood(share: float, rng: np.random.Generator) -> Mood:
    """A mood other than the neutral one, with probability `share`."""
    return MOODS[1 + int(rng.integers(len(MOODS) - 1))] if rng.random() < share else MOODS[0]


def write_round(
    recipe: PrepareRecipe,
    panels: list[Panel],
    number: int,
    writer: CacheWriter,
    describe: Describe,
    ids: Callable[[str], Tensor],
    leads: Mapping[int, int],
    spread: Sequence[float],
    knee: float | None = None,
) -> None:
    """One pass of fresh pairings with fresh casts, motion, moods and their captions; `spread [z]` and `knee` are those
    of the codec's latents."""
    rng = np.random.default_rng([recipe.seed, number])
    pairing = Pairing(recipe, panels, leads, rng)
    casting = Casting(panels, recipe.recast, recipe.revoiced, spread, knee, rng)
    for _ in range(recipe.samples_per_round):
        drawn, starts = zip(*pairing.draw(), strict=True)
        plain = rng.random() < recipe.plain_prompts
        share = 0.0 if plain else recipe.moods  # what is shown is told
        swaying = [
            with_liveliness(p, spread, knee, rng) if rng.random() < recipe.liveliness else p
            for p in casting.cast(drawn)
        ]
        chosen = [with_mood(panel, _draw_mood(share, rng), spread, rng) for panel in swaying]
        parts = [part_of(panel, FRAMES * start, pairing.frames) for panel, start in zip(chosen, starts, strict=True)]
        if plain and not any(part.gestures for part in parts):
            prompt = PROMPTS[len(chosen)][int(rng.integers(len(PROMPTS[len(chosen)])))]
        else:
            prompt = describe(parts, rng)
        prompts = ids(prompt)
        if len(chosen) > 1:
            own = own_words(prompt, len(chosen))
            prompts = torch.stack([*(ids(text) for text in own), prompts])
        writer.add(side_by_side(chosen, starts, recipe.latent_frames, recipe.context, prompts))


def _tokenizer(recipe: PrepareRecipe) -> PreTrainedTokenizerFast:
    """The one that is there: text encoders and caches belong to it. Without one, one that is learnt and kept."""
    if (recipe.tokenizer / "tokenizer.json").is_file():
        return PreTrainedTokenizerFast.from_pretrained(recipe.tokenizer)
    captions = recipe.captions.read_text(encoding="utf-8").splitlines() if recipe.captions else []
    tokenizer = train_tokenizer([*captions, *(text for texts in PROMPTS.values() for text in texts)])
    tokenizer.save_pretrained(recipe.tokenizer)
    return tokenizer


def prepare_share(recipe: PrepareRecipe, share: str, say: Callable[[str], None] = print) -> None:
    """Encodes one share of the panels, `i/n` with i from 0, for another process to use.

    Raises:
        InputError: `share` is not of that form.
    """
    number, _, count = share.partition("/")
    if not (number.isdigit() and count.isdigit() and int(number) < int(count)):
        raise InputError(f"--share {share} is no share.", "Write 0/2 for the first of two.")
    set_threads(recipe.threads)
    for _panel in encode_panels(recipe, say, int(number), int(count)):
        pass


def set_threads(count: int) -> None:
    """For torch and OpenCV alike."""
    torch.set_num_threads(count)
    cv2.setNumThreads(count)


def prepare(
    recipe: PrepareRecipe, describe: Describe, leads: Mapping[int, int], say: Callable[[str], None] = print
) -> None:
    """Encodes what is missing and writes the rounds that are not there yet.

    Args:
        recipe: Everything that decides the cache.
        describe: Writes the captions.
        leads: Frames from a clip's first to a gesture's stroke, by the gesture's number.
        say: Told how it goes.
    """
    set_threads(recipe.threads)
    panels = [panel for panel in encode_panels(recipe, say) if panel.mask[::2, ::2].any()]
    if len({panel.person for panel in panels}) < max(recipe.people):
        raise InputError(f"{recipe.tracks} show too few people for clips of {max(recipe.people)}.")
    tokenizer = _tokenizer(recipe)
    config = AutoencoderReference.load_config(recipe.codec)
    spread, knee = config["latents_std"], config.get("flow_knee")

    def ids(text: str) -> Tensor:
        padded = tokenizer(text, padding="max_length", truncation=True, max_length=PROMPT_TOKENS)
        return torch.tensor(padded["input_ids"], dtype=torch.int64)

    done = recipe.output / "rounds.json"
    first = json.loads(done.read_text()) if done.exists() else 0
    with CacheWriter(recipe.output, context=recipe.context, null_prompt=ids("")) as writer:
        for number in range(first, recipe.rounds):
            write_round(recipe, panels, number, writer, describe, ids, leads, spread, knee)
            writer.flush()
            done.write_text(json.dumps(number + 1))
            say(f"round {number + 1} of {recipe.rounds}: {len(writer)} clips")
