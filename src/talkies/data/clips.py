"""From a stretch of a shot to a clip: followed, framed, heard, judged, masked, described."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.data.captions import Describe, Seen
from talkies.data.framing import Window, find_window, framing_name
from talkies.data.quality import measure_picture, measure_sound, numbers
from talkies.data.settings import FootageSettings
from talkies.data.shots import Stretch
from talkies.data.speakers import SAMPLES_PER_FRAME, Flags, Moment, SpeakerFinder, Spoken, Voice, turns_of
from talkies.data.tracking import Detector, FaceTrack, track_faces
from talkies.data.verdict import LeftOutError
from talkies.domain.clip import FPS, FrameSize
from talkies.domain.errors import InputError, TalkiesError
from talkies.domain.manifest import ClipManifest, PersonEntry, TurnEntry
from talkies.media.people import Person, masks_at
from talkies.media.shards import clip_members
from talkies.media.video_source import VideoSource


@dataclass(frozen=True)
class Tools:
    """What a clip is made with.

    Attributes:
        detect: Finds faces. find_speakers: Gives everybody their voice. describe: Writes captions.
    """

    detect: Detector
    find_speakers: SpeakerFinder
    describe: Describe


@dataclass(frozen=True)
class Part:
    """A part of a video that is being worked on.

    Attributes:
        source: The video. fingerprint: Of its content. start: Seconds at which the part begins. number: Of the part.
        sound: `[n]` 16 kHz mono. speech: `[n // 640]` whether anybody speaks.
    """

    source: VideoSource
    fingerprint: str
    start: float
    number: int
    sound: Voice
    speech: Flags


@dataclass(frozen=True)
class Made:
    """A finished clip: its files by name, and what it was measured by."""

    key: str
    people: int
    members: dict[str, bytes]
    quality: dict[str, float | None]


def make_clip(part: Part, stretch: Stretch, settings: FootageSettings, tools: Tools) -> Made:
    """Makes a clip of a stretch.

    Raises:
        LeftOutError: It is not good enough; the reason says in which respect.
    """
    count = len(stretch.frames)
    moment = _listen(part, stretch)
    if tools.find_speakers.hears_video:  # cheaper than looking for faces
        if not moment.sound.any():
            raise LeftOutError("no sound")
        measure_sound((moment.sound,), moment.speech[None]).judge(settings.limits)
    tracks = track_faces(stretch.frames, settings.detect_every, settings.most_people, tools.detect)
    size = settings.frame_size(len(tracks))
    height, width = stretch.frames.shape[1:3]
    window = find_window(tracks, FrameSize(width, height), size)
    frames = window.cut(stretch.frames)
    moved = tuple(window.move(track) for track in tracks)
    picture = measure_picture(frames, moved, window.scale * part.source.size.width / width)
    picture.judge(settings.limits)
    spoken = tools.find_speakers(Moment(moment.start, stretch.frames, tracks, moment.sound, moment.speech))
    sound = measure_sound(spoken.voices, spoken.speaking)
    sound.judge(settings.limits)
    masks = person_masks(moved, count, size)
    framing = framing_name(moved, size)
    quality = numbers(picture, sound)
    key = f"{settings.name}-{part.fingerprint}-{part.number:04d}-{stretch.first:05d}"
    manifest = ClipManifest(
        key=key, set=settings.name, split=settings.split, frames=count, fps=FPS, height=size.height, width=size.width,
        source="footage", captions=_describe(frames[count // 2], framing, spoken, tools.describe),
        people=_people(part, stretch, moved, masks), framing=framing,
        turns=tuple(TurnEntry.model_validate(turn) for turn in turns_of(spoken.speaking)),
        origin={
            "file": part.source.path.name, "fingerprint": part.fingerprint, "start": round(moment.start, 3),
            "shot": stretch.shot, "window": _in_source(window, part.source, width), "masks": "grown from faces",
            "quality": quality,
        },
    )  # fmt: skip
    labels = _labels(moved, masks, spoken)
    members = clip_members(key, frames, spoken.voices, labels, manifest.model_dump(mode="json"))
    return Made(key, len(tracks), members, quality)


def _listen(part: Part, stretch: Stretch) -> Moment:
    """The sound of a stretch; faces come later."""
    first, count = stretch.first, len(stretch.frames)
    sound = part.sound[first * SAMPLES_PER_FRAME : (first + count) * SAMPLES_PER_FRAME]
    sound = np.pad(sound, (0, count * SAMPLES_PER_FRAME - len(sound)))
    speech = part.speech[first : first + count]
    speech = np.pad(speech, (0, count - len(speech)))
    return Moment(part.start + first / FPS, stretch.frames, (), sound, speech)


def person_masks(tracks: Sequence[FaceTrack], count: int, size: FrameSize) -> NDArray[np.uint8]:
    """Whose every pixel is, grown from the faces as for generation: `[F, H, W]`, person k is k + 1, nobody 0.

    Raises:
        LeftOutError: Somebody is hidden by others.
    """
    rows, columns = np.arange(size.height), np.arange(size.width)
    out = np.zeros((count, size.height, size.width), np.uint8)
    for frame in range(count):
        people = [Person(str(k), face=track.face(frame)) for k, track in enumerate(tracks)]
        try:
            masks = masks_at(people, rows, columns)
        except InputError:
            raise LeftOutError("hidden person", f"in frame {frame}") from None
        for k, mask in enumerate(masks):
            out[frame][mask] = k + 1
    return out


def _labels(
    tracks: Sequence[FaceTrack], masks: NDArray[np.uint8], spoken: Spoken
) -> dict[str, NDArray[np.generic]]:  # fmt: skip
    """Labels under the stage's names, those that footage has."""
    labels: dict[str, NDArray[np.generic]] = {"masks": masks}
    for k, (track, speaking) in enumerate(zip(tracks, spoken.speaking, strict=True)):
        labels[f"p{k}/face_box"] = track.boxes
        labels[f"p{k}/speaking"] = speaking
    return labels


def _people(
    part: Part, stretch: Stretch, tracks: Sequence[FaceTrack], masks: NDArray[np.uint8]
) -> tuple[PersonEntry, ...]:
    people = []
    for k, track in enumerate(tracks):
        ys, xs = np.nonzero((masks == k + 1).any(0))
        left, top = (round(float(value), 1) for value in track.boxes[:, :2].min(0))
        right, bottom = (round(float(value), 1) for value in track.boxes[:, 2:].max(0))
        people.append(
            PersonEntry(
                id=f"{part.fingerprint}-{part.number}-{stretch.shot}-{k}",
                audio=f"p{k}.wav",
                box=(int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1),
                face_box=(left, top, right, bottom),
            )
        )
    return tuple(people)


def _in_source(window: Window, source: VideoSource, width: int) -> list[float]:
    """The window in pixels of the video: left, top, right, bottom."""
    scale = source.size.width / width
    corners = (window.left, window.top, window.left + window.width, window.top + window.height)
    return [round(value * scale, 1) for value in corners]


def _describe(picture: NDArray[np.uint8], framing: str, spoken: Spoken, describe: Describe) -> tuple[str, ...]:
    speakers = tuple(bool(flags.any()) for flags in spoken.speaking)
    try:
        return describe(Seen(Image.fromarray(picture), framing, speakers))
    except TalkiesError as error:
        raise LeftOutError("caption failed", str(error)) from None
