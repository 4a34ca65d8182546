"""A clip as a film, and its beginning as an example: picture and sound, bad requests refused."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("numba")

import numpy as np
from PIL import Image

from talkies.domain.errors import InputError
from talkies.media.conversation_file import read_conversation
from talkies.stage.clips import SETS, plan_clip
from talkies.stage.example import converse_as_written, write_example
from talkies.stage.screening import screen


def test_unknown_set_and_impossible_size_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no set"):
        screen("test-crowd", 0, 1.0, tmp_path / "film.mp4", None)
    with pytest.raises(InputError, match="cannot be filmed"):
        screen("test-dual", 0, 100.0, tmp_path / "film.mp4", None)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.usefixtures("body_data")
def test_film_has_picture_and_sound(tmp_path: Path) -> None:
    import av

    clip = screen("test-dual", 3, 0.5, tmp_path / "film.mp4", None)
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == clip.plan.frames
    with av.open(str(tmp_path / "film.mp4")) as film:
        assert film.streams.audio


@pytest.mark.usefixtures("body_data")
def test_example_is_an_input_of_generate(tmp_path: Path) -> None:
    """Nobody speaks in this set: the left one says what is given, the right one listens."""
    with pytest.raises(InputError, match="Nobody speaks"):
        write_example(tmp_path / "mute", "test-motion", 0, 0.5, None)
    described = read_conversation(write_example(tmp_path, "test-motion", 0, 0.5, None, says=("we laughed a lot",)))
    assert [speaker.name for speaker in described.speakers] == ["Person 1", "Person 2"]
    assert [bool(speaker.audio) for speaker in described.speakers] == [True, False]
    with Image.open(tmp_path / "photo.png") as photo:
        assert photo.size == (160, 96)
    with pytest.raises(InputError, match="no set"):
        write_example(tmp_path / "other", "test-crowd", 0, 1.0, None)
    assert not (tmp_path / "other").exists() and not (tmp_path / "mute").exists()


def test_what_is_written_is_said_in_turn() -> None:
    """Three sentences of two people: the left one begins and ends, and nobody interrupts."""
    plan = plan_clip(SETS["test-dual"], 0)
    left, right = converse_as_written(plan, ("we laughed a lot", "the tea was cold", "wow", ""))
    assert left.shape == right.shape
    first, second = (np.flatnonzero(np.abs(voice) > 0.01) for voice in (left, right))
    assert first[0] < second[0] < second[-1] < first[-1]
    assert not ((first > second[0]) & (first < second[-1])).any()
    with pytest.raises(InputError, match="Nothing is said"):
        converse_as_written(plan, ("", " "))
