"""A clip's beginning as an input of `talkies generate`: the first frame as photograph, a recording per voice, the file.

What is rendered stops at the first frame; everything after it is left to a model.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from PIL import Image

from talkies.media.shards import encode_wav
from talkies.media.staging import staged
from talkies.stage.clips import SETS
from talkies.stage.screening import LARGEST, perform

_FINER = 3  # times as many pixels a side as the photograph has are drawn, where the renderer can: hair is thin
_TEXTURE = 2048


def write_example(
    folder: Path, set_name: str, index: int, scale: float, assets: Path | None, silent: tuple[int, ...] = ()
) -> Path:
    """Writes `photo.png`, `voice-1.wav`, ... and `conversation.yaml` into `folder`, and returns the last.

    Args:
        folder: Made if missing.
        set_name, index, scale, assets: See `talkies.stage.screening.perform`.
        silent: People (from 1) who stay silent though they speak in the clip.

    Raises:
        InputError: No such set, or a size that cannot be filmed.
    """
    spec = SETS.get(set_name)
    finer = max(1, min(_FINER, int(LARGEST / (scale * max(spec.height, spec.width))))) if spec else 1
    clip = perform(set_name, index, scale * finer, assets, _TEXTURE, filmed=1)
    folder.mkdir(parents=True, exist_ok=True)
    with staged(folder / "photo.png") as scratch:
        Image.fromarray(clip.take.frames[0]).reduce(finer).save(scratch, format="PNG", optimize=True)
    speakers: list[dict[str, str]] = []
    for number, track in enumerate(clip.tracks, 1):
        speaker = {"name": f"Person {number}"}
        if track.waveform.any() and number not in silent:
            speaker["audio"] = f"voice-{number}.wav"
            with staged(folder / speaker["audio"]) as scratch:
                scratch.write_bytes(encode_wav(track.waveform))
        speakers.append(speaker)
    conversation = {"image": "photo.png", "prompt": clip.captions[0], "speakers": speakers}
    path = folder / "conversation.yaml"
    with staged(path) as scratch:
        scratch.write_text(yaml.safe_dump(conversation, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path
