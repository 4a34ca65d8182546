"""A video autoencoder that is always given one reference frame, and carries only what changed since.

The first latent channels are that change in its plainest form, the optical flow averaged over each cell: it alone
carries most of a talking head. The others say what is left after warping the reference by that flow (the inside of a
mouth, a closed eye, what a moving head uncovers), in a basis of principal components. A network then refines the
drawing. Identity, colour and background come from the reference by construction, for a film of any length, and the
latents stay small. Four frames share one latent frame; the first frame has one of its own (4n+1).
Related work: First Order Motion Model (NeurIPS 2019) and LIA (ICLR 2022) warp features from one picture by sparse
motion; here the motion is an ordinary latent grid, so that a video transformer can generate it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from diffusers.utils import BaseOutput
from torch import Tensor, nn

from talkies.domain.errors import MissingDependencyError

FRAMES = 4  # video frames to a latent frame, as in Wan's autoencoder
CELL = 16  # pixels to a latent cell
FLOW_CHANNELS = 2 * FRAMES  # the first latent channels: each frame's mean flow in the cell
FLOW_UNIT = 8.0  # pixels


@dataclass
class DecodedFrames(BaseOutput):
    """`sample`: `[B, 3, F, H, W]` in [-1, 1]; `flow`: from each frame to the reference, `[B, 2, F, H, W]` in pixels."""

    sample: Tensor
    flow: Tensor | None = None


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions around a skip; starts as the identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(8, channels)
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm2 = nn.GroupNorm(8, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        return x + self.conv2(F.silu(self.norm2(h)))


class ReferenceEncoder(nn.Module):
    """What the reference looks like and what its face does: `[N, 3, H, W]` -> `[N, c_ref, H/16, W/16]`."""

    def __init__(self, channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.layers = nn.Sequential(
            nn.Conv2d(3 * 16, fine, 3, padding=1),
            ResidualBlock(fine),
            nn.Conv2d(fine, middle, 2, 2),
            ResidualBlock(middle),
            nn.Conv2d(middle, coarse, 2, 2),
            ResidualBlock(coarse),
            ResidualBlock(coarse),
            nn.GroupNorm(8, coarse),
            nn.SiLU(),
            nn.Conv2d(coarse, channels, 1),
        )

    def forward(self, reference: Tensor) -> Tensor:
        x = F.pixel_unshuffle(reference, 4).to(self.layers[0].weight.dtype)  # type: ignore[arg-type]
        return self.layers(x.contiguous(memory_format=torch.channels_last))


class Refiner(nn.Module):
    """Mends what the linear part leaves: seams between cells, detail, the inside of mouths. Starts as no change."""

    def __init__(self, latent_channels: int, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.fine_in = nn.Sequential(nn.Conv2d(3 * 16 * (FRAMES + 1), fine, 3, padding=1), ResidualBlock(fine))
        self.middle_in = nn.Sequential(nn.Conv2d(fine, middle, 2, 2), ResidualBlock(middle))
        self.coarse = nn.Sequential(
            nn.Conv2d(4 * middle + latent_channels, coarse, 1), ResidualBlock(coarse), ResidualBlock(coarse)
        )
        self.to_middle = nn.ConvTranspose2d(coarse, middle, 2, 2)
        self.middle = nn.Sequential(nn.Conv2d(2 * middle, middle, 3, padding=1), ResidualBlock(middle))
        self.to_fine = nn.ConvTranspose2d(middle, fine, 2, 2)
        self.fine = nn.Sequential(
            nn.Conv2d(2 * fine, fine, 3, padding=1), ResidualBlock(fine), nn.GroupNorm(8, fine), nn.SiLU()
        )
        self.pixels = nn.Conv2d(fine, 3 * FRAMES * 16, 3, padding=1)
        nn.init.zeros_(self.pixels.weight)
        nn.init.zeros_(self.pixels.bias)  # type: ignore[arg-type]

    def forward(self, drawn: Tensor, reference: Tensor, z: Tensor) -> Tensor:
        """What to add to `drawn [N, 4, 3, H, W]`, given `reference [N, 3, H, W]` and `z [N, c, h, w]`."""
        dtype = self.pixels.weight.dtype
        x = F.pixel_unshuffle(torch.cat([drawn.flatten(1, 2), reference], 1), 4).to(dtype)
        fine = self.fine_in(x.contiguous(memory_format=torch.channels_last))
        middle = self.middle_in(fine)
        coarse = self.coarse(torch.cat([F.pixel_unshuffle(middle, 2), z.to(dtype)], 1))
        h = self.middle(torch.cat([self.to_middle(coarse), middle], 1))
        h = self.fine(torch.cat([self.to_fine(h), fine], 1))
        return F.pixel_shuffle(self.pixels(h).float(), 4).unflatten(1, (FRAMES, 3))


def coarse_flow(z: Tensor) -> Tensor:
    """What the first latent channels say by themselves: `z [N, c, h, w]` -> flow in pixels `[N, 4, 2, H, W]`."""
    flow = z[:, :FLOW_CHANNELS].float() * FLOW_UNIT
    return F.interpolate(flow, scale_factor=CELL, mode="bilinear", align_corners=False).unflatten(1, (FRAMES, 2))


def _in_groups(film: Tensor) -> Tensor:
    """`[B, c, 4n+1, H, W]` -> `[B, n+1, 4, c, H, W]`: the first frame four times, then four by four."""
    first = film[:, :, :1].expand(-1, -1, FRAMES, -1, -1)
    return torch.cat([first, film[:, :, 1:]], 2).unflatten(2, (-1, FRAMES)).permute(0, 2, 3, 1, 4, 5)


def measure_flow(film: Tensor, reference: Tensor) -> Tensor:
    """Optical flow from each frame to the reference by Dense Inverse Search (Kroeger et al., ECCV 2016).

    Args:
        film: `[F, 3, H, W]` in [-1, 1].
        reference: `[3, H, W]` in [-1, 1].

    Returns:
        `[F, 2, H, W]` in pixels; exactly zero for frames equal to the reference.
    """

    def grey(frame: Tensor) -> Any:
        return ((frame.float().mean(0) + 1) * 127.5).clamp(0, 255).byte().cpu().numpy()

    flow = film.new_zeros(len(film), 2, *film.shape[2:], dtype=torch.float32)
    moved = [k for k, frame in enumerate(film) if not torch.equal(frame, reference)]
    if moved:
        try:
            import cv2
        except ImportError as error:
            raise MissingDependencyError("Measuring motion needs OpenCV.", "pip install 'talkies[train]'") from error
        search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        still = grey(reference)
        for k in moved:
            found = search.calc(grey(film[k]), still, None)  # type: ignore[call-overload]
            flow[k] = torch.from_numpy(found).permute(2, 0, 1)
    return flow


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Looks up `picture [N, 3, H, W]` at every pixel moved by `flow [N, 2, H, W]` (x, y in pixels), bilinearly."""
    H, W = picture.shape[-2:]
    y = torch.arange(H, device=flow.device, dtype=flow.dtype)[:, None]
    x = torch.arange(W, device=flow.device, dtype=flow.dtype)[None]
    grid = torch.stack([(x + flow[:, 0] + 0.5) * (2 / W) - 1, (y + flow[:, 1] + 0.5) * (2 / H) - 1], -1)
    return F.grid_sample(picture, grid, mode="bilinear", padding_mode="border", align_corners=False)


class AutoencoderReference(ModelMixin, ConfigMixin):
    """Reference-conditioned video autoencoder: 16x in space, 4x in time.

    Latent channels: eight of flow (`coarse_flow`), then the coordinates of what is left after warping in a fixed basis
    of `16 x 16 x 4` blocks (principal components over talking faces). Encoding is linear and needs no training beyond
    that basis, so latents never change while the decoder's refiner is improved.

    Args:
        latent_channels: Channels of the latents, `z`; the first eight are flow.
        reference_channels: Channels of what `encode_reference` tells the transformer about the reference frame.
        widths: Channels of the convolutions at 1/4, 1/8 and 1/16 of the resolution.
        latents_mean, latents_std: Per-channel statistics of the latents over the training data (as in
            `AutoencoderKLWan`); the pipeline normalises by them.
        reference_mean, reference_std: The same for the reference features; applied by `encode_reference`.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = 48,
        reference_channels: int = 48,
        widths: tuple[int, int, int] = (96, 160, 224),
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
        reference_mean: list[float] | None = None,
        reference_std: list[float] | None = None,
        scale_factor_spatial: int = CELL,
        scale_factor_temporal: int = FRAMES,
        requires_reference: bool = True,
    ) -> None:
        super().__init__()
        block = 3 * FRAMES * CELL**2
        self.basis = nn.Parameter(torch.zeros(latent_channels - FLOW_CHANNELS, block), requires_grad=False)
        self.reference_encoder = ReferenceEncoder(reference_channels, widths)
        self.refiner = Refiner(latent_channels, widths)

    def encode(self, x: Tensor, reference: Tensor, flow: Tensor | None = None) -> AutoencoderKLOutput:
        """Latents of a film relative to its reference frame.

        Args:
            x: `[B, 3, F, H, W]` in [-1, 1], F = 4n+1, H and W multiples of 16.
            reference: `[B, 3, H, W]` in [-1, 1].
            flow: From each frame to the reference, `[B, 2, F, H, W]` in pixels, as `decode` returns it; by default it
                is measured (OpenCV's DIS).

        Returns:
            `latent_dist` over `[B, z, n+1, H/16, W/16]`.

        Raises:
            ValueError: F is not 4n+1, or a side is no multiple of 16.
            ImportError: The flow has to be measured and OpenCV is not installed.
        """
        B, _, frames, H, W = x.shape
        if frames % FRAMES != 1:
            raise ValueError(f"a film of {frames} frames cannot be encoded: their number must be 4n+1")
        self._check_size(H, W)
        if flow is None:
            films = zip(x, reference, strict=True)
            flow = torch.stack([measure_flow(film.transpose(0, 1), still) for film, still in films])
            flow = flow.transpose(1, 2)  # [B, 2, F, H, W]
        still = reference.repeat_interleave(frames // FRAMES + 1, 0)
        mean = self.encode_groups(_in_groups(x).flatten(0, 1), still, _in_groups(flow).flatten(0, 1))
        mean = mean.unflatten(0, (B, -1)).transpose(1, 2)  # [B, z, T, h, w]
        noise = torch.full_like(mean, -20.0)  # deterministic: the standard type, with next to no variance
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(torch.cat([mean, noise], 1)))

    def encode_groups(self, groups: Tensor, reference: Tensor, flow: Tensor) -> Tensor:
        """Latents of groups of four frames, computed in float32.

        Args:
            groups: `[N, 4, 3, H, W]`.
            reference: Theirs, `[N, 3, H, W]`.
            flow: From each frame to the reference, `[N, 4, 2, H, W]` in pixels. Finding correspondences is what
                convolutions learn worst and a classical method does well.

        Returns:
            `[N, z, h, w]`.
        """
        coarse = F.avg_pool2d(flow.float().flatten(1, 2) / FLOW_UNIT, CELL)  # [N, 8, h, w]
        left = groups.float() - self.warped(coarse, reference)
        blocks = F.pixel_unshuffle(left.flatten(1, 2), CELL)  # [N, 12*256, h, w]
        return torch.cat([coarse, torch.einsum("kb,nbhw->nkhw", self.basis.float(), blocks)], 1)

    def draw(self, z: Tensor, reference: Tensor) -> Tensor:
        """The linear part of decoding: `z [N, c, h, w]` and `reference [N, 3, H, W]` -> `[N, 4, 3, H, W]`."""
        blocks = torch.einsum("kb,nkhw->nbhw", self.basis.float(), z[:, FLOW_CHANNELS:].float())
        added = F.pixel_shuffle(blocks, CELL).unflatten(1, (FRAMES, 3))
        return self.warped(z, reference) + added

    def warped(self, z: Tensor, reference: Tensor) -> Tensor:
        """The reference moved by the flow of `z` alone, `[N, 4, 3, H, W]`."""
        still = reference.float().repeat_interleave(FRAMES, 0)
        return warp(still, coarse_flow(z).flatten(0, 1)).unflatten(0, (-1, FRAMES))

    def decode_groups(self, z: Tensor, reference: Tensor) -> Tensor:
        """Drawn and refined: `[N, c, h, w]` and `[N, 3, H, W]` -> `[N, 4, 3, H, W]`."""
        drawn = self.draw(z, reference)
        return drawn + self.refiner(drawn, reference.float(), z)

    def encode_reference(self, reference: Tensor) -> Tensor:
        """What the transformer is told about the reference frame: `[B, 3, H, W]` -> `[B, c_ref, H/16, W/16]`."""
        self._check_size(*reference.shape[-2:])
        features = self.reference_encoder(reference).float()
        if self.config.reference_mean is None:
            return features
        mean = features.new_tensor(self.config.reference_mean)[:, None, None]
        std = features.new_tensor(self.config.reference_std)[:, None, None]
        return (features - mean) / std

    def decode(self, z: Tensor, reference: Tensor, return_dict: bool = True) -> DecodedFrames | tuple[Tensor]:
        """Film of latents, each latent frame on its own: decoding a part equals that part of decoding the whole.

        Args:
            z: `[B, z, T, h, w]`; latent frame 0 gives one video frame, every other four.
            reference: `[B, 3, H, W]` in [-1, 1].

        Returns:
            `.sample [B, 3, 4(T-1)+1, H, W]` in [-1, 1].
        """
        frames, flows = [], []
        for k in range(z.shape[2]):  # one at a time: memory constant in T
            shown = 1 if k == 0 else FRAMES
            frames.append(self.decode_groups(z[:, :, k], reference)[:, :shown])  # [B, 1 or 4, 3, H, W]
            flows.append(coarse_flow(z[:, :, k])[:, :shown])
        sample = torch.cat(frames, 1).transpose(1, 2).clamp(-1, 1)
        if not return_dict:
            return (sample,)
        return DecodedFrames(sample=sample, flow=torch.cat(flows, 1).transpose(1, 2))

    def _check_size(self, H: int, W: int) -> None:
        if H % CELL or W % CELL:
            raise ValueError(f"{W}x{H} cannot be encoded: both sides must be multiples of {CELL}")
