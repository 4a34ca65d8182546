"""Clips on disk: WebDataset shards with video, one voice per person, labels and a manifest, synthetic or filmed.

A clip is five or more members of one tar, named by its key:

- `KEY.mp4`: the video, H.264, visually lossless, 25 fps, without sound.
- `KEY.p0.wav`, `KEY.p1.wav`, ...: each person's own voice, 16 kHz mono, 16 bit; silence where nothing is said.
- `KEY.npz`: labels and masks.
- `KEY.json`: the manifest (`domain.manifest.ClipManifest`).

Shards appear whole or not at all; equal clips give equal bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FrameSize
from talkies.domain.errors import InputError
from talkies.media.colours import as_rgb
from talkies.media.resampling import SAMPLING_RATE
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter

#: Constant rate factor: no difference can be seen.
_CRF = 12
#: No member of a shard is larger, in bytes: a clip is some seconds.
MAX_MEMBER = 1 << 29


def write_shard(path: Path, clips: Iterable[Mapping[str, bytes]]) -> None:
    """Writes clips, each its members by name in the order of the tar, as they come."""
    with staged(path) as scratch, tarfile.open(scratch, "w", format=tarfile.USTAR_FORMAT) as tar:
        for clip in clips:
            for name, data in clip.items():
                entry = tarfile.TarInfo(name)  # owner, mode and time stay at their fixed defaults
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def read_clips(shard: Path) -> Iterator[dict[str, bytes]]:
    """The clips of a shard: member contents by suffix (`mp4`, `p0.wav`, `npz`, `json`), and `key` as UTF-8.

    Raises:
        InputError: It is no shard, or a member is larger than `MAX_MEMBER`.
    """
    clip: dict[str, bytes] = {}
    try:
        with tarfile.open(shard, "r:") as tar:
            for member in tar:
                if member.size > MAX_MEMBER:
                    raise InputError(f"{member.name} in {shard.name} is larger than {MAX_MEMBER >> 20} MiB.")
                key, _, suffix = member.name.partition(".")
                if clip and clip["key"] != key.encode():
                    yield clip
                    clip = {}
                stream = tar.extractfile(member)
                clip["key"] = key.encode()
                clip[suffix] = stream.read() if stream else b""
    except tarfile.TarError as error:
        raise InputError(f"{shard} is no shard of clips: {error}.") from None
    if clip:
        yield clip


def clip_members(
    key: str, frames: NDArray[np.uint8], voices: Iterable[NDArray[np.float32]],
    labels: Mapping[str, NDArray[np.generic]], manifest: Mapping[str, Any],
) -> dict[str, bytes]:  # fmt: skip
    """The files of a clip by name, in the order of the tar.

    Args:
        key: The clip's name; no dots. frames: `[F, H, W, 3]`. voices: Per person `[F * 640]`, full scale at 1.
        labels: Arrays by name. manifest: JSON.
    """
    files = {f"{key}.mp4": encode_video(frames)}
    for person, voice in enumerate(voices):
        files[f"{key}.p{person}.wav"] = encode_wav(voice)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **labels)  # type: ignore[arg-type]
    files[f"{key}.npz"] = buffer.getvalue()
    files[f"{key}.json"] = (json.dumps(manifest, indent=1) + "\n").encode()
    return files


def encode_video(frames: NDArray[np.uint8]) -> bytes:
    """`[F, H, W, 3]` uint8 as H.264 in MP4, without sound."""
    height, width = frames.shape[1:3]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        with VideoWriter(path, FrameSize(width, height), VideoSettings(crf=_CRF)) as writer:
            writer.write(frames)
        return path.read_bytes()


def decode_video(data: bytes) -> NDArray[np.uint8]:
    """All frames of an MP4, `[F, H, W, 3]` uint8."""
    import av

    with av.open(io.BytesIO(data), "r") as container:
        return np.stack([as_rgb(frame) for frame in container.decode(video=0)])


def encode_wav(waveform: NDArray[np.float32]) -> bytes:
    """`[n]` float32 in [-1, 1] as 16-bit mono WAV at 16 kHz."""
    import wave

    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLING_RATE)
        file.writeframes(np.rint(np.clip(waveform, -1, 1) * 32767).astype("<i2").tobytes())
    return buffer.getvalue()


def claim(folder: Path, name: str, settings: Mapping[str, Any]) -> None:
    """Writes what decides a set as `NAME.json`, or checks that the folder's set was made with the same.

    Raises:
        InputError: It was made with other settings.
    """
    path = folder / f"{name}.json"
    wanted = json.loads(json.dumps(settings))
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        different = [key for key in wanted if found.get(key) != wanted[key]]
        if different:
            raise InputError(
                f"{folder} holds {name} with another {', '.join(different)}.",
                "Choose another folder or the same settings.",
            )
        return
    with staged(path) as scratch:
        scratch.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")


def write_checksums(path: Path, shards: Iterable[Path]) -> None:
    """SHA-256 of every shard, as `sha256sum -c` reads it."""
    lines = []
    for shard in shards:
        with shard.open("rb") as file:
            lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {shard.name}\n")
    with staged(path) as scratch:
        scratch.write_text("".join(lines), encoding="utf-8")
