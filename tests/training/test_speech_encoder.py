"""The speech encoder's head: it hears lips, from tracks and from voices of nobody on film."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from talkies.domain.face_units import FACE_UNITS
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.training.speech import Heard, SpeechRecipe, train

JAW = FACE_UNITS.index("jawOpen")


def murmur(number: int, frames: int = 60) -> Heard:
    """Noise as loud as the jaw is open."""
    rng = np.random.default_rng(number)
    opening = np.repeat(rng.uniform(0, 1, frames // 5), 5).astype(np.float32)
    units = np.zeros((frames, 52), np.float32)
    units[:, JAW] = opening
    return (np.repeat(opening, 640) * rng.normal(0, 0.1, frames * 640)).astype(np.float32), units


def write_track(folder: Path, number: int) -> None:
    folder.mkdir(exist_ok=True)
    waveform, units = murmur(number)
    path = folder / f"person-{number:07d}-take-00.npy"
    np.save(path, np.zeros((1, 8, 8, 4), np.uint8))
    np.savez(path.with_suffix(".npz"), waveform=(waveform * 32767).astype(np.int16), face_units=units)


@pytest.fixture
def recipe(tmp_path: Path) -> SpeechRecipe:
    torch.manual_seed(0)
    tiny = WhisperSpeechEncoder(
        hidden_size=32, num_layers=1, num_heads=2, tapped_layers=(0, 1), head_channels=24, feature_channels=16,
        window_frames=60, context_frames=10,
    )  # fmt: skip
    torch.nn.init.zeros_(tiny.whisper.embed_positions.weight)  # untrained convolutions are faint beside it
    tiny.save_pretrained(tmp_path / "tiny")
    write_track(tmp_path / "tracks", 0)
    write_track(tmp_path / "unseen", 100)
    return SpeechRecipe(
        whisper=tmp_path, tracks=tmp_path / "tracks", validation=tmp_path / "unseen", output=tmp_path / "out",
        start=tmp_path / "tiny", utterances=6, frames=40, steps=150, batch_size=8, learning_rate=5e-3,
    )  # fmt: skip


def test_it_hears_unseen_lips(recipe: SpeechRecipe) -> None:
    recited: list[int] = []

    def recite(number: int) -> Heard:
        recited.append(number)
        return murmur(1 + number, 80)

    said: list[str] = []
    train(recipe, recite, said.append)
    assert recited == list(range(6))
    rows = [json.loads(line) for line in (recipe.output / "log.jsonl").read_text().splitlines()]
    assert rows[0]["step"] == 0 and rows[-1]["step"] == recipe.steps
    assert rows[-1]["r_jaw"] > 0.8 > rows[0]["r_jaw"]
    before, after = (WhisperSpeechEncoder.from_pretrained(p) for p in (recipe.start, recipe.output / "audio_encoder"))
    assert torch.equal(before.whisper.conv1.weight, after.whisper.conv1.weight)  # Whisper stays as it is
    assert not torch.equal(before.reduce.weight, after.reduce.weight)
