"""When each phone is spoken: forced alignment of a clip with its text, checked before anyone trusts it.

pocketsphinx (pip, its US English model inside) aligns in steps of 10 ms. Synthesisers' own durations are not used: they
run up to 95 ms late. An alignment that looks wrong is refused, and the caller says something else.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import MissingDependencyError, TalkiesError
from talkies.media.resampling import SAMPLING_RATE
from talkies.stage.texts import spoken_words

#: Label of silence and breath between words.
SILENCE = "SIL"
_STEP = 0.01  # s, the aligner's frame
#: The aligner hears 25.6 ms around the middle of each step but counts time from the window's start.
_LAG = (0.0256 - _STEP) / 2
_MARGIN = 0.2  # s of near-silence put around a clip: the model wants to hear silence first
_STOPS = frozenset({"P", "T", "K", "B", "D", "G", "CH", "JH"})
_SHORTEST_PAUSE = 0.05  # s
_PAUSES = frozenset({"<s>", "</s>", "<sil>", "(NULL)", "[NOISE]", "[SPEECH]"})


class AlignmentError(TalkiesError):
    """The phones of a clip could not be found, or what was found does not look like speech of that text."""


@dataclass(frozen=True)
class Phone:
    """One phone in time.

    Attributes:
        label: ARPAbet without stress (39 phones), or `SIL`.
        start: Seconds from the start of the waveform.
        end: Seconds, > start.
    """

    label: str
    start: float
    end: float

    @property
    def centre(self) -> float:
        """Seconds."""
        return 0.5 * (self.start + self.end)

    def shifted(self, seconds: float) -> Phone:
        """The same phone later by `seconds`."""
        return Phone(self.label, self.start + seconds, self.end + seconds)


@dataclass(frozen=True)
class Word:
    """One word in time: lower case, seconds from the start of the waveform."""

    text: str
    start: float
    end: float

    def shifted(self, seconds: float) -> Word:
        """The same word later by `seconds`."""
        return Word(self.text, self.start + seconds, self.end + seconds)


@dataclass(frozen=True)
class Alignment:
    """Where a text is in a sound.

    Attributes:
        phones: Gapless from 0 to the end of the sound, pauses as `SIL`.
        words: In order, without pauses.
    """

    phones: tuple[Phone, ...]
    words: tuple[Word, ...]


def align(waveform: NDArray[np.float32], text: str) -> Alignment:
    """Find the words and phones of `text` in `waveform` `[n]` (16 kHz).

    Raises:
        AlignmentError: No alignment exists, or it fails `check_phones`.
        InputError: There is no word in the text.
    """
    words = spoken_words(text)
    margin = np.zeros(round(_MARGIN * SAMPLING_RATE), np.float32)
    padded = np.concatenate([margin, waveform / max(float(np.abs(waveform).max(initial=0)), 1e-6) * 0.7, margin])
    # Digital silence has no logarithm: a fixed, inaudible hiss stands in for a quiet room.
    padded = padded + np.random.default_rng(0).standard_normal(len(padded)).astype(np.float32) * 1e-3
    pcm = (np.clip(padded, -1, 1) * 32767).astype("<i2").tobytes()
    found, spans = _decode(pcm, " ".join(words))
    if tuple(word.text for word in spans) != words:
        raise AlignmentError("the aligner left words out")
    found, spans = _carve_pauses(found, spans, _power(waveform))
    phones = _merge(found, len(waveform) / SAMPLING_RATE)
    check_phones(phones, waveform)
    return Alignment(phones, spans)


def check_phones(phones: tuple[Phone, ...], waveform: NDArray[np.float32]) -> None:
    """Refuse an alignment that contradicts the sound or the way people speak.

    Raises:
        AlignmentError: A phone lasts longer than 0.6 s, more than 12 % of them are at the aligner's floor
            of 30 ms in a row of five, the speech is slower than 5 or faster than 22 phones a second, sound energy lies
            in pauses, or phones lie in silence.
    """
    spoken = [phone for phone in phones if phone.label != SILENCE]
    if not spoken:
        raise AlignmentError("the alignment holds no speech")
    durations = np.array([phone.end - phone.start for phone in spoken])
    if durations.max() > 0.6:
        raise AlignmentError(f"a phone lasts {durations.max():.2f} s")
    rate = len(spoken) / durations.sum()
    if not 5 <= rate <= 22:
        raise AlignmentError(f"{rate:.1f} phones a second is not human speech")
    floor = np.convolve(durations < 0.035, np.ones(5), "valid") if len(durations) >= 5 else np.zeros(1)
    if np.mean(floor == 5) > 0.12:
        raise AlignmentError("phones are squeezed together: the text does not fit the sound")
    power = _power(waveform)  # [n / 10 ms]
    speaking = np.zeros(len(power), bool)
    for phone in spoken:
        speaking[round(phone.start / _STEP) : round(phone.end / _STEP)] = True
    outside = float(power[~speaking].sum() / max(power.sum(), 1e-12))
    if outside > 0.06:
        raise AlignmentError(f"{100 * outside:.0f} % of the sound lies in what should be pauses")
    quiet = float(np.mean(power[speaking] < 1e-5 * np.quantile(power, 0.95)))
    if quiet > 0.2:
        raise AlignmentError(f"{100 * quiet:.0f} % of the phones lie in silence")


def _decode(pcm: bytes, words: str) -> tuple[list[tuple[str, float, float]], tuple[Word, ...]]:
    """Two passes of the aligner: words, then phones. Seconds from the unpadded start."""
    decoder = _decoder()
    decoder.reinit_feat()  # or a long clip before this one would move a boundary here and there
    try:
        decoder.set_align_text(words)
        _feed(decoder, pcm)
        if not any(segment.word not in _PAUSES for segment in decoder.seg()):
            raise AlignmentError("the aligner heard no words")
        decoder.set_alignment()
        _feed(decoder, pcm)
        found = [
            (w.name, w.start, w.duration, [(p.name, p.start, p.duration) for p in w]) for w in decoder.get_alignment()
        ]
    except (RuntimeError, TypeError, ValueError) as error:
        raise AlignmentError(f"the aligner found no way through the sound: {error}") from error
    shift = _LAG - _MARGIN
    phones = [
        (name, start * _STEP + shift, (start + length) * _STEP + shift)
        for *_, inner in found
        for name, start, length in inner
    ]
    spans = tuple(
        Word(name.split("(")[0], start * _STEP + shift, (start + length) * _STEP + shift)  # "(2)": a variant
        for name, start, length, _ in found
        if name not in _PAUSES
    )
    return phones, spans


def _carve_pauses(
    found: list[tuple[str, float, float]], words: tuple[Word, ...], power: NDArray[np.float64]
) -> tuple[list[tuple[str, float, float]], tuple[Word, ...]]:
    """Take silence off the outer phones of words: the aligner sometimes hides a short pause in them.

    Stops keep 90 ms of it: their closure is silent. `power` is per 10 ms.
    """
    quiet = power < 1e-4 * np.quantile(power, 0.95)
    starts = {round(word.start, 3): k for k, word in enumerate(words)}
    ends = {round(word.end, 3): k for k, word in enumerate(words)}
    spans = list(words)
    out = []
    for name, start, end in found:
        allowed = 0.09 if name in _STOPS else 0.0
        first, last = max(0, round(start / _STEP)), min(len(quiet), round(end / _STEP))
        inside = quiet[first:last]
        if inside.size and not inside.all():
            lead = int(np.argmin(inside)) * _STEP - allowed
            trail = int(np.argmin(inside[::-1])) * _STEP - allowed
            k, m = starts.get(round(start, 3)), ends.get(round(end, 3))
            if k is not None and lead >= _SHORTEST_PAUSE:
                start += lead  # noqa: PLW2901
                spans[k] = Word(spans[k].text, start, spans[k].end)
            if m is not None and trail >= _SHORTEST_PAUSE:
                end -= trail  # noqa: PLW2901
                spans[m] = Word(spans[m].text, spans[m].start, end)
        out.append((name, start, end))
    return out, tuple(spans)


def _feed(decoder: Any, pcm: bytes) -> None:
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()


@functools.cache
def _decoder() -> Any:
    try:
        import pocketsphinx
    except ImportError as error:
        raise MissingDependencyError("pocketsphinx is not installed.", hint="pip install 'talkies[stage]'") from error
    # cmn="batch": the mean of this clip, not a running mean of earlier ones, or results would depend on history.
    # bestpath=False: the lattice's path gives words too few frames for their phones, and the second pass then fails.
    # Wide beams: synthetic voices lie off the model's path, and there is only one text to follow.
    beams = {"beam": 1e-80, "wbeam": 1e-60, "pbeam": 1e-80}
    return pocketsphinx.Decoder(samprate=SAMPLING_RATE, loglevel="FATAL", lm=None, cmn="batch", bestpath=False, **beams)


def _merge(found: list[tuple[str, float, float]], duration: float) -> tuple[Phone, ...]:
    """Clipped to the clip, neighbouring pauses joined, gaps filled with `SIL`."""
    phones: list[Phone] = []

    def add(label: str, start: float, end: float) -> None:
        if end - start < 1e-6:
            return
        if label == SILENCE and phones and phones[-1].label == SILENCE:
            phones[-1] = Phone(SILENCE, phones[-1].start, end)
        else:
            phones.append(Phone(label, start, end))

    now = 0.0
    for name, start, end in found:
        label = SILENCE if name in {"SIL", "+NSN+", "+SPN+"} else name
        start, end = (min(max(t, 0.0), duration) for t in (start, end))  # noqa: PLW2901
        if start > now + 1e-6:
            add(SILENCE, now, start)
        add(label, max(start, now), end)
        now = max(now, end)
    add(SILENCE, now, duration)
    return tuple(phones)


def _power(waveform: NDArray[np.float32]) -> NDArray[np.float64]:
    """Mean square per 10 ms: `[n]` samples to `[n // 160]`."""
    hop = round(_STEP * SAMPLING_RATE)
    whole = waveform[: len(waveform) // hop * hop].astype(np.float64).reshape(-1, hop)
    return np.asarray((whole**2).mean(axis=1))
