"""Trains the head of `WhisperSpeechEncoder` to hear what lips do (recipe stage 0).

    talkies nano speech runs/recipes/speech.yaml

Whisper stays as it is; its hidden states are computed once per utterance (with throat, room, noise, microphone and
codec varied), and a head of a few convolutions learns the face units of the mouth from them, on hundreds of synthetic
voices: those of the tracks, and utterances that nobody is filmed with, which cost next to nothing. What the head passes
on to the transformer is its last layer before the read-out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file
from torch import Tensor, nn

from talkies.checkpoints.whisper import load_whisper_encoder, read_ctranslate2
from talkies.domain.face_units import FACE_UNITS
from talkies.media.acoustics import Acoustics
from talkies.media.vocal_tract import move_formants, other_throat
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.training.composites import Track, find_tracks
from talkies.training.prepare import normalise_loudness

#: Units that speech decides; the rest of the face follows mood and chance.
SPOKEN_UNITS = tuple(i for i, name in enumerate(FACE_UNITS) if name.startswith(("jaw", "mouth", "tongue")))


class SpeechRecipe(BaseModel):
    """Everything that decides a run."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    whisper: Path
    tracks: Path
    validation: Path
    output: Path
    utterances: int = Field(0, description="Further voices, of nobody on film.")
    start: Path | None = Field(None, description="An encoder whose head goes on learning.")
    variants: int = Field(2, description="Takes of each sound: as it is, then of other throats and places.")
    frames: int = Field(57, description="Frames of a training sample.")
    steps: int = 4000
    batch_size: int = 16
    learning_rate: float = 1e-3
    threads: int = 1
    seed: int = 0


#: A voice `[samples]` at 16 kHz, and the face units `[F, 52]` that belong to it.
Heard = tuple[NDArray[np.float32], NDArray[np.float32]]


def heard_track(track: Track) -> Heard:
    """Sound and face units of a track."""
    with np.load(track.path.with_suffix(".npz"), allow_pickle=False) as labels:
        return labels["waveform"].astype(np.float32) / 32768, labels["face_units"]


@torch.no_grad()
def prepare(
    encoder: WhisperSpeechEncoder, heard: Iterable[Heard], variants: int, say: Callable[[str], None]
) -> list[tuple[Tensor, Tensor]]:
    """Hidden states `[F, 2, taps, hidden]` (fp16) and units `[F, units]` of every sound: as it is, then as others
    say it elsewhere, `variants` in all."""
    prepared = []
    began = time.perf_counter()
    for number, (sound, wanted) in enumerate(heard):
        units = torch.from_numpy(wanted[:, SPOKEN_UNITS])
        waveform = normalise_loudness(sound)
        for variant in range(variants):
            rng = np.random.default_rng([number, variant])
            taken = waveform
            if variant:
                taken = Acoustics.sample(rng).apply(move_formants(waveform, other_throat(rng)))
            states = encoder.hidden_states(encoder.windows(torch.from_numpy(taken), len(units)))
            prepared.append((encoder.join(states, len(units)).half(), units))
        if number % 100 == 99:
            say(f"{number + 1} sounds, {time.perf_counter() - began:.0f} s")
    return prepared


def correlation(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Pearson's r per column of `[n, units]`; 0 where nothing moves."""
    a, b = predicted - predicted.mean(0), wanted - wanted.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-6)


def train(recipe: SpeechRecipe, recite: Callable[[int], Heard], say: Callable[[str], None] = print) -> None:
    """Prepares the data, trains the head, writes the encoder and the log to `output`.

    Args:
        recipe: Everything that decides the run.
        recite: Utterance by number, of training voices.
        say: Told how it goes.
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    recipe.output.mkdir(parents=True, exist_ok=True)
    if recipe.start is None:
        encoder = WhisperSpeechEncoder()
        load_whisper_encoder(encoder, read_ctranslate2(recipe.whisper))
    else:
        encoder = WhisperSpeechEncoder.from_pretrained(recipe.start, torch_dtype=torch.float32)
    encoder.eval()
    filmed = (heard_track(track) for track in find_tracks(recipe.tracks))
    training = prepare(encoder, chain(filmed, map(recite, range(recipe.utterances))), recipe.variants, say)
    unseen = prepare(encoder, map(heard_track, find_tracks(recipe.validation)), 1, say)
    known = torch.cat([units for _, units in training])
    mean, std = known.mean(0), known.std(0).clamp_min(0.02)
    readout = nn.Linear(encoder.channels, len(SPOKEN_UNITS))
    head = [*encoder.norms.parameters(), *encoder.reduce.parameters(), *encoder.listen.parameters()]
    parameters = [*head, *readout.parameters()]
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, (0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.steps, pct_start=0.05)
    rng = np.random.default_rng(recipe.seed)

    def read(states: Tensor) -> Tensor:
        return readout(encoder.head(states.float().flatten(1, 2)).unflatten(1, (-1, 2)).mean(2))  # [n, F, units]

    def draw() -> tuple[Tensor, Tensor]:
        samples = []
        for number in rng.integers(len(training), size=recipe.batch_size):
            states, units = training[number]
            start = int(rng.integers(max(len(units) - recipe.frames, 0) + 1))
            samples.append((states[start : start + recipe.frames], units[start : start + recipe.frames]))
        states, units = zip(*samples, strict=True)
        return torch.stack(states).float(), torch.stack(units)

    for step in range(recipe.steps + 1):
        if step % 500 == 0 or step == recipe.steps:
            with torch.no_grad():
                heard = torch.cat([read(states[None])[0] for states, _ in unseen]) * std + mean
            r = correlation(heard, torch.cat([units for _, units in unseen]))
            jaw = SPOKEN_UNITS.index(FACE_UNITS.index("jawOpen"))
            row = {"step": step, "r_jaw": round(float(r[jaw]), 3), "r_mean": round(float(r[r != 0].mean()), 3)}
            say(json.dumps(row))
            with (recipe.output / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        if step == recipe.steps:
            break
        states, units = draw()
        states = states + 0.05 * states.std() * torch.randn_like(states)
        loss = (read(states) - (units - mean) / std).pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    encoder.save_pretrained(recipe.output / "audio_encoder")
    save_file({**readout.state_dict(), "mean": mean, "std": std}, recipe.output / "readout.safetensors")
