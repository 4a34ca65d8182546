"""Dialogue scripts of many kinds, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from talkies.domain.conversation import Conversation
from talkies.domain.dialogue import DEFAULT_PAUSE, Line, guess_language, read_script
from talkies.domain.errors import InputError
from talkies.domain.timeline import Reaction, lay_out


def said(text: str) -> list[tuple[str, str]]:
    script = read_script(text)
    return [(script.cast[line.speaker].name, line.text) for line in script.lines]


def test_two_people_talk() -> None:
    script = read_script("Ana: Good morning!\nBen: Morning. Did you sleep well?\nANA: Very well.\n")
    assert [actor.name for actor in script.cast] == ["Ana", "Ben"]
    assert script.lines == (
        Line(0, "Good morning!", 0.0),
        Line(1, "Morning. Did you sleep well?"),
        Line(0, "Very well."),
    )


@pytest.mark.parametrize(
    ("text", "names", "language"),
    [
        ("アナ:おはよう。\nベン:元気？\n", ["アナ", "ベン"], "ja"),
        ("小明\uff1a你好\uff01\n小红\uff1a早上好。", ["小明", "小红"], "cmn"),
        ("Анна: Доброе утро!\nБорис: Привет.", ["Анна", "Борис"], "ru"),
        ("أنا: صباح الخير\nبن: مرحبا", ["أنا", "بن"], "ar"),
        ("अना: नमस्ते।\nबेन: कैसे हो?", ["अना", "बेन"], "hi"),
        ("지은: 안녕!\n민수: 그래.", ["지은", "민수"], "ko"),
        ("Dr. Müller-Lüdenscheidt: Guten Tag.", ["Dr. Müller-Lüdenscheidt"], "en"),
        ("**Ana:** Hi.\n_Ben_ : Ho.", ["Ana", "Ben"], "en"),
    ],
)
def test_any_writing_system(text: str, names: list[str], language: str) -> None:
    script = read_script(text)
    assert [actor.name for actor in script.cast] == names
    assert {actor.language for actor in script.cast} == {language}


def test_lines_go_on_and_directions_are_not_spoken() -> None:
    text = "# a comment\nAna: [laughs] Well\n  that is at 10:30, see http://x.org\n\nstill Ana\nBen: I said: no.\n"
    assert said(text) == [
        ("Ana", "Well that is at 10:30, see http://x.org"),
        ("Ana", "still Ana"),
        ("Ben", "I said: no."),
    ]


def test_directions_become_what_is_done() -> None:
    script = read_script("Ana: [Nods.] Yes [smiles], of course.\nand more [leans  over]\nBen: [] No.\nBen: [shrugs]")
    assert [(line.text, line.does) for line in script.lines] == [
        ("Yes , of course. and more", "Nods and smiles and leans over"),
        ("No.", ""),
        ("", "shrugs"),
    ]
    turns = Conversation.model_validate({"image": "p.png", **script.fields()}).turn_list()
    assert [turn.does for turn in turns] == ["Nods and smiles and leans over", None, "shrugs"]
    assert len(read_script("A: [" + "x" * 5000 + "] hi").lines[0].does) == 300


def test_a_line_without_words_is_a_reaction() -> None:
    """It begins where words would, and the next line waits for nothing but its pause."""
    text = "[A kitchen.]\nAna: Eh?\nBen: [nods]\nAna: [pause 1][laughs][overlap 0.5]\nBen: [smiles]\nSo.\nAna: [waves]"
    script = read_script(text)
    assert [(line.speaker, line.text, line.does) for line in script.lines] == [
        (0, "Eh?", ""), (1, "", "nods"), (0, "", "laughs"), (1, "So.", "smiles"), (0, "", "waves"),
    ]  # fmt: skip
    conversation = Conversation.model_validate({"image": "p.png", **script.fields()})
    timeline = lay_out(conversation, [(Path("ana.wav"), 1.0), (Path("ben.wav"), 2.0)])
    assert [(it.person, it.start, it.does) for it in timeline.utterances] == [(0, 0.0, ""), (1, 1.75, "smiles")]
    assert timeline.reactions == (Reaction(1, "nods", 1.25), Reaction(0, "laughs", 2.25), Reaction(0, "waves", 4.0))
    assert timeline.duration == 6.0  # the last reaction is seen


def test_pauses_and_overlaps() -> None:
    lines = read_script("[pause 2]\nAna: One [pause 0.5] two.\n[overlap 0.3]\nBen: Three.\nAna: [pause] Four.").lines
    assert [(line.text, line.pause) for line in lines] == [
        ("One", 2.0),
        ("two.", 0.5),
        ("Three.", -0.3),
        ("Four.", 1.0),
    ]
    assert read_script("A: a\nB: b").lines[1].pause == DEFAULT_PAUSE


def test_voices_are_cast_and_the_fields_are_a_conversation() -> None:
    script = read_script("@ Ana = jf_alpha, ja\n@ ben = m3\nAna: Hello.\nBen: Hi.")
    assert [(actor.voice, actor.language) for actor in script.cast] == [("jf_alpha", "ja"), ("m3", "en")]
    conversation = Conversation.model_validate({"image": "p.png", **script.fields()})
    assert [turn.text for turn in conversation.turn_list()] == ["Hello.", "Hi."]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "Nobody"),
        ("Ana:\nBen: [nods]\n", "Nobody"),
        ("Once upon a time\nAna: Hi.", "Line 1"),
        ("Ana: a\n[pause 61]\nAna: b", "Line 2: a pause of 61 s"),
        ("\n".join(f"person {chr(97 + i % 26)}{'x' * (i // 26)}: a" for i in range(33)), "Line 33"),
        ("A: " + "a" * 500_000, "longer"),
    ],
)
def test_what_cannot_be_a_script(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_script(text)


@given(st.text(max_size=400))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        script = read_script(text)
    except InputError:
        return
    assert all((line.text or line.does) and 0 <= line.speaker < len(script.cast) for line in script.lines)
    Conversation.model_validate({"image": "p.png", **script.fields()})


def test_languages_by_writing_system() -> None:
    assert guess_language("漢字とかな") == "ja"
    assert guess_language("123 …") == "en"
    assert guess_language("I love 東京 in spring, and the angle α is small.") == "en"


def test_who_is_cast_but_says_nothing_is_a_misprint() -> None:
    with pytest.raises(InputError, match="@ Bem"):
        read_script("@ Bem = jm_kumo\nAna: Hello.\nBen: Hi.")
