"""A scene in frames of some size."""

from __future__ import annotations

import pytest
from PIL import Image

from talkies.cli.scene import Scene
from talkies.domain.clip import FrameSize
from talkies.domain.conversation import Conversation
from talkies.domain.errors import InputError
from talkies.domain.timeline import Timeline
from talkies.media.people import Face, Person


def scene(*people: Person) -> Scene:
    """A picture of 160x96."""
    conversation = Conversation.model_validate({"image": "photo.png", "speakers": [{"name": "Ann", "audio": "a.wav"}]})
    return Scene(conversation, Image.new("RGB", (160, 96)), people, Timeline(()), {}, 1.0, ())


LEFT = Person("Ann", box=(0.0, 0.0, 80.0, 96.0))


@pytest.mark.parametrize(
    ("size", "seen"), [(FrameSize(160, 96), ["Ann", "bystander 1"]), (FrameSize(64, 96), ["Ann"])], ids=["whole", "cut"]
)
def test_bystanders_outside_the_frame_are_forgotten(size: FrameSize, seen: list[str]) -> None:
    passer_by = Person("bystander 1", face=Face(140, 20, 152, 36, 0.9), bystander=True)
    shown = scene(LEFT, passer_by).within(size, 16)
    assert [person.name for person in shown.people] == seen
    assert shown.masks(size).shape == (len(seen), size.height, size.width)
    assert shown.within(size, 16) == shown


def test_speakers_outside_the_frame_are_not() -> None:
    cut = scene(LEFT, Person("Ben", box=(140.0, 0.0, 160.0, 96.0))).within(FrameSize(64, 96), 16)
    assert len(cut.people) == 2
    with pytest.raises(InputError, match="Nothing of 'Ben' is left"):
        cut.masks(FrameSize(64, 96))
