"""A scene in frames of some size."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from talkies.cli.estimate import expected_seconds
from talkies.cli.model_folder import find_model
from talkies.cli.planning import RenderOptions, plan
from talkies.cli.prompts import choose_prompt, cues
from talkies.cli.scene import Scene
from talkies.domain.clip import FrameSize
from talkies.domain.conversation import Conversation
from talkies.domain.directions import Cue
from talkies.domain.errors import InputError
from talkies.domain.timeline import Reaction, Timeline, Utterance
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


def test_directions_name_people_by_their_place() -> None:
    """The speakers' order is not that of their places; the text encoder knows places only."""
    conversation = Conversation.model_validate({
        "image": "photo.png",
        "speakers": [{"name": "Ben", "audio": "b.wav"}, {"name": "Ann", "audio": "a.wav"}],
        "directions": [
            {"does": "It begins to rain", "start": 3, "end": 4},
            {"does": "nods", "speaker": "Ann", "start": 1},
        ],
    })  # fmt: skip
    said = (Utterance(0, Path("b.wav"), 0.5, 2.0, "smiles!"), Utterance(1, Path("a.wav"), 2.0, 1.0))
    timeline = Timeline(said, (Reaction(0, "shrugs", 2.0),))
    people = (Person("Ben", box=(80.0, 0.0, 160.0, 96.0)), LEFT)
    shown = Scene(conversation, Image.new("RGB", (160, 96)), people, timeline, {}, 4.0, ())
    assert cues(shown) == (
        Cue("The person on the right smiles!", 0.5, 2.5, 0),
        Cue("The person on the left nods.", 1.0, 3.0, 1),
        Cue("The person on the right shrugs.", 2.0, 4.0, 0),
        Cue("It begins to rain.", 3.0, 4.0),
    )


def test_places_are_those_of_the_people_not_of_their_faces() -> None:
    """Ben sits behind Ann and puts his head past hers: the pipeline goes by their masks."""
    conversation = Conversation.model_validate({
        "image": "photo.png", "prompt": "Ann nods.", "speakers": [{"name": "Ben"}, {"name": "Ann", "audio": "a.wav"}],
    })  # fmt: skip
    masks = np.zeros((2, 96, 160), bool)
    masks[0, :, 40:], masks[1, :, :80] = True, True
    people = tuple(
        Person(name, mask=mask, face=Face(x - 8, 20, x + 8, 40, 0.9))
        for name, mask, x in zip(("Ben", "Ann"), masks, (50, 60), strict=True)
    )
    shown = Scene(conversation, Image.new("RGB", (160, 96)), people, Timeline(()), {}, 4.0, ())
    assert choose_prompt(shown)[0] == "The person on the left nods."


def test_prompts_name_people_by_their_place() -> None:
    conversation = Conversation.model_validate({
        "image": "photo.png",
        "prompt": "Ben talks to Annabel. Ann nods at Ben! Bennett and José listen.",
        "speakers": [{"name": "Ben", "audio": "b.wav"}, {"name": "Ann", "audio": "a.wav"}, {"name": "Jose\u0301"}],
    })  # fmt: skip
    people = (Person("Ben", box=(80.0, 0.0, 120.0, 96.0)), LEFT, Person("José", box=(130.0, 0.0, 160.0, 96.0)))
    shown = Scene(conversation, Image.new("RGB", (160, 96)), people, Timeline(()), {}, 4.0, ())
    prompt, origin = choose_prompt(shown)
    assert prompt == (
        "The person in the middle talks to Annabel. The person on the left nods at the person in "
        "the middle! Bennett and the person on the right listen."
    ) and not origin  # fmt: skip
    letters = conversation.model_copy(update={"speakers": tuple(
        speaker.model_copy(update={"name": name}) for speaker, name in zip(conversation.speakers, "ABC", strict=True)
    ), "prompt": "A man talks to B."})  # fmt: skip
    assert choose_prompt(replace(shown, conversation=letters))[0] == "A man talks to B."


def test_segments_with_directions_count_their_own_network_calls(material: Path) -> None:
    """Three segments; the one in which somebody nods is guided by its words, too: a third call."""
    model = find_model(str(material / "model"))
    options = RenderOptions(Path("o.mp4"), overrides={"text_guidance_scale": 1.0, "cue_guidance_scale": 3.0})
    plans = []
    for directions in ([], [{"does": "nods", "speaker": "Ann", "start": 0.6, "end": 0.7}]):
        fields = {"image": "photo.png", "speakers": [{"name": "Ann", "audio": "a.wav"}], "directions": directions}
        plans.append(plan(replace(scene(LEFT), conversation=Conversation.model_validate(fields)), model, options))
    plain, directed = plans
    assert plain.passes == (2, 2, 2)
    assert directed.passes == (2, 3, 2)
    frames = [segment.num_frames for segment in plain.segments.segments]
    assert directed.segment_work == tuple(
        2 * count * calls for count, calls in zip(frames, directed.passes, strict=True)
    )
    assert directed.work - plain.work == 2 * frames[1]
    nothing, without, half, all_of_it = (
        expected_seconds(model, plain.segments, plain.size, 1, 2, passes, 1e9)
        for passes in ((0, 0, 0), plain.passes, directed.passes, (3, 3, 3))
    )
    assert without < half < all_of_it
    assert all_of_it - nothing == pytest.approx(1.5 * (without - nothing))  # nothing: decoding is left
