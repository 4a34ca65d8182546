"""The prompt of a scene: the user's, a caption of the picture, or a neutral one."""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

from talkies.domain.conversation import DIRECTION_SECONDS
from talkies.domain.directions import Cue
from talkies.domain.timeline import Reaction, Utterance

if TYPE_CHECKING:
    from talkies.cli.scene import Scene

_PLACES = {
    1: ("in the picture",),
    2: ("on the left", "on the right"),
    3: ("on the left", "in the middle", "on the right"),
}
_NUMBERS = ("", "One person", "Two people", "Three people", "Four people", "Five people", "Six people")


def choose_prompt(scene: Scene) -> tuple[str, str]:
    """The prompt, and a line on where it comes from when the user gave none."""
    if scene.conversation.prompt:
        return _by_place(scene, scene.conversation.prompt), ""
    from talkies.pipelines.captioner import find_captioner

    captioner = find_captioner()
    if captioner is None:
        return neutral_prompt(scene), (
            "No prompt was given and no captioning model is here (`talkies models fetch captioner`): "
            "a neutral prompt is used."
        )
    return captioner.caption(scene.image, describe_people(scene)), "No prompt was given: the picture was captioned."


def neutral_prompt(scene: Scene) -> str:
    """A prompt that claims nothing about the picture but who speaks and who listens."""
    count = len(scene.people)
    if count == 1:
        return "A person is speaking in a natural way, with lively expressions and small movements of the head."
    number = _NUMBERS[count] if count < len(_NUMBERS) else f"{count} people"
    return (
        f"{number} are in a conversation. {describe_people(scene)} Natural expressions, small gestures, steady camera."
    )


def describe_people(scene: Scene) -> str:
    """Everybody by position and what they do: `The person on the left is talking. ...`"""
    return " ".join(
        f"{name} {'is talking' if scene.timeline.of(index) else 'is listening in silence'}."
        for index, name in _names(scene).items()
    )


def cues(scene: Scene) -> tuple[Cue, ...]:
    """What happens when: the conversation's directions, reactions, and what people do while they speak."""
    names, conversation = _names(scene), scene.conversation
    found = []
    for direction in conversation.directions:
        end = direction.start + DIRECTION_SECONDS if direction.end is None else direction.end
        person = None if direction.speaker is None else conversation.index_of(direction.speaker)
        subject = "" if person is None else names[person]
        found.append(Cue(_sentence(subject, _by_place(scene, direction.does)), direction.start, end, person))
    deeds: list[Utterance | Reaction] = [*scene.timeline.utterances, *scene.timeline.reactions]
    for deed in deeds:
        if deed.does:
            does = _by_place(scene, deed.does)
            found.append(Cue(_sentence(names[deed.person], does), deed.start, deed.end, deed.person))
    return tuple(sorted(found, key=lambda cue: cue.start))


def _by_place(scene: Scene, prompt: str) -> str:
    """The prompt with people's names replaced by where they are, since a model sees places and no names.

    Names of one letter are left alone: "A" is a word.
    """
    by_index = _names(scene)
    speakers = enumerate(scene.conversation.speakers)
    places = {unicodedata.normalize("NFC", speaker.name): by_index[index] for index, speaker in speakers}
    names = "|".join(re.escape(name) for name in sorted(places, key=len, reverse=True) if len(name) > 1)
    if not names:
        return prompt

    def place_of(found: re.Match[str]) -> str:
        begins = not found.string[: found.start()].strip() or found.string[: found.start()].rstrip()[-1] in ".!?"
        place = places[found[0]]
        return place if begins else f"{place[0].lower()}{place[1:]}"

    return re.sub(rf"(?<!\w)(?:{names})(?!\w)", place_of, unicodedata.normalize("NFC", prompt))


def _sentence(subject: str, does: str) -> str:
    text = f"{subject} {does}".strip()
    return text if text[-1] in ".!?。" else f"{text}."


def _names(scene: Scene) -> dict[int, str]:
    """Everybody by position, from the left: `The person on the left`."""
    order = sorted(range(len(scene.people)), key=lambda index: _position(scene, index))
    places = _PLACES.get(len(order)) or tuple(f"number {number} from the left" for number in range(1, len(order) + 1))
    return {index: f"The person {place}" for place, index in zip(places, order, strict=True)}


def _position(scene: Scene, index: int) -> float:
    """x of the middle of a person, in pixels of the picture."""
    import numpy as np

    person = scene.people[index]
    if person.mask is not None:  # as the pipeline sees who stands left of whom
        return float(np.nonzero(person.mask)[1].mean())
    if person.box is not None:
        return (person.box[0] + person.box[2]) / 2
    return person.face.centre[0] if person.face is not None else scene.image.width / 2
