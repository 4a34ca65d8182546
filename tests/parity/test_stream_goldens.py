"""The long-video loop against the authors' program: their stand-in network and autoencoder, our loop, their noise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from talkies.sampling.guidance import Branch, ClassifierFreeGuidance
from talkies.sampling.noise import cpu_generator
from talkies.sampling.rollout import Clip, Condition, HandOver, Rollout, RolloutSettings
from talkies.sampling.schedule import shifted_levels
from talkies.sampling.segments import Segment, plan_segments
from talkies.sampling.solver import EulerSolver

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "sampler.safetensors"
pytestmark = pytest.mark.skipif(not GOLDEN.exists(), reason=f"{GOLDEN} is not here")


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    return load_file(GOLDEN)


@dataclass
class LinearCodec:
    """The golden's linear autoencoder, at latent resolution: every four frames share one latent frame."""

    reference: Tensor
    first_condition: Tensor
    encoder: Tensor
    decoder: Tensor

    def latent_shape(self, latent_frames: int) -> tuple[int, int, int, int]:
        return 16, latent_frames, *self.reference.shape[-2:]

    @property
    def still(self) -> Clip:
        return Clip(self.reference[:, :, None])

    def encode(self, clip: Clip) -> Tensor:
        frames = clip.frames
        first, rest = frames[:, :, :1], frames[:, :, 1:].unflatten(2, (-1, 4)).mean(3)
        return torch.einsum("zc,bcthw->bzthw", self.encoder, torch.cat([first, rest], dim=2))

    def prepare(self, given: Clip, latent_frames: int, known: Tensor | None = None) -> Condition:
        if len(given) == 1:  # the reference was encoded at full resolution, which the golden does not hold
            return Condition(self.first_condition, self.first_condition[:, 4:, :1])
        known = self.encode(given) if known is None else known
        latents = torch.nn.functional.pad(known, (0, 0, 0, 0, 0, latent_frames - known.shape[2]))
        mask = torch.zeros_like(latents[:, :4])
        mask[:, :, : known.shape[2]] = 1
        return Condition(torch.cat([mask, latents], dim=1), known)

    def decode(self, latents: Tensor, start: int = 0) -> Clip:
        frames = torch.einsum("cz,bzthw->bcthw", self.decoder, latents).tanh()
        return Clip(torch.cat([frames[:, :, :1], frames[:, :, 1:].repeat_interleave(4, dim=2)], dim=2))


def test_stream(golden: dict[str, Tensor]) -> None:
    """Five clips, motion frames re-noised, seed 42: the latents and the frames of every clip are the authors'."""

    def predict_segment(segment: Segment, condition: Condition, _before: HandOver | None):
        windows = golden[f"stream.clip{segment.index}.audio"]  # [P, F, 5, S, C]
        torch.testing.assert_close(condition.channels, golden[f"stream.clip{segment.index}.y"], atol=2e-5, rtol=1e-4)

        def predict(branch: Branch, latents: Tensor, timestep: Tensor) -> Tensor:
            heard = windows.sum(0).mean((1, 2, 3)) * branch.audio  # [F]
            per_latent = torch.cat([heard[:1], heard[1:].unflatten(0, (-1, 4)).mean(1)])  # [T]
            context = golden["context" if branch.text else "context_null"].mean(0) @ golden["denoiser.Wc"]
            constant = timestep[0] / 1000 * golden["denoiser.bt"] + context  # [16]
            velocity = torch.einsum("oi,bithw->bothw", golden["denoiser.Wx"], latents)
            velocity = velocity + torch.einsum("oi,bithw->bothw", golden["denoiser.Wy"], condition.channels)
            velocity = velocity + (constant[:, None] + golden["denoiser.Wa"][:, None] * per_latent)[:, :, None, None]
            return velocity

        return predict

    codec = LinearCodec(
        golden["stream.clip0.cond_frames_plus_zero_pad"][:, :, 0],
        golden["stream.clip0.y"],
        golden["vae_stub.E"],
        golden["vae_stub.D"],
    )
    plan = plan_segments(22, segment_frames=9, motion_frames=5)
    rollout = Rollout(
        plan,
        codec,
        predict_segment,
        lambda: EulerSolver(shifted_levels(4, 3.0)),
        [ClassifierFreeGuidance(5.0, 4.0)] * len(plan.segments),
        [cpu_generator(42)],
        RolloutSettings(hand_over="pixels", known_latents="renoised"),
    )
    video = []
    for rendered in rollout.run():
        final = golden[f"stream.clip{rendered.segment.index}.final"][None]
        torch.testing.assert_close(rendered.latents, final, atol=2e-5, rtol=1e-4)
        video.append(rendered.frames)
    frames = torch.cat(video, dim=2)[0]
    expected = golden["stream.video_8x8_subsampled"]
    assert frames.shape[1] == 22  # theirs: 19, the last three frames are lost
    torch.testing.assert_close(frames[:, : expected.shape[1]], expected, atol=1e-5, rtol=1e-4)
