"""Sets as WebDataset shards: tar files of clips with video, sound, labels and a manifest; a datasheet; checksums.

A clip is five or more members of one tar, named by its key:

- `KEY.mp4`: the video, H.264, visually lossless, 25 fps, without sound.
- `KEY.p0.wav`, `KEY.p1.wav`, ...: each person's own voice, 16 kHz mono, 16 bit; silence where nothing is said.
- `KEY.npz`: labels and masks (`clips.truth_arrays`).
- `KEY.json`: the manifest: captions, people, words, turns, gestures, seeds.

Shards appear whole or not at all; a run goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.stage.assets import AssetPack
from talkies.stage.clips import SETS, Clip, make_clip, plan_clip, truth_arrays
from talkies.stage.figure import Figure
from talkies.stage.footage import single_thread
from talkies.stage.identity import Identity
from talkies.stage.motion import FPS

FORMAT = "talkies-clips"
VERSION = 1
CLIPS_PER_SHARD = 16
#: Constant rate factor: no difference can be seen.
_CRF = 12
_FIGURES_KEPT = 16


@dataclass(frozen=True)
class ShardJob:
    """One shard to make.

    Attributes:
        folder: Where. set_name: Of which set. number: Of the shard. clips: In the whole set.
        assets: Asset pack folder or "". texture: Texels of a face. speech_cache: Folder, or "".
    """

    folder: Path
    set_name: str
    number: int
    clips: int
    assets: str = ""
    texture: int = 512
    speech_cache: str = ""

    @property
    def path(self) -> Path:
        return self.folder / f"{self.set_name}-{self.number:05d}.tar"


def write_set(
    folder: Path, set_name: str, clips: int | None = None, *, assets: str = "", texture: int = 512, workers: int = 1,
    speech_cache: str = "",
) -> Iterator[tuple[int, int]]:  # fmt: skip
    """Makes a set; shards that exist are kept.

    Args:
        folder: Made if missing. set_name: One of `SETS`. clips: How many, or the set's own number.
        assets: Folder of an asset pack, or "". texture: Texels of a face's picture.
        workers: Processes, one thread each. speech_cache: Folder for utterances, or "".

    Yields:
        (shards done, shards in all) after each.

    Raises:
        InputError: No such set, no clips, or the folder holds a set made with other settings.
    """
    if set_name not in SETS:
        raise InputError(f"There is no set {set_name}.", f"Choose one of {', '.join(SETS)}.")
    count = SETS[set_name].clips if clips is None else clips
    if count < 1:
        raise InputError(f"{count} clips are no set.", "Ask for at least one.")
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, set_name, count, assets, texture)
    total = -(-count // CLIPS_PER_SHARD)
    jobs = [ShardJob(folder, set_name, k, count, assets, texture, speech_cache) for k in range(total)]
    missing = [job for job in jobs if not job.path.exists()]
    done = total - len(missing)
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=single_thread) as pool:
        for future in as_completed([pool.submit(make_shard, job) for job in missing]):
            future.result()
            done += 1
            yield done, total
    _finish(folder, set_name, count)
    if not missing:
        yield total, total


def _claim(folder: Path, set_name: str, clips: int, assets: str, texture: int) -> None:
    """Writes the set's settings, or checks that they are the same."""
    path = folder / f"{set_name}.json"
    wanted = json.loads(json.dumps({
        "format": FORMAT, "version": VERSION, "set": asdict(SETS[set_name]), "clips": clips,
        "assets": Path(assets).name if assets else "", "texture": texture, "clips_per_shard": CLIPS_PER_SHARD,
    }))  # fmt: skip
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [name for name in wanted if found.get(name) != wanted[name]]
        if different:
            raise InputError(
                f"{folder} holds {set_name} with another {', '.join(different)}.",
                "Choose another folder or the same settings.",
            )
        return
    with staged(path) as scratch:
        scratch.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


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
    with staged(job.path) as scratch, tarfile.open(scratch, "w", format=tarfile.USTAR_FORMAT) as tar:
        for index in range(first, min(first + CLIPS_PER_SHARD, job.clips)):
            plan = plan_clip(SETS[job.set_name], index, CLIPS_PER_SHARD)
            for name, data in members(make_clip(plan, figure, pack, cache)).items():
                entry = tarfile.TarInfo(name)  # owner, mode and time stay at their fixed defaults
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def members(clip: Clip) -> dict[str, bytes]:
    """The files of a clip by name, in the order of the tar."""
    key = clip.plan.key
    files = {f"{key}.mp4": encode_video(clip.take.frames)}
    for k, track in enumerate(clip.tracks):
        files[f"{key}.p{k}.wav"] = encode_wav(track.waveform)
    labels = io.BytesIO()
    np.savez_compressed(labels, **truth_arrays(clip))  # type: ignore[arg-type]
    files[f"{key}.npz"] = labels.getvalue()
    files[f"{key}.json"] = (json.dumps(manifest(clip), indent=1) + "\n").encode()
    return files


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


def encode_video(frames: np.ndarray) -> bytes:
    """`[F, H, W, 3]` uint8 as H.264 in MP4, without sound."""
    height, width = frames.shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with VideoWriter(path, FrameSize(width, height), VideoSettings(crf=_CRF)) as writer:
            writer.write(frames)
        return path.read_bytes()


def encode_wav(waveform: np.ndarray) -> bytes:
    """`[n]` float32 in [-1, 1] as 16-bit mono WAV at 16 kHz."""
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes(np.rint(np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def _finish(folder: Path, set_name: str, clips: int) -> None:
    """Checksums of the shards and the datasheet."""
    from talkies.stage.datasheet import datasheet

    shards = sorted(folder.glob(f"{set_name}-*.tar"))
    lines = []
    for shard in shards:
        with shard.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {shard.name}\n")
    with staged(folder / f"{set_name}.sha256") as scratch:
        scratch.write_text("".join(lines), encoding="utf-8")
    with staged(folder / f"{set_name}.md") as scratch:
        scratch.write_text(datasheet(shards, set_name, clips), encoding="utf-8")


def read_clips(shard: Path) -> Iterator[dict[str, bytes]]:
    """The clips of a shard: member contents by suffix (`mp4`, `p0.wav`, `npz`, `json`), and `key` as UTF-8."""
    clip: dict[str, bytes] = {}
    with tarfile.open(shard, "r:") as tar:
        for member in tar:
            key, _, suffix = member.name.partition(".")
            if clip and clip["key"] != key.encode():
                yield clip
                clip = {}
            stream = tar.extractfile(member)
            clip["key"] = key.encode()
            clip[suffix] = stream.read() if stream else b""
    if clip:
        yield clip
