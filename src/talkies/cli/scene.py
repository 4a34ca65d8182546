"""A conversation made ready: everything decoded, measured, found and checked, before any network runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.cli.voices import speak
from talkies.domain.clip import CoverCrop, FrameSize, frames_for
from talkies.domain.conversation import Conversation
from talkies.domain.errors import InputError
from talkies.domain.timeline import Timeline, lay_out
from talkies.media.audio import Mix, Recording, Samples, inspect, speech_track
from talkies.media.image import fill_frame, frame_coordinates, load_image, load_mask
from talkies.media.people import Person, assign, cover, draw, masks_at


@dataclass(frozen=True)
class Scene:
    """What a video is made from.

    Attributes:
        conversation: With absolute paths.
        image: The picture, upright RGB, at its own size.
        people: The speakers in their order, then bystanders.
        timeline: Who says what and when; texts have become files.
        recordings: Measurements of every sound file.
        seconds: Length of the video.
        notes: What the user should know, one line each.
    """

    conversation: Conversation
    image: Image.Image
    people: tuple[Person, ...]
    timeline: Timeline
    recordings: dict[Path, Recording]
    seconds: float
    notes: tuple[str, ...]

    @property
    def num_frames(self) -> int:
        """Length of the video at the model's 25 frames per second."""
        return frames_for(self.seconds)

    def crop(self, size: FrameSize) -> CoverCrop:
        """How the picture fills frames of `size`."""
        return CoverCrop.of(FrameSize(*self.image.size), size)

    def frame(self, size: FrameSize) -> Image.Image:
        """The picture at the frames' size."""
        return fill_frame(self.image, self.crop(size))

    def within(self, size: FrameSize, token: int) -> Scene:
        """Without the bystanders of whom the network would see nothing; nobody asked for them.

        Args:
            size: Of the frames.
            token: The network sees one point of every `token` x `token` pixels.
        """
        rows, columns = frame_coordinates(self.crop(size))
        seen = [bool(shown.any()) for shown in cover(self.people, rows[::token], columns[::token])]
        people = (person for person, shows in zip(self.people, seen, strict=True) if shows or not person.bystander)
        return replace(self, people=tuple(people))

    def masks(self, size: FrameSize) -> NDArray[np.bool_]:
        """Everybody's region in frames of `size`: `[people, height, width]`.

        Raises:
            InputError: Somebody lies outside the frame.
        """
        return masks_at(self.people, *frame_coordinates(self.crop(size)))

    def preview(self, size: FrameSize) -> Image.Image:
        """The first frame with everybody's numbered region."""
        return draw(self.frame(size), self.people, self.masks(size))

    def voices(self, folder: Path) -> list[Samples | None]:
        """What each person says, as the model hears it; None for who is silent throughout."""
        tracks: list[Samples | None] = []
        for index in range(len(self.people)):
            mine = self.timeline.of(index)
            tracks.append(speech_track(mine, self.recordings, self.seconds, folder) if mine else None)
        return tracks

    def liveliness(self) -> list[float | None]:
        """How lively each person is to be; None where nothing was asked."""
        speakers = self.conversation.speakers
        return [speakers[k].liveliness if k < len(speakers) else None for k in range(len(self.people))]

    def mix(self) -> Mix:
        """What is heard in the finished video."""
        return Mix.of(self.timeline, self.recordings, self.num_frames / 25)

    def sources(self) -> list[Path]:
        """Every file it is made from: picture, masks, recordings."""
        masks = [speaker.region.mask for speaker in self.conversation.speakers if speaker.region]
        recordings = dict.fromkeys(utterance.audio for utterance in self.timeline.utterances)
        return [self.conversation.image, *[mask for mask in masks if mask is not None], *recordings]


def prepare(conversation: Conversation, folder: Path, seconds: float | None = None) -> Scene:
    """Decodes and checks everything a conversation names.

    Args:
        conversation: With absolute paths.
        folder: Where spoken texts become files.
        seconds: Stops the video there; None is the whole conversation.

    Raises:
        InputError: Something in it cannot be used; names it.
    """
    image = load_image(conversation.image)
    masks = {
        index: load_mask(speaker.region.mask, image.size, f"mask of {speaker.name!r}")
        for index, speaker in enumerate(conversation.speakers)
        if speaker.region is not None and speaker.region.mask is not None
    }
    timeline, recordings, notes = _listen(conversation, folder)
    people = assign(conversation, image, masks)
    notes += _notes(conversation, people, timeline, recordings)
    length = timeline.duration if seconds is None else min(seconds, timeline.duration)
    late = [direction for direction in conversation.directions if direction.start >= length]
    notes += [f"{direction.does!r} begins at {direction.start:g} s, after the video's end." for direction in late]
    return Scene(conversation, image, people, timeline, recordings, length, tuple(notes))


def _listen(conversation: Conversation, folder: Path) -> tuple[Timeline, dict[Path, Recording], list[str]]:
    recordings: dict[Path, Recording] = {}
    placed: list[tuple[Path, float]] = []
    notes: list[str] = []
    for index, turn in enumerate(conversation.turn_list()):
        if not turn.says_something:
            continue
        path = turn.audio
        if path is None:
            person = conversation.index_of(turn.speaker)
            path, note = speak(str(turn.text), conversation.speakers[person], person, folder / f"turn-{index}.wav")
            if note and note not in notes:
                notes.append(note)
        if path not in recordings:
            recordings[path] = inspect(path)
        placed.append((path, recordings[path].seconds))
    return lay_out(conversation, placed), recordings, notes


def _notes(
    conversation: Conversation, people: tuple[Person, ...], timeline: Timeline, recordings: dict[Path, Recording]
) -> list[str]:
    notes = [f"{path.name} is silent." for path, recording in recordings.items() if recording.silent]
    if people[0].everything:
        notes.append("Nobody was found in the picture: the whole of it counts as the speaker.")
    bystanders = [person for person in people if person.bystander]
    if bystanders:
        were = "more person was" if len(bystanders) == 1 else "more people were"
        notes.append(f"{len(bystanders)} {were} found than speakers: kept silent. Say who speaks with a region each.")
    silent = [speaker.name for index, speaker in enumerate(conversation.speakers) if not timeline.of(index)]
    if silent:
        notes.append(f"Silent throughout: {', '.join(silent)}.")
    return notes


def shorthand(image: Path | None, voices: list[str], base: Conversation | None) -> dict[str, object]:
    """Fields of a conversation from `--image` and `--speaker`, laid over those of a file.

    Args:
        image: The picture; None keeps the file's.
        voices: One sound file per person, left to right; `none` for a silent one. Empty keeps the file's.
        base: The file's conversation.

    Raises:
        InputError: Without a file both are needed; with one, as many voices as it has speakers.
    """
    if base is None:
        if image is None or not voices:
            raise InputError(
                "Give a conversation file, or --image and at least one --speaker.",
                "For example: talkies generate --image photo.png --speaker left.wav --speaker right.wav -o out.mp4",
            )
        return {"image": image, "speakers": [{"audio": _voice(voice)} for voice in voices]}
    fields: dict[str, object] = base.model_dump(exclude_unset=True)
    if image is not None:
        fields["image"] = image
    if voices:
        if len(voices) != len(base.speakers):
            raise InputError(
                f"{len(voices)} --speaker options were given for the {len(base.speakers)} speakers of the file."
            )
        if not isinstance(base.turns, str):
            raise InputError("--speaker cannot replace the recordings of a timeline.", "Change the file's turns.")
        speakers = [speaker.model_dump(exclude_unset=True) for speaker in base.speakers]
        for speaker, voice in zip(speakers, voices, strict=True):
            speaker.pop("text", None)
            speaker["audio"] = _voice(voice)
        fields["speakers"] = speakers
    return fields


#: What stands for a silent person on the command line.
SILENT_WORDS = ("none", "silent", "-")


def _voice(text: str) -> Path | None:
    return None if text.strip().lower() in SILENT_WORDS else Path(text)
