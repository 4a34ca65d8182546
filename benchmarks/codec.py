"""What each part of the small model's codec is worth, on people it has not seen.

    python benchmarks/codec.py TRACKS --codec MODEL/vae --film talking.mp4

For composites of the tracks of a folder (`talkies stage tracks --first 1000000`): the reference shown as a still, moved
by the flow of the latents, with components, and painted with and without them. PSNR in dB over everything and in mouth
boxes. `--film`: footage re-made from its first frame, 33 frames from three places.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor

from talkies.models.autoencoder_reference import MOTION_CHANNELS, AutoencoderReference
from talkies.training.codec import Batch, collate
from talkies.training.composites import Composer, find_tracks


def steps(codec: AutoencoderReference, batch: Batch) -> dict[str, Tensor]:
    """Every stage of decoding, `[N, 4, 3, S, S]` each."""
    z = codec.encode_groups(batch.group, batch.reference, batch.flow, batch.faces)
    unknown = codec.encode_groups(batch.group, batch.reference, batch.flow)
    motion = torch.cat([z[:, :MOTION_CHANNELS], torch.zeros_like(z[:, MOTION_CHANNELS:])], 1)
    return {
        "still": batch.reference[:, None].expand_as(batch.group),
        "flow": codec.warped(z, batch.reference),
        "flow and components": codec.warped(z, batch.reference) + codec.components(z),
        "flow and expression, painted": codec.decode_groups(motion, batch.reference)[0],
        "all, painted": codec.decode_groups(z, batch.reference)[0],
        "all but expression, painted": codec.decode_groups(unknown, batch.reference)[0],
    }


def composites(codec: AutoencoderReference, folder: Path, draws: int) -> None:
    composer, rng = Composer(find_tracks(folder), 128, augment=False), np.random.default_rng(1)
    sums: dict[str, np.ndarray] = defaultdict(lambda: np.zeros(4))
    for _ in range(draws):
        batch = collate([composer.draw(rng)], 2.0, 1.0)
        mouth = (batch.weight > 1).float()
        for name, shown in steps(codec, batch).items():
            error = ((shown.clamp(-1, 1) - batch.group) / 2).square().mean(2, keepdim=True)
            sums[name] += float(error.sum()), error.numel(), float((error * mouth).sum()), float(mouth.sum())
    print(f"{draws} composites, {len(composer.tracks)} tracks: all / mouth, dB")
    for name, (all_error, count, mouth_error, mouth_count) in sums.items():
        print(f"{name}: {-10 * np.log10(all_error / count):.2f} / {-10 * np.log10(mouth_error / mouth_count):.2f}")


def footage(codec: AutoencoderReference, path: Path, side: int = 208) -> None:
    with av.open(str(path)) as file:
        frames = list(file.decode(video=0))
    scale = side / min(frames[0].width, frames[0].height)
    width, height = (int(length * scale) // 16 * 16 for length in (frames[0].width, frames[0].height))
    for start in range(0, len(frames) - 33, max(1, (len(frames) - 34) // 2)):
        pictures = [f.reformat(width, height, "rgb24").to_ndarray() for f in frames[start : start + 33]]
        film = torch.from_numpy(np.stack(pictures)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
        reference = film[:, :, 0]
        made = codec.decode(codec.encode(film, reference).latent_dist.mode(), reference).sample
        still = reference[:, :, None].expand_as(film)
        values = [-10 * torch.log10(((x - film)[:, :, 1:] / 2).square().mean()).item() for x in (made, still)]
        print(f"frames {start} to {start + 32}: {values[0]:.2f} dB, still {values[1]:.2f} dB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", type=Path)
    parser.add_argument("--codec", type=Path, required=True)
    parser.add_argument("--film", type=Path)
    parser.add_argument("--draws", type=int, default=48)
    arguments = parser.parse_args()
    codec = AutoencoderReference.from_pretrained(arguments.codec, torch_dtype=torch.float32).eval()
    with torch.no_grad():
        composites(codec, arguments.tracks, arguments.draws)
        if arguments.film:
            footage(codec, arguments.film)


if __name__ == "__main__":
    main()
