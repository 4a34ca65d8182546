"""What each part of the small model's codec is worth, on people it has not seen.

    python benchmarks/codec.py TRACKS --codec MODEL/vae --film talking.mp4

For composites of the tracks of a folder (`talkies stage tracks --first 1000000`): the reference shown as a still, moved
by the flow of the latents, with components, and painted with and without them. PSNR in dB over everything and in mouth
boxes. `--lips`: so many talking tracks re-made from their first frame and the labels' expression, without components;
their lips as an independent face mesh sees them, against the same mesh on the film itself and against the labels.
`--film`: footage re-made from its first frame, 33 frames from three places. Latents are drawn as they are: nothing is
taken off them, and lips are not exaggerated.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from talkies.evaluation.faces import ArrayVideo, track_faces
from talkies.evaluation.mouth import measured_mouth
from talkies.media.face_places import find_landmarks
from talkies.models.autoencoder_reference import AutoencoderReference
from talkies.models.motion_latents import FRAMES, MOTION_CHANNELS
from talkies.training.composite_batches import Batch, collate
from talkies.training.composites import Composer, find_tracks
from talkies.training.faces import since_reference
from talkies.training.panels import compose_strip


def steps(codec: AutoencoderReference, batch: Batch) -> dict[str, Tensor]:
    """Every stage of decoding, `[N, 4, 3, S, S]` each."""
    z = batch.latents(codec)
    motion = torch.cat([z[:, :MOTION_CHANNELS], torch.zeros_like(z[:, MOTION_CHANNELS:])], 1)
    return {
        "still": batch.reference[:, None].expand_as(batch.group),
        "flow": codec.decode_groups(motion, batch.reference)[0],
        "flow and components": codec.decode_groups(z, batch.reference)[0],
        "flow, faces painted": codec.decode_groups(motion, batch.reference, batch.points)[0],
        "flow, faces painted, their expression in the reference known": codec.decode_groups(
            motion, batch.reference, batch.points, batch.expression[:, 4:]
        )[0],
        "all, faces painted": codec.decode_groups(z, batch.reference, batch.points)[0],
    }


def composites(codec: AutoencoderReference, folder: Path, draws: int) -> None:
    composer, rng = Composer(find_tracks(folder), 96, augment=False), np.random.default_rng(1)
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


def lips(codec: AutoencoderReference, folder: Path, count: int) -> None:
    """`r` of openings over frames and their spread relative to the other's; medians over tracks."""
    rows = []
    for track in find_tracks(folder):
        with np.load(track.path.with_suffix(".npz"), allow_pickle=False) as labels:
            truth = labels["lip_opening"]
        if len(rows) == count or truth.std() < 0.3:
            continue
        strip = compose_strip(track, np.random.default_rng(0))
        frames = len(truth) // FRAMES * FRAMES - FRAMES + 1
        added = since_reference(strip.faces, strip.units[0])
        film, maps = (torch.from_numpy(v[:frames]) for v in (strip.film, added))
        still = film[:1].expand(frames // FRAMES, -1, -1, -1)
        groups, faces = (v[1:].unflatten(0, (-1, FRAMES)) for v in (film, maps))
        flow = torch.from_numpy(strip.flow(0)[1:frames]).unflatten(0, (-1, FRAMES))
        z = codec.encode_groups(groups, still, flow, faces)
        z[:, MOTION_CHANNELS:] = 0
        points = torch.from_numpy(find_landmarks(Image.fromarray(_bytes(film[:1])[0])))
        made = codec.decode_groups(z, still, points[None].expand(len(z), -1, -1, -1))[0].flatten(0, 1)
        seen = [track_faces(ArrayVideo(_bytes(shown)))[:1] for shown in (made, film[1:])]
        if any(not found or found[0] is None for found in seen):
            continue
        made_opening, film_opening = (measured_mouth(found[0]).opening for found in seen)
        pairs = ((made_opening, film_opening), (made_opening, truth[1:frames]), (film_opening, truth[1:frames]))
        rows.append([np.corrcoef(a, b)[0, 1] for a, b in pairs] + [made_opening.std() / film_opening.std()])
    middle = np.median(rows, 0)
    print(f"lips of {len(rows)} tracks: r with the film's {middle[0]:.3f}, with the labels {middle[1]:.3f} (the film's "
          f"own {middle[2]:.3f}); spread relative to the film's {middle[3]:.3f}")  # fmt: skip


def _bytes(frames: Tensor) -> np.ndarray:
    """`[F, 3, H, W]` in [-1, 1] -> `[F, H, W, 3]` uint8."""
    return ((frames.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


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
    parser.add_argument("--lips", type=int, default=0)
    parser.add_argument("--draws", type=int, default=48)
    arguments = parser.parse_args()
    codec = AutoencoderReference.from_pretrained(arguments.codec, torch_dtype=torch.float32).eval()
    codec.register_to_config(coring=0.0, flow_coring=0.0, flow_smoothing=1, lip_gain=1.0)
    with torch.no_grad():
        composites(codec, arguments.tracks, arguments.draws)
        if arguments.lips:
            lips(codec, arguments.tracks, arguments.lips)
        if arguments.film:
            footage(codec, arguments.film)


if __name__ == "__main__":
    main()
