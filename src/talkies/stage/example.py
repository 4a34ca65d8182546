"""A clip's beginning as an input of `talkies generate`: the first frame as photograph, a recording per voice, the file.

What is rendered stops at the first frame; everything after it is left to a model.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from PIL import Image

from talkies.domain.errors import InputError
from talkies.media.resampling import SAMPLING_RATE
from talkies.media.shards import encode_wav
from talkies.media.staging import staged
from talkies.stage.clips import SETS, ClipPlan, plan_clip
from talkies.stage.identity import Identity
from talkies.stage.screening import LARGEST, perform
from talkies.stage.voices import Voice, available_voices, render

_FINER = 3  # times as many pixels a side as the photograph has are drawn, where the renderer can: hair is thin
_TEXTURE = 2048
_PAUSE = 0.2  # seconds before, between and after what is said
_AUDIBLE = 0.02  # of the loudest sample


def write_example(
    folder: Path,
    set_name: str,
    index: int,
    scale: float,
    assets: Path | None,
    silent: tuple[int, ...] = (),
    says: tuple[str, ...] = (),
) -> Path:
    """Writes `photo.png`, `voice-1.wav`, ... and `conversation.yaml` into `folder`, and returns the last.

    Args:
        folder: Made if missing.
        set_name, index, scale, assets: See `talkies.stage.screening.perform`.
        silent: People (from 1) who stay silent though they speak in the clip.
        says: What is said instead of the clip's conversation, one after the other, from left to right and over again;
            whose turn is empty says nothing.

    Raises:
        InputError: No such set, a size that cannot be filmed, nobody who speaks, or what no voice can say.
    """
    spec = SETS.get(set_name)
    if spec and not spec.speech and not says:
        raise InputError(f"Nobody speaks in {set_name}.", "Tell what is said: --say 'Hello.'")
    spoken = converse_as_written(plan_clip(spec, index), says) if spec and says else None
    finer = max(1, min(_FINER, int(LARGEST / (scale * max(spec.height, spec.width))))) if spec else 1
    clip = perform(set_name, index, scale * finer, assets, _TEXTURE, filmed=1)
    folder.mkdir(parents=True, exist_ok=True)
    with staged(folder / "photo.png") as scratch:
        Image.fromarray(clip.take.frames[0]).reduce(finer).save(scratch, format="PNG", optimize=True)
    speakers: list[dict[str, str]] = []
    for number, voice in enumerate(spoken or [track.waveform for track in clip.tracks], 1):
        speaker = {"name": f"Person {number}"}
        if voice.any() and number not in silent:
            speaker["audio"] = f"voice-{number}.wav"
            with staged(folder / speaker["audio"]) as scratch:
                scratch.write_bytes(encode_wav(voice))
        speakers.append(speaker)
    prompt = {} if spoken else {"prompt": clip.captions[0]}  # which tells of the clip's own conversation
    conversation = {"image": "photo.png", **prompt, "speakers": speakers}
    path = folder / "conversation.yaml"
    with staged(path) as scratch:
        scratch.write_text(yaml.safe_dump(conversation, sort_keys=False, allow_unicode=True), encoding="utf-8")
    return path


def converse_as_written(plan: ClipPlan, says: tuple[str, ...]) -> list[NDArray[np.float32]]:
    """Everybody's recording, `[n]` at 16 kHz each and equally long, of people who say `says` one after the other.

    Args:
        plan: Whose people speak, in voices of its split. says: See `write_example`.

    Raises:
        InputError: Nothing is said, or a voice cannot say it.
    """
    voices = _voices(plan)
    if not any(text.strip() for text in says):
        raise InputError("Nothing is said.", "Give somebody a word.")
    pieces = [
        _audible(render(text, voices[turn % len(voices)])) if text.strip() else np.zeros(0, np.float32)
        for turn, text in enumerate(says)
    ]
    pause = np.zeros(round(_PAUSE * SAMPLING_RATE), np.float32)
    out = []
    for person in range(len(voices)):
        own = [piece * (turn % len(voices) == person) for turn, piece in enumerate(pieces)]
        out.append(np.concatenate([part for piece in own for part in (pause, piece)] + [pause]))
    return out


def _audible(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
    heard = np.flatnonzero(np.abs(waveform) > _AUDIBLE * np.abs(waveform).max())
    return waveform[heard[0] : heard[-1] + 1]


def _voices(plan: ClipPlan) -> list[Voice]:
    """A voice of the plan's split for everybody, no two alike: of their register, and natural, where there are such."""
    rng = np.random.default_rng([0x5A7, plan.seed])
    left = list(available_voices(plan.spec.split))
    chosen = []
    for seed in plan.seeds:
        register = "low" if Identity.sample(seed).sex == "male" else "high"
        misfits = [(voice.register != register, voice.engine != "kokoro") for voice in left]
        fitting = [k for k, misfit in enumerate(misfits) if misfit == min(misfits)]
        chosen.append(left.pop(fitting[int(rng.integers(len(fitting)))]))
    return chosen
