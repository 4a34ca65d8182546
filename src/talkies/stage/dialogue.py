"""Two to four people in conversation: who speaks when, what is heard, and how everybody moves.

Turn-taking follows what is known of talk (Sacks, Schegloff and Jefferson 1974; Heldner and Edlund 2010): one at a time
mostly, gaps of 0.1 to 0.5 s, short overlaps, and backchannels that do not take the turn.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE
from talkies.stage.alignment import SILENCE, AlignmentError, Phone, Word
from talkies.stage.motion import FPS, Style, perform
from talkies.stage.speech import Speech, synthesize
from talkies.stage.texts import Split, sample_sentence, spoken_words
from talkies.stage.tracks import WINDOWS, Track, samples, utterance
from talkies.stage.voices import Register, find_voice

Pattern = Literal["alternate", "overlap", "backchannel", "one_silent"]
PATTERNS: tuple[Pattern, ...] = ("alternate", "overlap", "backchannel", "one_silent")
TurnKind = Literal["turn", "backchannel"]
#: How long listeners take to turn to a new speaker, seconds (mean of a normal distribution, and its deviation).
_REACTION = (0.3, 0.08)
_NUMBERS_APART = 1_000_003
#: Words of a backchannel, at most: who says more takes the floor.
_SHORT = 3


@dataclass(frozen=True)
class Turn:
    """A stretch of speech of one person.

    Attributes:
        person: Index, from 0.
        start: Seconds of the clip; may lie before it.
        end: May lie behind it.
        kind: Whether it takes the floor.
        text: The words said.
    """

    person: int
    start: float
    end: float
    kind: TurnKind
    text: str


@dataclass(frozen=True)
class Dialogue:
    """A conversation of `N` people over `F` frames.

    Attributes:
        tracks: One per person: motion, own sound (`[F * 640]`), phones, words.
        turns: In order of their starts.
        pattern: How they take turns.
    """

    tracks: tuple[Track, ...]
    turns: tuple[Turn, ...]
    pattern: Pattern

    def speaking(self) -> NDArray[np.bool_]:
        """Who utters a phone (not a pause) at each frame's time, `[N, F]`."""
        return np.stack([spoken_frames(track.phones, len(track.performance)) for track in self.tracks])

    def mixture(self) -> NDArray[np.float32]:
        """Everybody's sound together, `[F * 640]`, scaled only if it would clip."""
        total = np.sum([track.waveform for track in self.tracks], axis=0, dtype=np.float32)
        return np.asarray(total / max(1.0, float(np.abs(total).max(initial=0)) / 0.99), np.float32)


def spoken_frames(phones: tuple[Phone, ...], frames: int) -> NDArray[np.bool_]:
    """Whether a phone (not a pause) sounds at each frame's time, `[frames]`."""
    times = (np.arange(frames) + 0.5) / FPS
    out = np.zeros(frames, bool)
    for phone in phones:
        if phone.label != SILENCE:
            out |= (times >= phone.start) & (times < phone.end)
    return out


def converse(
    seed: int,
    split: Split,
    frames: int,
    directions: Sequence[Sequence[float]],
    registers: Sequence[Register | None] | None = None,
    pattern: Pattern | None = None,
    styles: Sequence[Style] | None = None,
    cache_dir: Path | None = None,
) -> Dialogue:
    """A conversation from a number.

    Args:
        seed: Chooses voices, words, turns and motion; the same arguments give the same conversation.
        split: Voices and sentences of `train` and `test` never meet.
        frames: At 25 fps, >= 25.
        directions: `[N][N]` head yaw in degrees with which person `i` looks at person `j`; the diagonal is where the
            camera is.
        registers: Low or high voice per person, None for any.
        pattern: None draws one.
        styles: How each person moves; None draws them.
        cache_dir: Where utterances are kept between runs, if anywhere.

    Raises:
        InputError: Not two to four people, lists of unequal length, or a clip below one second.
    """
    people = len(directions)
    registers = list(registers) if registers is not None else [None] * people
    _check(people, frames, directions, registers, styles)
    rng = np.random.default_rng([seed, split == "test", people, 23])
    chosen = pattern or PATTERNS[int(rng.choice(len(PATTERNS), p=(0.4, 0.2, 0.22, 0.18)))]
    material = _gather(seed, split, registers, cache_dir)
    silent = int(rng.integers(people)) if chosen == "one_silent" else None
    pieces = _take_turns(rng, chosen, people, frames / FPS, material, split, silent)
    drawn = [styles[k] if styles is not None else Style.sample(rng) for k in range(people)]
    attention = _attention(rng, pieces, people, frames)
    tracks = []
    for person in range(people):
        own = [(start, speech) for who, start, speech, _ in pieces if who == person]
        looks = [directions[person][target] for target in attention[person]]
        tracks.append(_track(own, frames, rng, looks, drawn[person]))
    turns = [Turn(who, start, start + speech.duration, kind, speech.text) for who, start, speech, kind in pieces]
    return Dialogue(tuple(tracks), tuple(sorted(turns, key=lambda turn: turn.start)), chosen)


#: Who, start in seconds, what, kind.
_Piece = tuple[int, float, Speech, TurnKind]


def phrases(speech: Speech, pause: float = 0.1) -> list[Speech]:
    """`speech` cut in the middle of its pauses of at least `pause` seconds."""
    inner = [p for p in speech.phones[1:-1] if p.label == SILENCE and p.end - p.start >= pause]
    borders = [0.0, *(phone.centre for phone in inner), speech.duration]
    out = []
    for start, end in itertools.pairwise(borders):
        phones = tuple(
            Phone(p.label, max(p.start, start) - start, min(p.end, end) - start)
            for p in speech.phones
            if p.end > start + 1e-6 and p.start < end - 1e-6
        )
        words = tuple(word.shifted(-start) for word in speech.words if start <= (word.start + word.end) / 2 < end)
        waveform = speech.waveform[round(start * SAMPLING_RATE) : round(end * SAMPLING_RATE)]
        text = " ".join(word.text for word in words)
        out.append(Speech(waveform, speech.sampling_rate, phones, words, text, speech.voice_id))
    return out


def _check(
    people: int,
    frames: int,
    directions: Sequence[Sequence[float]],
    registers: Sequence[Register | None],
    styles: Sequence[Style] | None,
) -> None:
    if not 2 <= people <= 4:
        raise InputError(f"{people} people cannot converse here", hint="Choose two to four.")
    sizes = {len(row) for row in directions} | {len(registers)} | ({len(styles)} if styles is not None else set())
    if sizes != {people}:
        raise InputError(f"lists for {sorted(sizes)} people, there are {people}", hint="Give one entry per person.")
    if frames < FPS:
        raise InputError(f"{frames} frames are too few for a conversation", hint="Ask for at least 25.")


def _gather(
    seed: int, split: Split, registers: Sequence[Register | None], cache_dir: Path | None
) -> list[list[Speech]]:
    """Each person's phrases, in different voices; neighbouring seeds share utterances and start elsewhere in them."""
    voices: set[str] = set()
    out = []
    for person, register in enumerate(registers):
        number = (seed // WINDOWS) * len(registers) + person
        speech = utterance(number, split, register, cache_dir)
        while speech.voice_id in voices:
            number += _NUMBERS_APART
            speech = utterance(number, split, register, cache_dir)
        voices.add(speech.voice_id)
        parts = phrases(speech)
        first = seed % WINDOWS % len(parts)
        out.append(parts[first:] + parts[:first])
    return out


def _take_turns(
    rng: np.random.Generator,
    pattern: Pattern,
    people: int,
    duration: float,
    material: list[list[Speech]],
    split: Split,
    silent: int | None,
) -> list[_Piece]:
    """Lay phrases on the time line until the clip is full."""
    speakers = [person for person in rng.permutation(people).tolist() if person != silent]
    lone = pattern == "backchannel" or len(speakers) == 1
    used = [0] * people
    pieces: list[_Piece] = []

    def turn(person: int, length: float) -> list[Speech]:
        """The person's next phrases: at least one, then as many as fit into `length` seconds."""
        said: list[Speech] = []
        while not said or sum(part.duration for part in said) + _next(person).duration < length:
            said.append(_next(person))
            used[person] += 1
        return said

    def _next(person: int) -> Speech:
        return material[person][used[person] % len(material[person])]

    opening = turn(speakers[0], duration + 1 if lone else float(rng.uniform(0.8, 2.4)))
    now = float(rng.uniform(-0.6, 0.4))
    if not lone:  # somebody else shall get a word in before the clip is over
        now = min(now, float(rng.uniform(0.25, 0.55)) * duration - sum(part.duration for part in opening))
    at, said = 0, opening
    while True:
        person, started = speakers[at % len(speakers)], now
        for phrase in said:
            pieces.append((person, now, phrase, "turn"))
            now += phrase.duration
        gap = -rng.uniform(0.35, 0.8) if pattern == "overlap" and not lone else rng.uniform(0.08, 0.45)
        now = max(now + gap, started + 0.3)  # an overlap does not reach back beyond the turn it interrupts
        if now >= duration - 0.2:
            break
        # Among three or more, the next speaker is not always the one whose turn it would be.
        at += 0 if lone else 2 if len(speakers) > 2 and rng.random() < 0.4 else 1
        said = turn(speakers[at % len(speakers)], float(rng.uniform(0.8, 2.4)))
    if pattern == "backchannel":
        pieces += _backchannels(rng, pieces, speakers[1:], duration, material, split)
    return pieces


def _backchannels(
    rng: np.random.Generator,
    pieces: list[_Piece],
    listeners: list[int],
    duration: float,
    material: list[list[Speech]],
    split: Split,
) -> list[_Piece]:
    """Short reactions in the listeners' own voices, near the ends of the speaker's phrases where people place them."""
    ends = [start + speech.duration for _, start, speech, _ in pieces]
    out: list[_Piece] = []
    free = dict.fromkeys(listeners, 0.0)
    for end in ends:
        person = listeners[int(rng.integers(len(listeners)))]
        start = end + float(rng.uniform(-0.35, 0.1))
        last_chance = end == ends[-1] and not out
        if last_chance:
            start = float(rng.uniform(0.15, 0.75)) * duration
        elif not free[person] <= start < duration - 0.3 or start < 0.1 or rng.random() < 0.2:
            continue
        reaction = _react(rng, material[person][0].voice_id, split)
        out.append((person, start, reaction, "backchannel"))
        free[person] = start + reaction.duration + 0.3
    return out


def _react(rng: np.random.Generator, voice_id: str, split: Split) -> Speech:
    voice = find_voice(voice_id)
    for _ in range(200):
        text = sample_sentence(rng, split, "backchannel").text
        if len(spoken_words(text)) > _SHORT:
            continue
        try:
            return synthesize(text, voice)
        except AlignmentError:
            continue
    raise InputError(f"no reaction of {voice_id} could be aligned", hint="Check the speech engines.")


def _attention(rng: np.random.Generator, pieces: list[_Piece], people: int, frames: int) -> NDArray[np.int64]:
    """Whom each person attends to in each frame, `[people, frames]`: an index, oneself for the camera.

    Listeners look at whoever took the floor last, after a reaction time; the speaker at whoever spoke before, or at
    another listener.
    """
    times = (np.arange(frames) + 0.5) / FPS
    floor = sorted((start, person) for person, start, _, kind in pieces if kind == "turn")
    out = np.zeros((people, frames), np.int64)
    for person in range(people):
        addressee = int(rng.choice([other for other in range(people) if other != person]))
        target = np.full(frames, floor[0][1] if floor[0][1] != person else addressee)
        previous = addressee
        for start, speaker in floor:
            delay = max(0.1, float(rng.normal(*_REACTION)))
            if speaker != person:
                target[times >= start + delay] = speaker
                previous = speaker
            else:
                target[times >= start] = previous if rng.random() < 0.8 else addressee
        out[person] = target
    return out


def _track(
    own: list[tuple[float, Speech]], frames: int, rng: np.random.Generator, looks: list[float], style: Style
) -> Track:
    """One person's pieces of speech as a track."""
    waveform = np.zeros(samples(frames), np.float32)
    if not own:
        performance = perform(None, frames, rng, "listener", looks, style)
        return Track(performance, waveform, (), (), "", "", "listener")
    phones: list[Phone] = []
    words: list[Word] = []
    for start, speech in sorted(own, key=lambda piece: piece[0]):
        offset = round(start * SAMPLING_RATE)
        low, high = max(offset, 0), min(offset + len(speech.waveform), len(waveform))
        if high > low:
            waveform[low:high] += speech.waveform[low - offset : high - offset]
        last = phones[-1].end if phones else start
        if start > last + 1e-6:
            phones.append(Phone(SILENCE, last, start))
        phones += [phone.shifted(start) for phone in speech.phones]
        words += [word.shifted(start) for word in speech.words]
    length = frames / FPS
    heard = tuple(word for word in words if word.end > 0 and word.start < length)
    part = Speech(waveform, SAMPLING_RATE, tuple(phones), heard, " ".join(s.text for _, s in own), own[0][1].voice_id)
    performance = perform(part, frames, rng, "speaker", looks, style)
    return Track(performance, waveform, part.phones, heard, part.text, part.voice_id, "speaker")
