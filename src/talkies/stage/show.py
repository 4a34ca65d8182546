"""Looking at what was made: contact sheets and side-by-side films of clips and tracks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.media.shards import decode_video, read_clips
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.stage.assets import AssetPack

Frames = NDArray[np.uint8]
_GROUND = (118, 122, 128)
_GAP = 2


@dataclass(frozen=True)
class Shown:
    """Something to look at: a name, `[F, H, W, 3]` uint8 frames, a line about it."""

    name: str
    frames: Frames
    caption: str


def find_clips(folder: Path, limit: int, name: str = "") -> list[Shown]:
    """The first `limit` clips of the shards of a folder, or tracks where there are no shards.

    Args:
        folder: Of `talkies stage render` or `talkies stage tracks`. limit: At most. name: Shards that begin so.

    Raises:
        InputError: There is nothing.
    """
    shown: list[Shown] = []
    for clip in _clips(folder, name):
        shown.append(clip)
        if len(shown) == limit:
            break
    if not shown:
        raise InputError(f"There are no clips or tracks in {folder}.", "Make some: talkies stage render --out DIR")
    return shown


def find_shards(folder: Path, name: str = "") -> list[Path]:
    """Shards of a folder whose names begin so, in order; not what a stopped run left half-written."""
    return sorted(path for path in folder.glob(f"{name}*.tar") if not path.name.startswith("."))


def _clips(folder: Path, name: str) -> Iterator[Shown]:
    shards = find_shards(folder, name)
    for shard in shards:
        for clip in read_clips(shard):
            manifest = json.loads(clip["json"])
            yield Shown(manifest["key"], decode_video(clip["mp4"]), manifest["captions"][0])
    if not shards:
        for path in sorted(folder.glob(f"{name}*.npy")):
            frames = np.load(path, mmap_mode="r", allow_pickle=False)
            yield Shown(path.stem, on_ground(frames), "")


def on_ground(frames: Frames) -> Frames:
    """Premultiplied RGBA `[F, H, W, 4]` over a grey ground."""
    ground = np.array(_GROUND, np.float32)
    out = np.empty((*frames.shape[:3], 3), np.uint8)
    for k, frame in enumerate(frames):
        hole = 1 - frame[..., 3:].astype(np.float32) / 255
        out[k] = np.clip(frame[..., :3] + ground * hole + 0.5, 0, 255).astype(np.uint8)
    return out


def contact_sheet(clips: list[Shown], columns: int, moments: int = 1) -> Frames:
    """Frames of many clips on one sheet, `[H, W, 3]`: `moments` evenly spread frames of each, side by side."""
    cells = []
    for clip in clips:
        times = np.linspace(0.15, 0.85, moments) * (len(clip.frames) - 1)
        cells.append(np.concatenate([clip.frames[round(float(t))] for t in times], axis=1))
    height, width = max(c.shape[0] for c in cells), max(c.shape[1] for c in cells)
    rows = -(-len(cells) // columns)
    sheet = np.empty((rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), np.uint8)
    sheet[:] = _GROUND
    for k, cell in enumerate(cells):
        y, x = (k // columns) * (height + _GAP), (k % columns) * (width + _GAP)
        sheet[y : y + cell.shape[0], x : x + cell.shape[1]] = cell
    return sheet


def portraits(first: int, count: int, side: int, assets: Path | None = None) -> list[Shown]:
    """People by their seeds, each in another light and attitude: one square frame of `side` pixels each."""
    from talkies.stage.background import Background
    from talkies.stage.camera import Camera
    from talkies.stage.clips import person_words
    from talkies.stage.figure import Figure
    from talkies.stage.identity import Identity
    from talkies.stage.light import Light
    from talkies.stage.motion import Style
    from talkies.stage.renderer import Actor, Placement
    from talkies.stage.scene import Scene, shoot
    from talkies.stage.tracks import listen

    pack = AssetPack.open(assets) if assets is not None else None
    shown = []
    for seed in range(first, first + count):
        rng = np.random.default_rng([0x90, seed])
        identity = Identity.sample(seed)
        style = Style.sample(rng)
        track = listen(seed, 1, "idle", float(rng.uniform(-25, 25)), style)
        figure = Figure.build(identity, assets, texture=512)
        actor = Actor(figure, track.performance, Placement(yaw=float(rng.uniform(-12, 12))))
        background = Background.sample(rng, side, side)
        scene = Scene((actor,), Camera.framing((0.0, 0.15, 0.0), 3.6), Light.sample(rng), background)
        words = person_words(identity, pack, style, "idle", ())
        looks = ", ".join((words.sex, f"{words.age:.0f}", words.hair, words.wears, *words.features))
        shown.append(Shown(f"{seed}", shoot(scene).frames, looks))
    return shown


def save_picture(picture: Frames, path: Path) -> None:
    """A sheet as PNG or JPEG, by the name's suffix."""
    from PIL import Image

    with staged(path) as scratch:
        Image.fromarray(picture).save(scratch, quality=88)


def side_by_side(clips: list[Shown], columns: int, path: Path, scale: float = 1.0) -> None:
    """A silent film of many clips at once; short ones stop on their last frame."""
    length = max(len(clip.frames) for clip in clips)
    sheet = contact_sheet(clips, columns)
    width, height = (round(side * scale / 2) * 2 for side in (sheet.shape[1], sheet.shape[0]))
    with staged(path) as scratch, VideoWriter(scratch, FrameSize(width, height), VideoSettings()) as writer:
        for time in range(length):
            now = [Shown(c.name, c.frames[min(time, len(c.frames) - 1)][None], "") for c in clips]
            picture = cv2.resize(contact_sheet(now, columns), (width, height), interpolation=cv2.INTER_AREA)
            writer.write(np.asarray(picture, np.uint8)[None])
