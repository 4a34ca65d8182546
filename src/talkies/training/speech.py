"""Trains the head of `WhisperSpeechEncoder` to hear what lips do (recipe stage 0).

    talkies nano speech runs/recipes/speech.yaml

Whisper stays as it is; its hidden states are computed once per utterance (with room, noise, microphone and codec
varied), and a head of a few convolutions learns the face units of the mouth from them, on hundreds of synthetic voices.
What the head passes on to the transformer is its last layer before the read-out.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
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
    variants: int = Field(2, description="Takes of each track's sound: the first clean, the others coloured.")
    steps: int = 4000
    batch_size: int = 16
    learning_rate: float = 1e-3
    threads: int = 1
    seed: int = 0


def heard_take(track: Track, variant: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Sound `[samples]` of a track as a microphone might give it, and the face units `[F, 52]` that belong to it."""
    rng = np.random.default_rng([variant, *track.path.stem.encode()])
    with np.load(track.path.with_suffix(".npz"), allow_pickle=False) as labels:
        waveform, units = labels["waveform"].astype(np.float32) / 32768, labels["face_units"]
    waveform = normalise_loudness(waveform)
    return (Acoustics.sample(rng).apply(waveform) if variant else waveform), units


def prepare(
    encoder: WhisperSpeechEncoder, tracks: list[Track], variants: int, say: Callable[[str], None]
) -> tuple[Tensor, Tensor]:
    """Hidden states `[n, F, 2, taps, hidden]` (fp16) and units `[n, F, units]` of every track and variant."""
    hidden, units = [], []
    began = time.perf_counter()
    for number, track in enumerate(tracks):
        for variant in range(variants):
            waveform, wanted = heard_take(track, variant)
            with torch.no_grad():
                states = encoder.hidden_states(encoder.windows(torch.from_numpy(waveform), len(wanted)))
            hidden.append(encoder.join(states, len(wanted)).half())
            units.append(torch.from_numpy(wanted[:, SPOKEN_UNITS]))
        if number % 100 == 99:
            say(f"{number + 1} of {len(tracks)} tracks, {time.perf_counter() - began:.0f} s")
    return torch.stack(hidden), torch.stack(units)


def correlation(predicted: Tensor, wanted: Tensor) -> Tensor:
    """Pearson's r per column of `[n, units]`; 0 where nothing moves."""
    a, b = predicted - predicted.mean(0), wanted - wanted.mean(0)
    return (a * b).sum(0) / (a.norm(dim=0) * b.norm(dim=0)).clamp_min(1e-6)


def train(recipe: SpeechRecipe, say: Callable[[str], None] = print) -> None:
    """Prepares the data, trains the head, writes the encoder and the log to `output`."""
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    recipe.output.mkdir(parents=True, exist_ok=True)
    encoder = WhisperSpeechEncoder()
    load_whisper_encoder(encoder, read_ctranslate2(recipe.whisper))
    encoder.eval()
    hidden, units = prepare(encoder, find_tracks(recipe.tracks), recipe.variants, say)
    unseen_hidden, unseen_units = prepare(encoder, find_tracks(recipe.validation), 1, say)
    mean, std = units.flatten(0, 1).mean(0), units.flatten(0, 1).std(0).clamp_min(0.02)
    readout = nn.Linear(encoder.channels, len(SPOKEN_UNITS))
    head = [*encoder.norms.parameters(), *encoder.reduce.parameters(), *encoder.listen.parameters()]
    parameters = [*head, *readout.parameters()]
    optimizer = torch.optim.AdamW(parameters, recipe.learning_rate, (0.9, 0.98), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, recipe.learning_rate, recipe.steps, pct_start=0.05)
    rng = np.random.default_rng(recipe.seed)

    def read(states: Tensor) -> Tensor:
        return readout(encoder.head(states.float().flatten(1, 2)).unflatten(1, (-1, 2)).mean(2))  # [n, F, units]

    for step in range(recipe.steps + 1):
        if step % 500 == 0:
            with torch.no_grad():
                heard = torch.cat([read(part) for part in unseen_hidden.split(16)]) * std + mean
            r = correlation(heard.flatten(0, 1), unseen_units.flatten(0, 1))
            jaw = SPOKEN_UNITS.index(FACE_UNITS.index("jawOpen"))
            row = {"step": step, "r_jaw": round(float(r[jaw]), 3), "r_mean": round(float(r[r != 0].mean()), 3)}
            say(json.dumps(row))
            with (recipe.output / "log.jsonl").open("a") as log:
                log.write(json.dumps(row) + "\n")
        if step == recipe.steps:
            break
        chosen = rng.integers(len(hidden), size=recipe.batch_size)
        states = hidden[chosen].float()
        states = states + 0.05 * states.std() * torch.randn_like(states)
        loss = (read(states) - (units[chosen] - mean) / std).pow(2).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    encoder.save_pretrained(recipe.output / "audio_encoder")
    save_file({**readout.state_dict(), "mean": mean, "std": std}, recipe.output / "readout.safetensors")
