"""Painted films in which time and place can be read back, and lists of the public sets in small."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from talkies.evaluation.datasets.listed import (
    Listing,
    Window,
)
from talkies.evaluation.datasets.prepare import Step, prepare
from talkies.evaluation.sets import read_sound
from talkies.evaluation.video import VideoFile

Command = Callable[..., tuple[int, str, str]]

WIDTH, HEIGHT, SECONDS, RATE = 160, 96, 3, 16_000
#: When the clap is heard in every video, in seconds.
CLAP = 1.5
ID = "XtySvTwIOfw"


def painted(seconds: float) -> np.ndarray:
    """A grey picture that says where and when: a texture that is nowhere the same, brighter by 50 a second."""
    texture = np.random.default_rng(1).integers(0, 90, (HEIGHT // 2, WIDTH // 2), dtype=np.uint8)
    grey = np.asarray(Image.fromarray(texture).resize((WIDTH, HEIGHT))) + round(20 + 50 * (seconds % 3))
    return np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)


def paint(path: Path, fps: int = 25, seconds: float = SECONDS, sound: bool = True, loud: float = 0.1) -> Path:
    """A video of painted pictures; noise and a clap are heard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as file:
        picture = file.add_stream("libx264", rate=fps, options={"crf": "2", "preset": "ultrafast", "g": str(fps)})
        picture.width, picture.height, picture.pix_fmt = WIDTH, HEIGHT, "yuv444p"
        voice = file.add_stream("aac", rate=RATE, layout="mono") if sound else None
        for number in range(round(seconds * fps)):
            pixels = painted((number + 0.5) / fps)
            file.mux(picture.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(picture.encode(None))
        if voice is not None:
            heard = loud * np.random.default_rng(0).standard_normal(round(seconds * RATE)).clip(-1, 1)
            heard[round(CLAP * RATE) : round(CLAP * RATE) + 160] += 8 * loud
            for start in range(0, len(heard) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(
                    heard[None, start : start + 1024].astype(np.float32), format="fltp", layout="mono"
                )
                block.sample_rate, block.pts = RATE, start
                file.mux(voice.encode(block))
            file.mux(voice.encode(None))
    return path


def hdtf(folder: Path, times: str, crops: str, heights: str = "Radio11.mp4 96\n", urls: str | None = None) -> Path:
    """Lists of the subset RD."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "RD_video_url.txt").write_text(urls or f"Radio11 https://www.youtube.com/watch?v={ID}&t=6s\n")
    (folder / "RD_annotion_time.txt").write_text(times)
    (folder / "RD_crop_wh.txt").write_text(crops)
    (folder / "RD_resolution.txt").write_text(heights)
    return folder


def celebv(folder: Path, **clips: object) -> Path:
    path = folder / "celebvhq_info.json"
    path.write_text(json.dumps({"meta": {}, "clips": clips}))
    return path


def face(
    video: str = ID, start: float = 0.4, end: float = 1.6, box: tuple[float, ...] = (0.1, 0.7, 0.3, 0.6)
) -> object:
    sides = dict(zip(("top", "bottom", "left", "right"), box, strict=True))
    return {"ytb_id": video, "duration": {"start_sec": start, "end_sec": end}, "bbox": sides, "attributes": {}}


def run(name: str, lists: Path, videos: Path, out: Path, **options: object) -> list[Step]:
    return list(prepare(name, lists, videos, out, **{"side": 64, **options}))  # type: ignore[arg-type]


def rows(out: Path) -> list[dict[str, str]]:
    with (out / "index.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def results(found: list[Step] | Listing) -> dict[str, str]:
    if isinstance(found, Listing):
        return {line.name: line.result for line in found.refused}
    return {step.row.clip: step.row.result for step in found}


def check_frames(path: Path, window: Window, start: float, count: int, size: tuple[int, int] = (64, 64),
                 fps: int = 25) -> None:  # fmt: skip
    """The clip shows `window` from `start` on, frame by frame; `fps` is the video's."""
    width, height = size
    frames = VideoFile(path).read().astype(float)
    assert frames.shape == (count, height, width, 3)
    brighter = []
    for number, frame in enumerate(frames):
        shown = np.floor((start + (number + 0.5) / 25) * fps)
        part = painted((shown + 0.5) / fps)[window.top :, window.left :][: window.height, : window.width]
        error = frame - np.asarray(Image.fromarray(part).resize(size, Image.Resampling.LANCZOS))
        assert np.abs(error).mean() < 2.5  # one pixel is 13
        brighter.append(error.mean())
    assert np.abs(brighter).max() < 1.6 and abs(np.mean(brighter)) < 0.9  # one frame is 2, and the encoder errs, too


def check_sound(path: Path, start: float, count: int) -> None:
    """The clap is heard where it is to be, for every reader, and the sound is as long as the pictures."""
    heard = read_sound(path)
    assert int(np.argmax(np.abs(heard) > 0.5)) / RATE == pytest.approx(CLAP - start, abs=0.005)
    assert len(heard) == pytest.approx(count * RATE / 25, abs=1200)
    with av.open(str(path)) as file:
        (voice,) = file.streams.audio
        assert (voice.codec_context.sample_rate, voice.codec_context.channels) == (RATE, 1)
