"""The stage's sets as shards (`media.shards`): clips with exact truth, a datasheet, checksums.

Labels are those of `clips.truth_arrays`. Shards appear whole or not at all; a run goes on where it stopped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import as_completed
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from talkies.domain.errors import InputError
from talkies.domain.manifest import FORMAT, VERSION
from talkies.media.resampling import SAMPLING_RATE
from talkies.media.shards import claim, clip_members, write_checksums, write_shard
from talkies.media.staging import staged
from talkies.runtime.workers import worker_processes
from talkies.stage.assets import AssetPack
from talkies.stage.clips import SETS, Clip, SetSpec, make_clip, plan_clip, truth_arrays
from talkies.stage.figure import Figure
from talkies.stage.identity import Identity
from talkies.stage.motion import FPS

CLIPS_PER_SHARD = 16
_FIGURES_KEPT = 16


@dataclass(frozen=True)
class ShardJob:
    """One shard to make.

    Attributes:
        folder: Where. set_name: Of which set. number: Of the shard. clips: In the whole set.
        assets: Asset pack folder or "". texture: Texels of a face. speech_cache: Folder, or "".
        size: (height, width) in pixels, or None for the set's own.
    """

    folder: Path
    set_name: str
    number: int
    clips: int
    assets: str = ""
    texture: int = 512
    speech_cache: str = ""
    size: tuple[int, int] | None = None

    @property
    def path(self) -> Path:
        return self.folder / f"{self.set_name}-{self.number:05d}.tar"


def write_set(
    folder: Path, set_name: str, clips: int | None = None, *, assets: str = "", texture: int = 512, workers: int = 1,
    speech_cache: str = "", size: tuple[int, int] | None = None,
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Makes a set; shards that exist are kept.

    Args:
        folder: Made if missing. set_name: One of `SETS`. clips: How many, or the set's own number.
        assets: Folder of an asset pack, or "". texture: Texels of a face's picture.
        workers: Processes, one thread each. speech_cache: Folder for utterances, or "".
        size: (height, width) in pixels, even, 32 to 2048; None: the set's own.

    Yields:
        (shards done, shards in all) after each.

    Raises:
        InputError: No such set, no clips, an impossible size, or the folder holds a set made with other settings.
    """
    if set_name not in SETS:
        raise InputError(f"There is no set {set_name}.", f"Choose one of {', '.join(SETS)}.")
    spec = _sized(SETS[set_name], size)
    count = SETS[set_name].clips if clips is None else clips
    if count < 1:
        raise InputError(f"{count} clips are no set.", "Ask for at least one.")
    folder.mkdir(parents=True, exist_ok=True)
    claim(folder, set_name, {
        "format": FORMAT, "version": VERSION, "set": asdict(spec), "clips": count,
        "assets": Path(assets).name if assets else "", "texture": texture, "clips_per_shard": CLIPS_PER_SHARD,
    })  # fmt: skip
    total = -(-count // CLIPS_PER_SHARD)
    jobs = [ShardJob(folder, set_name, k, count, assets, texture, speech_cache, size) for k in range(total)]
    missing = [job for job in jobs if not job.path.exists()]
    done = total - len(missing)
    with worker_processes(workers) as submit:
        for future in as_completed([submit(make_shard, job) for job in missing]):
            future.result()
            done += 1
            yield done, total
    _finish(folder, set_name, count)
    if not missing:
        yield total, total


def _sized(spec: SetSpec, size: tuple[int, int] | None) -> SetSpec:
    if size is None:
        return spec
    height, width = size
    if height % 2 or width % 2 or not 32 <= min(size) <= max(size) <= 2048:
        raise InputError(f"Clips of {width}x{height} pixels cannot be made.", "Choose even sides of 32 to 2048 pixels.")
    return replace(spec, height=height, width=width)


def make_shard(job: ShardJob) -> None:
    """Films the clips of one shard and writes it."""
    pack = AssetPack.open(Path(job.assets)) if job.assets else None
    kept: OrderedDict[tuple[int, str], Figure] = OrderedDict()

    def figure(seed: int, extent: str) -> Figure:
        if (seed, extent) not in kept:
            kept[seed, extent] = Figure.build(
                Identity.sample(seed), pack.root if pack else None, extent=extent, texture=job.texture
            )
            if len(kept) > _FIGURES_KEPT:
                kept.popitem(last=False)
        kept.move_to_end((seed, extent))
        return kept[seed, extent]

    cache = Path(job.speech_cache) if job.speech_cache else None
    first = job.number * CLIPS_PER_SHARD
    last = min(first + CLIPS_PER_SHARD, job.clips)
    spec = _sized(SETS[job.set_name], job.size)
    plans = (plan_clip(spec, index, CLIPS_PER_SHARD) for index in range(first, last))
    write_shard(job.path, (members(make_clip(plan, figure, pack, cache)) for plan in plans))


def members(clip: Clip) -> dict[str, bytes]:
    """The files of a clip by name, in the order of the tar."""
    voices = [track.waveform for track in clip.tracks]
    return clip_members(clip.plan.key, clip.take.frames, voices, truth_arrays(clip), manifest(clip))


def manifest(clip: Clip) -> dict[str, Any]:
    """What is known of a clip, apart from arrays; boxes are the union over all frames, pixels."""
    plan = clip.plan
    people = []
    for k, (seed, track, truth, words, own) in enumerate(
        zip(plan.seeds, clip.tracks, clip.take.truths, clip.words.people, clip.gestures, strict=True)
    ):
        ys, xs = np.nonzero((clip.take.masks == k + 1).any(0))
        box = [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1] if len(xs) else None
        face = [*truth.face_box[:, :2].min(0), *truth.face_box[:, 2:].max(0)]
        people.append({
            "id": seed, "audio": f"p{k}.wav", "box": box, "face_box": [round(float(v), 1) for v in face],
            "voice": track.voice_id, "text": track.text,
            "words": [[word.text, round(word.start, 3), round(word.end, 3)] for word in track.words],
            "looks": asdict(words), "gestures": [asdict(gesture) for gesture in own],
        })  # fmt: skip
    spec = plan.spec
    return {
        "format": FORMAT, "version": VERSION, "key": plan.key, "set": spec.name, "split": spec.split,
        "frames": plan.frames, "fps": FPS, "height": spec.height, "width": spec.width,
        "sampling_rate": SAMPLING_RATE, "source": "stage", "captions": list(clip.captions), "people": people,
        "turns": [asdict(turn) for turn in clip.turns], "pattern": clip.pattern, "place": clip.words.place,
        "light": clip.words.light, "framing": clip.words.framing, "camera": asdict(plan.layout.camera),
        "seed": plan.seed,
    }  # fmt: skip


def _finish(folder: Path, set_name: str, clips: int) -> None:
    """Checksums of the shards and the datasheet."""
    from talkies.stage.datasheet import datasheet

    shards = sorted(folder.glob(f"{set_name}-*.tar"))
    write_checksums(folder / f"{set_name}.sha256", shards)
    with staged(folder / f"{set_name}.md") as scratch:
        scratch.write_text(datasheet(shards, set_name, clips), encoding="utf-8")
