"""The unit of work: one part of one video, from file to shard. Workers and clusters run `prepare_part`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict

from talkies.data.captions import Describe, PlainCaptions
from talkies.data.clips import Part, Tools, make_clip
from talkies.data.report import PartRecord, Row
from talkies.data.settings import FootageSettings
from talkies.data.shots import Stretch, stretches
from talkies.data.speakers import SIDECAR, Given, OneFace, SpeakerFinder, VoicesGiven, speech_frames
from talkies.data.tracking import Detector, find_large_faces
from talkies.data.verdict import LeftOutError
from talkies.domain.clip import FPS
from talkies.domain.errors import InputError
from talkies.media.shards import write_shard
from talkies.media.video_source import VideoSource

#: Folder of the parts' rows, inside the set's folder; a part is done when its rows are there.
ROWS = "parts"
_ENDS = 1 << 20


class PartJob(BaseModel):
    """One part to make. It travels as JSON.

    Attributes:
        video: The file. fingerprint: Of it. voices: Digest of the file beside it that says who speaks, or "".
        number: Of the part. start, seconds: Of the video.
        folder: Where shards go. settings: Of the set.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    video: Path
    fingerprint: str
    voices: str
    number: int
    start: float
    seconds: float
    folder: Path
    settings: FootageSettings

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.settings.name}-{self.fingerprint}-{self.number:04d}"

    @property
    def shard(self) -> Path:
        """The tar; there is none if no clip was good enough."""
        return self.folder / f"{self.name}.tar"

    @property
    def rows(self) -> Path:
        """What became of it; written last."""
        return self.folder / ROWS / f"{self.name}.json"


@dataclass(frozen=True)
class Helpers:
    """Parts of the work that can be exchanged; they are pickled when they travel.

    Attributes:
        describe: Writes captions.
        find_speakers: Gives voices where no file beside the video does.
        detect: Finds faces.
    """

    describe: Describe = field(default_factory=PlainCaptions)
    find_speakers: SpeakerFinder = field(default_factory=OneFace)
    detect: Detector = find_large_faces


def fingerprint(video: Path) -> tuple[str, str]:
    """Sixteen hex digits of a file's size and ends, enough to tell files apart; the same of the voices file, or "".

    Raises:
        InputError: It cannot be read.
    """
    digest = hashlib.blake2b(digest_size=8)
    try:
        size = video.stat().st_size
        digest.update(str(size).encode())
        with video.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, size - _ENDS))
            digest.update(file.read(_ENDS))
        beside = video.with_suffix(SIDECAR)
        voices = hashlib.blake2b(beside.read_bytes(), digest_size=8).hexdigest() if beside.is_file() else ""
    except OSError as error:
        raise InputError(f"{video} cannot be read: {error.strerror or error}.") from None
    return digest.hexdigest(), voices


def prepare_part(job: PartJob, helpers: Helpers) -> list[Row]:
    """Makes the clips of a part and writes its shard, then its rows.

    A video that breaks off gives the clips before that, and a row that says so.

    Raises:
        TalkiesError: The output cannot be written, or a needed library is missing.
    """
    rows: list[Row] = []
    clips = _clips(job, helpers, rows)
    first = next(clips, None)
    if first is not None:
        write_shard(job.shard, chain([first], clips))
    else:
        job.shard.unlink(missing_ok=True)  # of other voices
    job.rows.parent.mkdir(exist_ok=True)
    PartRecord(voices=job.voices, rows=tuple(rows)).write(job.rows)
    return rows


def _clips(job: PartJob, helpers: Helpers, rows: list[Row]) -> Iterator[dict[str, bytes]]:
    """Members of every good clip; a row for every one."""
    settings = job.settings
    try:
        source = VideoSource.open(job.video)
        given = VoicesGiven.beside(job.video)
        speakers = helpers.find_speakers if given is None else Given(given)
        part = _part(source, job, speakers)
        tools = Tools(helpers.detect, speakers, helpers.describe)
        frames = source.frames(job.start, job.seconds, settings.working_side)
        for stretch in stretches(frames, settings.shortest, settings.longest):
            row = _row(job, stretch)
            try:
                made = make_clip(part, stretch, settings, tools)
            except LeftOutError as error:
                rows.append(row.model_copy(update={"result": error.reason, "detail": error.detail}))
                continue
            rows.append(row.model_copy(update={"key": made.key, "people": made.people, "quality": made.quality}))
            yield made.members
    except InputError as error:
        rows.append(
            Row(video=job.video.name, part=job.number, start=job.start, result="broken video", detail=str(error))
        )


def _part(source: VideoSource, job: PartJob, speakers: SpeakerFinder) -> Part:
    if not (source.sound and speakers.hears_video):
        nothing = round(job.seconds * FPS)
        return Part(source, job.fingerprint, job.start, job.number, np.zeros(0, np.float32), np.zeros(nothing, bool))
    sound = source.speech(job.start, job.seconds)
    return Part(source, job.fingerprint, job.start, job.number, sound, speech_frames(sound))


def _row(job: PartJob, stretch: Stretch) -> Row:
    start = round(job.start + stretch.first / FPS, 3)
    return Row(video=job.video.name, part=job.number, shot=stretch.shot, start=start, frames=len(stretch.frames))
