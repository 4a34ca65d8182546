"""The authors' own input JSON, read as it is and turned into a conversation.

Its fields: `prompt`, `cond_image`, `cond_audio` (`person1`, `person2`, ...), `audio_type` (`para`: both at once, `add`:
one after the other), `bbox` (row first: [row_min, column_min, row_max, column_max]), or `tts_audio` (`text` with `(s1)`
and `(s2)` before each one's lines, `human1_voice`, `human2_voice`) in place of recordings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from talkies.domain.errors import InputError

_FIELDS = {"prompt", "cond_image", "cond_audio", "audio_type", "bbox", "tts_audio", "cond_video"}
_PERSON = re.compile(r"person([1-9]\d?)")
_LINE = re.compile(r"\(s([1-9]\d?)\)\s*([^(]*(?:\((?!s[1-9])[^(]*)*)")


def is_official(data: Any) -> bool:
    """Whether a decoded JSON document is in the authors' format."""
    return isinstance(data, Mapping) and ("cond_image" in data or "cond_audio" in data or "tts_audio" in data)


def from_official(data: Mapping[str, Any]) -> dict[str, Any]:
    """The same request as the fields of a `Conversation` (validated by it afterwards).

    Raises:
        InputError: A field is unknown, missing or not what the authors' program expects there.
    """
    unknown = sorted(set(map(str, data)) - _FIELDS)
    if unknown:
        raise InputError(f"Unknown field {unknown[0]!r} in the authors' input format.",
                         f"Known: {', '.join(sorted(_FIELDS))}.")  # fmt: skip
    if data.get("cond_video") is not None:
        raise InputError("cond_video (dubbing an existing video) is not supported.", "Give cond_image.")
    if not isinstance(data.get("cond_image"), str):
        raise InputError("cond_image is missing: the path of the picture.")
    boxes = _mapping(data, "bbox")
    result: dict[str, Any] = {"image": data["cond_image"]}
    if data.get("prompt") is not None:
        result["prompt"] = data["prompt"]
    if data.get("cond_audio"):
        audio = _mapping(data, "cond_audio")
        people = _people(audio, "cond_audio")
        result["speakers"] = [_speaker(person, boxes, audio=audio[person]) for person in people]
        kind = data.get("audio_type", "para")
        if kind not in ("para", "add"):
            raise InputError(f"audio_type is {kind!r}.", "It is 'para' (both at once) or 'add' (one after the other).")
        result["turns"] = "together" if kind == "para" else "in_turn"
    elif data.get("tts_audio"):
        result.update(_spoken(_mapping(data, "tts_audio"), boxes))
    else:
        raise InputError("Neither cond_audio nor tts_audio is given: nobody speaks.")
    names = {speaker["name"] for speaker in result["speakers"]}
    stray = sorted(set(boxes) - names)
    if stray:
        raise InputError(f"bbox names {stray[0]!r}, who has no audio.", f"People here: {', '.join(sorted(names))}.")
    return result


def _mapping(data: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = data.get(field) or {}
    if not isinstance(value, Mapping):
        raise InputError(f"{field} must be an object.", 'Like {"person1": ..., "person2": ...}.')
    return value


def _people(entries: Mapping[str, Any], field: str) -> list[str]:
    for key in entries:
        if not _PERSON.fullmatch(str(key)):
            raise InputError(f"{field} has the entry {key!r}.", "Entries are called person1, person2, ...")
    return sorted(entries, key=lambda key: int(key.removeprefix("person")))


def _speaker(person: str, boxes: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    speaker = {"name": person, **{key: value for key, value in fields.items() if value not in (None, "", "None")}}
    if person in boxes:
        box = boxes[person]
        if not (
            isinstance(box, list | tuple)
            and len(box) == 4
            and all(isinstance(value, int | float) and not isinstance(value, bool) for value in box)
        ):
            raise InputError(f"bbox of {person} is {box!r}.", "It is [row_min, column_min, row_max, column_max].")
        # Their slices truncate, and negative numbers would count from the far edge: cut at 0.
        row_min, column_min, row_max, column_max = (max(0, int(value)) for value in box)
        if row_max <= row_min or column_max <= column_min:
            raise InputError(
                f"bbox of {person} is empty: {list(box)}.", "It is [row_min, column_min, row_max, column_max]."
            )
        speaker["region"] = {"box": (column_min, row_min, column_max, row_max)}
    return speaker


def _spoken(tts: Mapping[str, Any], boxes: Mapping[str, Any]) -> dict[str, Any]:
    """Speakers and turns of a `tts_audio` entry; a text without `(s1)` marks is all the first person's."""
    text = tts.get("text")
    if not isinstance(text, str) or not text.strip():
        raise InputError("tts_audio.text is missing: what is to be said.")
    lines = [(int(person), line.strip()) for person, line in _LINE.findall(text) if line.strip()] or [(1, text.strip())]
    voices = [key for key in tts if re.fullmatch(r"human[1-9]\d?_voice", str(key)) and tts[key]]
    people = sorted({person for person, _ in lines} | {int(re.sub(r"\D", "", key)) for key in voices})
    speakers = []
    for person in people:
        voice = tts.get(f"human{person}_voice")
        if voice is not None and not isinstance(voice, str):
            raise InputError(f"tts_audio.human{person}_voice is {voice!r}.", "It is the name or path of a voice.")
        # They name a voice by the path of its weights, as in weights/Kokoro-82M/voices/am_adam.pt.
        speakers.append(_speaker(f"person{person}", boxes, voice=PurePath(voice).stem if voice else None))
    if len(speakers) == 1:
        return {"speakers": [speakers[0] | {"text": " ".join(line for _, line in lines)}], "turns": "together"}
    return {"speakers": speakers, "turns": [{"speaker": f"person{person}", "text": line} for person, line in lines]}
