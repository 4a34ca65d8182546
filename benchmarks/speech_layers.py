"""Which layer of Whisper says most about lips: ridge regression from one layer to the units of the mouth.

    python benchmarks/speech_layers.py TRACKS UNSEEN_TRACKS --whisper path/to/whisper-tiny.en/model.bin

Mean r over the units that speech decides, on unseen people, voices and sentences.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

from talkies.checkpoints.whisper import load_whisper_encoder, read_ctranslate2
from talkies.domain.face_units import FACE_UNITS
from talkies.models.audio_encoder_whisper import WhisperSpeechEncoder
from talkies.training.composites import find_tracks
from talkies.training.speech import SPOKEN_UNITS, correlation, prepare

LAYERS = (0, 1, 2, 3, 4)


def with_neighbours(states: Tensor) -> Tensor:
    """`[n, F, 2, hidden]` -> `[n * F, 6 * hidden]`: each frame with those beside it."""
    frames = states.flatten(2)
    before, after = torch.roll(frames, 1, 1), torch.roll(frames, -1, 1)
    return torch.cat([before, frames, after], -1).flatten(0, 1).float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("unseen", type=Path)
    parser.add_argument("--whisper", type=Path, required=True)
    parser.add_argument("--count", type=int, default=240)
    arguments = parser.parse_args()
    encoder = WhisperSpeechEncoder(num_layers=4, tapped_layers=LAYERS).eval()
    load_whisper_encoder(encoder, read_ctranslate2(arguments.whisper))
    hidden, units = prepare(encoder, find_tracks(arguments.tracks)[: arguments.count], 1, print)
    unseen, truth = prepare(encoder, find_tracks(arguments.unseen), 1, print)
    y, wanted = units.flatten(0, 1), truth.flatten(0, 1)
    jaw = SPOKEN_UNITS.index(FACE_UNITS.index("jawOpen"))
    for layer in LAYERS:
        x, test = with_neighbours(hidden[:, :, :, layer]), with_neighbours(unseen[:, :, :, layer])
        mean, std = x.mean(0), x.std(0) + 1e-3
        x, test = (x - mean) / std, (test - mean) / std
        ridge = 0.3 * len(x) * torch.eye(x.shape[1])
        weights = torch.linalg.solve(x.T @ x + ridge, x.T @ (y - y.mean(0)))
        r = correlation(test @ weights + y.mean(0), wanted)
        print(f"layer {layer}: mean r {r[r != 0].mean():.3f}, jaw {r[jaw]:.3f}")


if __name__ == "__main__":
    main()
