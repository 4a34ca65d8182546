"""What the long-video loop does to pictures, apart from the network: colour anchoring and hand-overs, on real footage.

    python benchmarks/long_video.py colour talking.mp4
    python benchmarks/long_video.py hand-over talking.mp4 --vae MODEL/vae

`colour`: how far anchoring on the first frame moves frames that have not drifted at all, and how much of a cast it
takes away. `hand-over`: motion frames handed on again and again, nothing else happening: PSNR against the footage.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import torch
from torch import Tensor

from talkies.domain.clip import TEMPORAL_STRIDE
from talkies.pipelines.conditioning import conditioning_for
from talkies.sampling.anchoring import match_colours
from talkies.sampling.rollout import Clip


def footage(path: Path, width: int, height: int, frames: int) -> Tensor:
    """The first frames, `[1, 3, F, H, W]` in [-1, 1]."""
    with av.open(str(path)) as file:
        pictures = []
        for frame in file.decode(video=0):
            pictures.append(torch.from_numpy(frame.reformat(width, height, "rgb24").to_ndarray()))
            if len(pictures) == frames:
                break
    return torch.stack(pictures).permute(3, 0, 1, 2)[None].float() / 127.5 - 1


def psnr(a: Tensor, b: Tensor) -> float:
    """In dB, for values in [-1, 1]."""
    return float(10 * torch.log10(4 / (a - b).square().mean()))


def colour(video: Tensor) -> None:
    reference = video[:, :, 0]
    cast = (video * 0.9 + torch.tensor([0.08, 0.0, -0.08]).view(1, 3, 1, 1, 1)).clamp(-1, 1)
    print(f"{video.shape[2]} frames; with a cast: {psnr(cast, video):.1f} dB")
    for strength in (0.25, 0.5, 1.0):
        kept = psnr(match_colours(video, reference, strength), video)
        mended = psnr(match_colours(cast, reference, strength), video)
        print(f"strength {strength}: frames without a cast {kept:.1f} dB, with one {mended:.1f} dB")


def hand_over(video: Tensor, vae_folder: Path, motion: int, rounds: int) -> None:
    from diffusers import AutoencoderKLWan

    from talkies.models.autoencoder_reference import AutoencoderReference

    kind = (
        AutoencoderReference if "requires_reference" in (vae_folder / "config.json").read_text() else AutoencoderKLWan
    )
    vae = kind.from_pretrained(vae_folder, use_safetensors=True).eval()
    conditioning = conditioning_for(vae, video[:, :, 0], torch.device("cpu"))
    true = video[:, :, -motion:]
    print(f"{motion} motion frames ({(motion - 1) // TEMPORAL_STRIDE + 1} latent frames)")
    for mode in ("pixels", "latents"):
        latents = conditioning.encode(Clip(true))
        line = []
        for _ in range(rounds):
            clip = conditioning.decode(latents)
            line.append(f"{psnr(clip.frames, true):.2f}")
            first = conditioning.encode(clip.part(0, 1))
            latents = conditioning.encode(clip) if mode == "pixels" else torch.cat([first, latents[:, :, 1:]], dim=2)
        print(f"{mode:8} {' '.join(line)} dB after 1 to {rounds} hand-overs")


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["colour", "hand-over"])
    parser.add_argument("video", type=Path)
    parser.add_argument("--vae", type=Path)
    parser.add_argument("--size", type=int, nargs=2, default=(320, 192), metavar=("WIDTH", "HEIGHT"))
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--motion", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(1)
    video = footage(options.video, *options.size, options.frames)
    if options.what == "colour":
        colour(video)
    else:
        hand_over(video, options.vae, options.motion, options.rounds)


if __name__ == "__main__":
    main()
