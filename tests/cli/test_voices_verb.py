"""Synthetic voices on the command line, and dialogues played from a text file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import soundfile

from command_line import Talkies
from talkies.domain.conversation import Conversation

pytestmark = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")

SCRIPT = "@ Ann = f3, en\nAnn: Good morning, Ben.\nBen: Hi.\n[pause 0.5]\nAnn: Nice day.\n"


def test_languages_and_voices_are_listed(talkies: Talkies) -> None:
    assert "de                German" in talkies("voices").out
    assert "f3" in talkies("voices", "de").out
    assert len(json.loads(talkies("voices", "de", "--json").out)) > 50
    assert talkies("voices", "xx").code == 2


def test_a_voice_is_tried(here: Path, talkies: Talkies) -> None:
    assert talkies("voices", "de", "--say", "Hallo", "--voice", "m3", "-o", "a.wav").code == 0
    assert soundfile.info(here / "a.wav").duration > 0.2
    assert talkies("voices", "de", "--say", "Hallo").code == 2


def test_a_script_becomes_a_plan(here: Path, material: Path, talkies: Talkies) -> None:
    (here / "talk.txt").write_text(SCRIPT.replace("Ben: Hi.", "Ben: [overlap 0.2] Hi."))
    fields = {"image": str(material / "photo.png"), "speakers": [
        {"name": "Ben", "voice": "m3", "region": {"box": [80, 0, 160, 96]}},
        {"name": "ANN", "region": {"box": [0, 0, 80, 96]}},
    ], "turns": [{"speaker": "Ben", "text": "old"}]}  # fmt: skip
    (here / "duo.json").write_text(json.dumps(fields))
    result = talkies("generate", "duo.json", "--script", "talk.txt", "-m", material / "model", "--plan")
    assert result.code == 0, result.err
    assert "ANN: turn-0.wav" in result.err
    assert "ANN: turn-2.wav" in result.err
    assert "Ben: turn-1.wav" in result.err
    del fields["turns"]  # nobody need say anything in the file: the script does
    (here / "duo.json").write_text(json.dumps(fields))
    assert talkies("generate", "duo.json", "--script", "talk.txt", "-m", material / "model", "--plan").code == 0
    assert "nobody speaks" in talkies("generate", "duo.json", "-m", material / "model", "--plan").err


@pytest.mark.parametrize(
    ("script", "options", "words"),
    [
        (None, ("--image", "p.png"), "cannot be read"),
        ("", ("--image", "p.png"), "Nobody says anything"),
        (SCRIPT, (), "needs a picture"),
        (SCRIPT, ("--image", "p.png", "--speaker", "a.wav"), "exclude each other"),
    ],
)
def test_bad_scripts(here: Path, talkies: Talkies, script: str | None, options: tuple[str, ...], words: str) -> None:
    if script is not None:
        (here / "talk.txt").write_text(script)
    result = talkies("generate", "--script", "talk.txt", *options)
    assert result.code == 2
    assert words in result.line


def test_a_script_names_only_speakers_of_the_file() -> None:
    from talkies.cli.script import scripted
    from talkies.domain.dialogue import read_script
    from talkies.domain.errors import InputError

    base = Conversation.model_validate({"image": "p.png", "speakers": [{"name": "Ann", "audio": "a.wav"}, {}]})
    with pytest.raises(InputError, match="'Ben' is no speaker"):
        scripted(read_script(SCRIPT), None, base)
    fields = scripted(read_script("Ann: Hello."), None, base)
    conversation = Conversation.model_validate(fields)
    assert [speaker.says_something for speaker in conversation.speakers] == [False, False]
    assert [turn.text for turn in conversation.turn_list()] == ["Hello."]
