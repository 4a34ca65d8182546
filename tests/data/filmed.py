"""Small videos for tests: discs for faces, sung vowels for speech."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.signal import lfilter

from talkies.media.people import Face

RATE = 16_000
#: Colours of the discs that are faces.
COLOURS = ((230, 120, 40), (60, 200, 230))
_VOWELS = ((730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410))


def vowels(seconds: float, seed: int = 0, pitch: float = 120.0) -> NDArray[np.float32]:
    """`[seconds * 16000]`: a buzz through formants that glide between five vowels (Peterson and Barney 1952)."""
    rng = np.random.default_rng(seed)
    count = round(seconds * RATE)
    times, knots = np.arange(count) / RATE, np.arange(0, seconds + 0.2, 0.1)
    melody = pitch * np.interp(times, knots, np.exp(0.12 * rng.standard_normal(len(knots))))
    buzz = lfilter([1], [1, -0.9], np.diff(np.floor(np.cumsum(melody / RATE)), prepend=0.0))
    targets = np.array(_VOWELS)[rng.integers(len(_VOWELS), size=len(knots))]
    loudness = np.interp(times, knots, rng.uniform(0.1, 1, len(knots)))
    state = [np.zeros(2) for _ in range(3)]
    pieces = []
    for start in range(0, count, 80):
        piece = buzz[start : start + 80]
        for k, width in enumerate((80, 100, 140)):
            centre = 2 * np.pi * np.interp(times[start], knots, targets[:, k]) / RATE
            r = np.exp(-np.pi * width / RATE)
            poles = [1, -2 * r * np.cos(centre), r * r]
            piece, state[k] = lfilter([sum(poles)], poles, piece, zi=state[k])
        pieces.append(piece)
    sound = np.concatenate(pieces) * loudness
    return np.asarray(0.3 * sound / np.abs(sound).max(), np.float32)


def scene(frames: int, centres: Sequence[tuple[float, float]], seed: int = 0, height: int = 120, width: int = 160,
          radius: int = 18) -> NDArray[np.uint8]:  # fmt: skip
    """`[F, H, W, 3]`: discs with freckles sway a little before a ground of the seed's colours."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(0, 60, 3) + rng.integers(0, 4) * 40 + rng.integers(0, 25, (height, width, 1))
    freckles = rng.integers(-14, 15, (2 * radius + 1, 2 * radius + 1, 1))
    out = np.repeat(np.clip(ground, 0, 190)[None], frames, 0).astype(np.uint8)
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = x**2 + y**2 <= radius**2
    for time in range(frames):
        for k, (cx, cy) in enumerate(centres):
            left = round(cx + 2 * np.sin(time / 4 + k)) - radius
            top = round(cy + np.cos(time / 3 + k)) - radius
            room = out[time, top : top + 2 * radius + 1, left : left + 2 * radius + 1]
            room[disc] = np.clip(np.array(COLOURS[k]) + freckles, 0, 255)[disc]
    return out


def find_discs(image: Image.Image) -> tuple[Face, ...]:
    """A face detector for `scene`."""
    pixels = np.asarray(image.convert("RGB")).astype(int)
    faces = []
    for colour in COLOURS:
        ys, xs = np.nonzero(np.abs(pixels - np.array(colour)).max(2) < 45)
        if len(ys) > 80:
            left, right = np.percentile(xs, [1, 99])
            top, bottom = np.percentile(ys, [1, 99])
            faces.append(Face(float(left), float(top), float(right) + 1, float(bottom) + 1, 0.9))
    return tuple(faces)


def write_video(path: Path, frames: NDArray[np.uint8], sound: NDArray[np.float32] | None, fps: int = 25,
                late: float = 0.0) -> Path:  # fmt: skip
    """H.264 and AAC, a key frame every second; the sound begins `late` seconds after the pictures."""
    with av.open(str(path), "w") as file:
        picture = file.add_stream("libx264", rate=fps, options={"crf": "14", "preset": "ultrafast", "g": str(fps)})
        picture.height, picture.width = frames.shape[1:3]
        picture.pix_fmt = "yuv420p"
        voice = file.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for pixels in frames:
            file.mux(picture.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")))
        file.mux(picture.encode(None))
        if voice is not None and sound is not None:
            for start in range(0, len(sound) - 1023, 1024):
                block = av.AudioFrame.from_ndarray(sound[None, start : start + 1024], format="fltp", layout="mono")
                block.sample_rate, block.pts = RATE, start + round(late * RATE)
                file.mux(voice.encode(block))
            file.mux(voice.encode(None))
    return path
