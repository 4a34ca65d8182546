"""A request's pictures and voices, from wherever they are referred to into a job's folder, re-encoded."""

from __future__ import annotations

import base64
import binascii
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from talkies.domain.conversation import Conversation
from talkies.domain.timeline import lay_out
from talkies.media.conversation_file import validate
from talkies.serving.errors import ApiError
from talkies.serving.schemas import FileReference, SpeakerIn, VideoCreate
from talkies.serving.uploads import Facts, Files, Kind, Sanitizer, Source

_DATA = re.compile(r"data:[\w.+/;=-]{0,100}?;base64,", re.ASCII)


class Inputs:
    """Collects what a request refers to, then re-encodes all of it in one go.

    Args:
        owner: Whose request it is.
        folder: The job's `inputs` folder.
        attachments: Parts of the form by name, as they came.
        files: Uploaded files.
    """

    def __init__(self, owner: str, folder: Path, attachments: Mapping[str, Path], files: Files) -> None:
        self._owner, self._folder, self._attachments, self._files = owner, folder, attachments, files
        self._known: dict[tuple[str, Kind], Path] = {}  # reference -> target without suffix
        self._facts: dict[Path, Facts] = {}
        self._sources: list[Source] = []

    def add(self, reference: str, kind: Kind, param: str, incoming: Path) -> Path:
        """Notes a file.

        Args:
            reference: Id of an uploaded file, `data:` URL, or `attach://PART`.
            kind: What it must be.
            param: The field, for messages.
            incoming: Folder for decoded `data:` URLs.

        Returns:
            Its place in the job's folder, without a suffix; `path` knows the whole name after `take`.

        Raises:
            ApiError: There is no such thing, or it is not allowed.
        """
        if (reference, kind) in self._known:
            return self._known[reference, kind]
        target = self._folder / f"{kind}-{len(self._known)}"
        self._known[reference, kind] = target
        if reference.startswith("file-"):
            self._link(reference, kind, target, param)
        elif reference.startswith("attach://"):
            part = self._attachments.get(reference.removeprefix("attach://"))
            if part is None:
                raise ApiError(400, "invalid_reference", f"{param}: this form has no file part of that name.", param)
            self._sources.append(Source(part, kind, target, param))
        elif (match := _DATA.match(reference)) is not None:
            raw = incoming / target.name
            try:
                raw.write_bytes(base64.b64decode(reference[match.end() :], validate=True))
            except (binascii.Error, ValueError):
                raise ApiError(400, "invalid_reference", f"{param}: the data URL is not valid base64.", param) from None
            self._sources.append(Source(raw, kind, target, param))
        else:
            raise ApiError(
                400,
                "invalid_reference",
                f"{param} must be the id of an uploaded file, a data: URL, or attach://PART of this form; "
                "paths of the server and addresses on the network are not read.",
                param,
            )
        return target

    def take(self, sanitizer: Sanitizer) -> None:
        """Re-encodes what was noted.

        Raises:
            ApiError: Something was refused.
        """
        order = {"image": 0, "mask": 1}
        sources = sorted(self._sources, key=lambda source: order.get(source.kind, 2))
        image = next((facts for target, facts in self._facts.items() if target.name.startswith("image-")), None)
        size = None if image is None else (int(image.width or 0), int(image.height or 0))
        for source, facts in zip(sources, sanitizer.run(sources, size), strict=True):
            self._facts[source.target] = facts

    def path(self, target: Path) -> str:
        """A file's path as the job knows it, relative to its folder."""
        return f"{self._folder.name}/{self._facts[target].path}"

    def seconds(self, path: Path) -> float:
        """Length of a recording, by its path from `path`."""
        return next(float(facts.seconds or 0) for facts in self._facts.values() if facts.path == path.name)

    def _link(self, upload_id: str, kind: Kind, target: Path, param: str) -> None:
        try:
            upload = self._files.get(self._owner, upload_id)
        except ApiError as error:
            raise ApiError(400, "invalid_reference", f"{param}: {error}", param) from None
        if upload.kind != ("audio" if kind == "audio" else "image"):
            raise ApiError(400, "invalid_reference", f"{param}: {upload_id} is not {kind}.", param)
        original = self._files.path(self._owner, upload_id)
        if kind == "mask":  # its size must be checked against the picture's
            self._sources.append(Source(original, kind, target, param))
            return
        place = target.with_suffix(original.suffix)
        try:
            os.link(original, place)
        except OSError:
            shutil.copyfile(original, place)
        self._facts[target] = upload.facts.model_copy(update={"path": place.name})


def gather(
    request: VideoCreate, consent: str, inputs: Inputs, sanitizer: Sanitizer, incoming: Path
) -> tuple[Conversation, float | None]:
    """The conversation of a request, its files in the job's folder.

    Args:
        request: The request.
        consent: Who stands for the people shown.
        inputs: Where files come from and go.
        sanitizer: What re-encodes them.
        incoming: Where decoded data URLs may lie meanwhile.

    Returns:
        The conversation with relative paths, and the length of the video in seconds (None with texts to be spoken).

    Raises:
        ApiError: A file was refused or a reference leads nowhere.
        InputError: The conversation is not consistent.
    """
    if request.input_reference is None:
        raise ApiError(400, "missing_picture", "A picture of the people is needed.", "input_reference")
    if not request.speakers:
        raise ApiError(400, "missing_speakers", "Who speaks? Give speakers, each with audio or text.", "speakers")
    picture = request.input_reference
    if isinstance(picture, FileReference):
        chosen = picture.file_id or picture.image_url
        if chosen is None or (picture.file_id and picture.image_url):
            raise ApiError(400, "invalid_reference", "Give file_id or image_url.", "input_reference")
        picture = chosen
    with tempfile.TemporaryDirectory(dir=incoming) as temporary:
        folder = Path(temporary)
        image = inputs.add(picture, "image", "input_reference", folder)
        places = [_places(inputs, speaker, index, folder) for index, speaker in enumerate(request.speakers)]
        turns = request.turns if isinstance(request.turns, list) else []
        spoken = [
            inputs.add(turn.audio, "audio", f"turns[{index}].audio", folder) if turn.audio else None
            for index, turn in enumerate(turns)
        ]
        inputs.take(sanitizer)
    fields: dict[str, Any] = {
        "image": inputs.path(image),
        "prompt": request.prompt or None,
        "negative_prompt": request.negative_prompt,
        "consent": consent,
        "speakers": [
            _speaker(inputs, speaker, *found) for speaker, found in zip(request.speakers, places, strict=True)
        ],
    }
    if request.directions:
        fields["directions"] = [direction.model_dump(exclude_none=True) for direction in request.directions]
    if turns:
        fields["turns"] = [
            turn.model_dump(exclude_none=True) | ({"audio": inputs.path(place)} if place else {})
            for turn, place in zip(turns, spoken, strict=True)
        ]
    elif request.turns:
        fields["turns"] = request.turns
    conversation = validate(fields, "The request")
    return conversation, _length(conversation, inputs, request.seconds)


def _places(inputs: Inputs, speaker: SpeakerIn, index: int, incoming: Path) -> tuple[Path | None, Path | None]:
    where = f"speakers[{index}]"
    audio = inputs.add(speaker.audio, "audio", f"{where}.audio", incoming) if speaker.audio else None
    shape = speaker.region.mask if speaker.region else None
    return audio, inputs.add(shape, "mask", f"{where}.region.mask", incoming) if shape else None


def _speaker(inputs: Inputs, speaker: SpeakerIn, audio: Path | None, mask: Path | None) -> dict[str, Any]:
    fields = speaker.model_dump(exclude_none=True)
    if audio is not None:
        fields["audio"] = inputs.path(audio)
    if mask is not None:
        fields["region"]["mask"] = inputs.path(mask)
    return fields


def _length(conversation: Conversation, inputs: Inputs, cut: float | None) -> float | None:
    turns = conversation.turn_list()
    if any(turn.text is not None for turn in turns):
        return None
    recordings = [(turn.audio, inputs.seconds(turn.audio)) for turn in turns if turn.audio is not None]
    duration = lay_out(conversation, recordings).duration
    return duration if cut is None else min(cut, duration)
