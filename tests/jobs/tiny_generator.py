"""A generator that draws: real pictures, real sound, a real file, in segments that survive a kill. No torch."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from talkies.domain.clip import FrameSize, frames_for
from talkies.domain.timeline import Timeline, lay_out
from talkies.jobs.job import Task
from talkies.jobs.work import PREVIEW, UNFINISHED, VIDEO, Report
from talkies.media.audio import Mix, inspect
from talkies.media.conversation_file import resolve_paths
from talkies.media.frame_store import FrameStore
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter

SIZE = FrameSize(64, 48)


@dataclass(frozen=True)
class Tiny:
    """A `talkies.jobs.work.Generator`.

    Attributes:
        segments: How many.
        pause: Seconds each takes.
    """

    segments: int = 4
    pause: float = 0.02

    def __call__(self, task: Task, folder: Path, report: Report) -> None:
        """Draws `folder/video.mp4`; what it does is noted, line by line, in `folder/journal`."""
        report(0.0, "looking and listening")
        mix = _sound(task, folder)
        report.describe(mix.seconds, str(SIZE))
        store = FrameStore(folder / UNFINISHED)
        frames = frames_for(mix.seconds)
        bounds = [frames * number // self.segments for number in range(self.segments + 1)]
        finished = set(store.segments())
        for number in range(self.segments):
            report(number / self.segments, f"segment {number + 1}/{self.segments}")
            if number in finished:
                continue
            time.sleep(self.pause)
            store.save(number, np.stack([_draw(index, frames) for index in range(bounds[number], bounds[number + 1])]))
            note(folder, f"segment {number}")
            with staged(folder / PREVIEW) as temporary:
                Image.fromarray(_draw(bounds[number], frames)).save(temporary, format="JPEG")
        settings = VideoSettings(fps=Fraction(task.fps), crf=30)
        with staged(folder / VIDEO) as temporary, VideoWriter(temporary, SIZE, settings, mix) as writer:
            for number in range(self.segments):
                writer.write(store.load(number))
        note(folder, "video")
        store.remove()


def note(folder: Path, line: str) -> None:
    """Adds a line to the job's journal in one write."""
    handle = os.open(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(handle, f"{line}\n".encode())
    os.close(handle)


def _draw(index: int, frames: int) -> np.ndarray:
    image = Image.new("RGB", (SIZE.width, SIZE.height), (40, 60, 120))
    mouth = 2 + 6 * (index % 5) / 4
    for x in (16, 48):
        ImageDraw.Draw(image).ellipse((x - 10, 12, x + 10, 40), fill=(230, 190, 160))
        ImageDraw.Draw(image).ellipse((x - 4, 32 - mouth / 2, x + 4, 32 + mouth / 2), fill=(120, 20, 30))
    ImageDraw.Draw(image).rectangle((0, 45, 64 * index // frames, 47), fill=(255, 255, 255))
    return np.asarray(image)


def _sound(task: Task, folder: Path) -> Mix:
    conversation = resolve_paths(task.conversation, [folder])
    turns = conversation.turn_list()
    recordings = {turn.audio: inspect(turn.audio) for turn in turns if turn.audio is not None}
    timeline: Timeline = lay_out(
        conversation, [(turn.audio, recordings[turn.audio].seconds) for turn in turns if turn.audio is not None]
    )
    seconds = timeline.duration if task.seconds is None else min(task.seconds, timeline.duration)
    return Mix.of(timeline, recordings, seconds)
