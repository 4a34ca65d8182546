"""One clip as a film to watch: performed, filmed at any size, with its voices mixed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.domain.timeline import Timeline, Utterance
from talkies.media.audio import Mix, inspect
from talkies.media.shards import encode_wav
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter, format_of
from talkies.stage.assets import AssetPack
from talkies.stage.clips import SETS, Clip, make_clip, plan_clip
from talkies.stage.figure import Figure
from talkies.stage.identity import Identity

#: Pixels of the longer side that can be filmed.
LARGEST = 2048


def perform(
    set_name: str, index: int, scale: float, assets: Path | None, texture: int = 1024, filmed: int | None = None
) -> Clip:
    """Performs and films clip `index` of a set.

    Args:
        set_name: One of `SETS`. index: Number of the clip. scale: Of the set's own size.
        assets: Folder of an asset pack, or None.
        texture: Texels of the face's picture.
        filmed: How many of the first frames are filmed; None films all.

    Raises:
        InputError: No such set, or a size that cannot be filmed.
    """
    if set_name not in SETS:
        raise InputError(f"There is no set {set_name!r}.", f"The sets: {', '.join(SETS)}.")
    spec = SETS[set_name]
    height, width = (round(side * scale / 2) * 2 for side in (spec.height, spec.width))
    if not 32 <= min(height, width) <= max(height, width) <= LARGEST:
        raise InputError(
            f"{width}x{height} cannot be filmed.", f"Choose a --scale that gives sides of 32 to {LARGEST}."
        )
    pack = AssetPack.open(assets) if assets else None
    plan = plan_clip(replace(spec, height=height, width=width), index)
    return make_clip(plan, _builder(pack, texture), pack, filmed=filmed)


def screen(set_name: str, index: int, scale: float, path: Path, assets: Path | None) -> Clip:
    """Films a clip (`perform`) and writes it with sound to `path`, whose suffix is the format."""
    settings = VideoSettings(format_of(path), metadata={"comment": f"rendered: talkies stage film, {set_name} {index}"})
    clip = perform(set_name, index, scale, assets)
    height, width = clip.take.frames.shape[1:3]
    with tempfile.TemporaryDirectory(prefix="talkies-") as folder:
        sound = _mix(clip, Path(folder))
        with staged(path) as scratch, VideoWriter(scratch, FrameSize(width, height), settings, sound) as writer:
            writer.write(clip.take.frames)
    return clip


def _builder(pack: AssetPack | None, texture: int) -> Callable[[int, str], Figure]:
    def build(seed: int, extent: str) -> Figure:
        return Figure.build(Identity.sample(seed), pack.root if pack else None, extent=extent, texture=texture)

    return build


def _mix(clip: Clip, folder: Path) -> Mix | None:
    """All voices from the clip's start; None when nobody says anything."""
    seconds = clip.plan.frames / 25
    recordings = {}
    for person, track in enumerate(clip.tracks):
        if track.waveform.any():
            voice = folder / f"{person}.wav"
            voice.write_bytes(encode_wav(track.waveform))
            recordings[voice] = inspect(voice)
    said = tuple(Utterance(person, voice, 0.0, seconds) for person, voice in enumerate(recordings))
    return Mix.of(Timeline(said), recordings, seconds) if said else None
