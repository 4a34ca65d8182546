"""A video autoencoder that is always given one reference frame, and carries only what changed since.

Its latents are motion first, picture last:

1. the optical flow averaged over each cell, which alone carries most of a talking head;
2. what the face does there (`talkies.domain.expression`: lips open, round, wide, ... eyes shut), laid over the cells of
   mouth and eyes: the same numbers for every face, wherever it is and whatever it looks like, so that a video model
   learns speech once and not anew for every mouth;
3. what is left after warping the reference by the flow, in a few principal components.

A network, the painter, draws each frame from the reference, its flow and its expression: it moves lips by a finer flow
and paints what no flow can bring (teeth, lids). It is trained with the third part faded out at random, so that a
video model need not get it right; zeros in the second part mean "as in the reference". Identity, colour and background
come from the reference by construction, for a film of any length. Four frames share one latent frame; the first frame
has one of its own (4n+1).
Related work: First Order Motion Model (NeurIPS 2019), LIA (ICLR 2022) and LivePortrait (2024) animate one picture by
sparse motion; here the motion is an ordinary latent grid, so that a video transformer can generate it.
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
from talkies.domain.expression import EXPRESSION

FRAMES = 4  # video frames to a latent frame, as in Wan's autoencoder
CELL = 16  # pixels to a latent cell
FLOW_CHANNELS = 2 * FRAMES  # the first latent channels: each frame's mean flow in the cell
FLOW_UNIT = 8.0  # pixels
PLACES = 2  # how much of a cell is mouth, and how much is eyes
EXPRESSIONS = len(EXPRESSION)
FACE_CHANNELS = EXPRESSIONS * FRAMES + PLACES  # then: each frame's expression, and where the face is
MOTION_CHANNELS = FLOW_CHANNELS + FACE_CHANNELS
THUMBNAIL = 4  # the transformer sees every cell of the reference as so many pixels squared


@dataclass
class DecodedFrames(BaseOutput):
    """`sample`: `[B, 3, F, H, W]` in [-1, 1]; `flow`: from each frame to the reference, `[B, 2, F, H, W]` in pixels."""

    sample: Tensor
    flow: Tensor | None = None


def _convolution(channels_in: int, channels_out: int, side: int, stride: int = 1) -> nn.Conv2d:
    """Begins with the gain that a ReLU behind it takes away: lips are small, and a small signal learns late."""
    layer = nn.Conv2d(channels_in, channels_out, side, stride, padding=0 if stride > 1 else side // 2)
    nn.init.kaiming_normal_(layer.weight)
    return layer


class FaceBlock(nn.Module):
    """Two 3x3 convolutions around a skip; in between, features are scaled and shifted by what the face does there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _convolution(channels, channels, 3), _convolution(channels, channels, 3)
        self.face = nn.Conv2d(EXPRESSIONS + PLACES, 2 * channels, 1)
        with torch.no_grad():
            self.conv2.weight *= 0.3

    def forward(self, x: Tensor, face: Tensor) -> Tensor:
        scale, shift = self.face(face).chunk(2, 1)
        return x + self.conv2(F.relu(self.conv1(x) * (1 + scale) + shift))


class Painter(nn.Module):
    """Draws one frame better than the linear part does. Starts as next to no change."""

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        fine, middle, coarse = widths
        self.fine_in, self.fine_block = _convolution(2 * 3 * 16, fine, 3), FaceBlock(fine)
        self.middle_in, self.middle_block = _convolution(fine, middle, 2, 2), FaceBlock(middle)
        self.coarse_in, self.coarse_block1 = _convolution(middle, coarse, 2, 2), FaceBlock(coarse)
        self.coarse_block2 = FaceBlock(coarse)
        self.to_middle, self.middle_join = nn.ConvTranspose2d(coarse, middle, 2, 2), _convolution(2 * middle, middle, 1)
        self.middle_out = FaceBlock(middle)
        self.to_fine, self.fine_join = nn.ConvTranspose2d(middle, fine, 2, 2), _convolution(2 * fine, fine, 1)
        self.fine_out = FaceBlock(fine)
        self.out = nn.Conv2d(fine, 2 + 3 * 16, 3, padding=1)
        with torch.no_grad():
            self.out.weight *= 0.05
            self.out.bias.zero_()  # type: ignore[union-attr]

    def forward(self, moved: Tensor, left: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
        """A finer flow and paint.

        Args:
            moved: The reference warped by the coarse flow, `[N, 3, H, W]`.
            left: What the components add to it, `[N, 3, H, W]`.
            face: Expression times place, and place, `[N, 10, h, w]`.

        Returns:
            Flow to add `[N, 2, H, W]` in pixels, and colours to add `[N, 3, H, W]`.
        """
        dtype = self.out.weight.dtype
        x = F.pixel_unshuffle(torch.cat([moved, left], 1), 4).to(dtype).contiguous(memory_format=torch.channels_last)
        face = face.to(dtype)
        at_middle, at_fine = _enlarge(face, 2), _enlarge(face, 4)
        fine = self.fine_block(F.relu(self.fine_in(x)), at_fine)
        middle = self.middle_block(F.relu(self.middle_in(fine)), at_middle)
        h = self.coarse_block2(self.coarse_block1(F.relu(self.coarse_in(middle)), face), face)
        h = self.middle_out(F.relu(self.middle_join(torch.cat([self.to_middle(h), middle], 1))), at_middle)
        h = self.fine_out(F.relu(self.fine_join(torch.cat([self.to_fine(h), fine], 1))), at_fine)
        out = self.out(h).float()
        return _enlarge(out[:, :2] * 4, 4), F.pixel_shuffle(out[:, 2:], 4)


def _enlarge(x: Tensor, factor: int) -> Tensor:
    return F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def coarse_flow(z: Tensor) -> Tensor:
    """What the first latent channels say by themselves: `z [N, c, h, w]` -> flow in pixels `[N, 4, 2, H, W]`."""
    return _enlarge(z[:, :FLOW_CHANNELS].float() * FLOW_UNIT, CELL).unflatten(1, (FRAMES, 2))


def shrink(x: Tensor, size: float) -> Tensor:
    """Takes `size` off the size of every value; smaller ones become zero (coring, soft thresholding)."""
    return F.softshrink(x, size) if size else x


def smooth_flow(z: Tensor, frames: int) -> Tensor:
    """Flow channels `[B, 8, T, h, w]`, averaged over time with triangular weights over an odd number of video frames;
    at the ends over fewer. The first latent frame stands for one video frame."""
    if frames <= 1:
        return z
    B, _, T, h, w = z.shape
    film = (
        z.unflatten(1, (FRAMES, 2)).permute(0, 2, 4, 5, 3, 1).reshape(B * 2 * h * w, 1, T * FRAMES)[..., FRAMES - 1 :]
    )
    weights = torch.bartlett_window(frames + 2, periodic=False, device=z.device, dtype=z.dtype)[1:-1].view(1, 1, -1)
    sums = F.conv1d(film, weights, padding=frames // 2)
    film = sums / F.conv1d(torch.ones_like(film[:1]), weights, padding=frames // 2)
    film = torch.cat([film[..., :1].expand(-1, -1, FRAMES - 1), film], -1)
    return film.view(B, 2, h, w, T, FRAMES).permute(0, 5, 1, 4, 2, 3).flatten(1, 2)


def join_faces(faces: Tensor) -> Tensor:
    """Four frames' faces as latent channels: `[N, 4, 10, h, w]` -> `[N, 34, h, w]`; where they are is averaged."""
    return torch.cat([faces[:, :, :EXPRESSIONS].flatten(1, 2), faces[:, :, EXPRESSIONS:].mean(1)], 1)


def split_faces(channels: Tensor) -> Tensor:
    """The inverse of `join_faces`, place repeated: `[N, 34, h, w]` -> `[N, 4, 10, h, w]`."""
    expression = channels[:, :-PLACES].unflatten(1, (FRAMES, EXPRESSIONS))
    return torch.cat([expression, channels[:, None, -PLACES:].expand(-1, FRAMES, -1, -1, -1)], 2)


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

    Latent channels: 8 of flow, 34 of expression (`join_faces`), then the coordinates of what is left after warping in a
    fixed basis of `16 x 16 x 4` blocks (principal components over talking faces). Nothing of it is learnt but the
    basis, so latents never change while the painter improves. Expressions are known of the stage's films only; `encode`
    leaves them at zero, and the components carry lips then.

    Args:
        latent_channels: Channels of the latents, `z`.
        widths: Channels of the painter's convolutions at 1/4, 1/8 and 1/16 of the resolution.
        latents_mean, latents_std: Per-channel statistics of the latents over the training data (as in
            `AutoencoderKLWan`); the pipeline normalises by them.
        coring: `decode` takes this much off the size of every component's coordinate: what a video model leaves of its
            noise there would show as a weave over still grounds.
        flow_coring: The same for the flow, in pixels: still grounds stay still.
        flow_smoothing: `decode` averages the flow over so many frames (odd; triangular weights; 1 for none): latent
            frames are drawn apart from each other, and heads would jerk from one to the next.
    """

    @register_to_config
    def __init__(
        self,
        latent_channels: int = MOTION_CHANNELS + 22,
        widths: tuple[int, int, int] = (64, 96, 160),
        latents_mean: list[float] | None = None,
        latents_std: list[float] | None = None,
        coring: float = 0.0,
        flow_coring: float = 0.0,
        flow_smoothing: int = 1,
        scale_factor_spatial: int = CELL,
        scale_factor_temporal: int = FRAMES,
        requires_reference: bool = True,
    ) -> None:
        super().__init__()
        block = 3 * FRAMES * CELL**2
        self.basis = nn.Parameter(torch.zeros(latent_channels - MOTION_CHANNELS, block), requires_grad=False)
        self.painter = Painter(widths)

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

    def encode_groups(self, groups: Tensor, reference: Tensor, flow: Tensor, faces: Tensor | None = None) -> Tensor:
        """Latents of groups of four frames, computed in float32.

        Args:
            groups: `[N, 4, 3, H, W]`.
            reference: Theirs, `[N, 3, H, W]`.
            flow: From each frame to the reference, `[N, 4, 2, H, W]` in pixels. Finding correspondences is what
                convolutions learn worst and a classical method does well.
            faces: Expression times place, and place, `[N, 4, 10, h, w]`; zeros where nothing is known.

        Returns:
            `[N, z, h, w]`.
        """
        coarse = F.avg_pool2d(flow.float().flatten(1, 2) / FLOW_UNIT, CELL)  # [N, 8, h, w]
        left = groups.float() - self.warped(coarse, reference)
        blocks = F.pixel_unshuffle(left.flatten(1, 2), CELL)  # [N, 12*256, h, w]
        components = torch.einsum("kb,nbhw->nkhw", self.basis.float(), blocks)
        if faces is None:
            faces = coarse.new_zeros(len(coarse), FRAMES, EXPRESSIONS + PLACES, *coarse.shape[2:])
        return torch.cat([coarse, join_faces(faces.float()), components], 1)

    def warped(self, z: Tensor, reference: Tensor) -> Tensor:
        """The reference moved by the flow of `z` alone, `[N, 4, 3, H, W]`."""
        still = reference.float().repeat_interleave(FRAMES, 0)
        return warp(still, coarse_flow(z).flatten(0, 1)).unflatten(0, (-1, FRAMES))

    def components(self, z: Tensor) -> Tensor:
        """What the principal components draw: `z [N, c, h, w]` -> `[N, 4, 3, H, W]`."""
        blocks = torch.einsum("kb,nkhw->nbhw", self.basis.float(), z[:, MOTION_CHANNELS:].float())
        return F.pixel_shuffle(blocks, CELL).unflatten(1, (FRAMES, 3))

    def decode_groups(self, z: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
        """Frames `[N, 4, 3, H, W]` and their flow to the reference `[N, 4, 2, H, W]`, of `z [N, c, h, w]`."""
        flow, moved, left = coarse_flow(z), self.warped(z, reference), self.components(z)
        faces = split_faces(z[:, FLOW_CHANNELS:MOTION_CHANNELS])
        finer, paint = self.painter(moved.flatten(0, 1), left.flatten(0, 1), faces.flatten(0, 1))
        flow = flow.flatten(0, 1) + finer
        frames = warp(reference.float().repeat_interleave(FRAMES, 0), flow) + left.flatten(0, 1) + paint
        return frames.unflatten(0, (-1, FRAMES)), flow.unflatten(0, (-1, FRAMES))

    @property
    def reference_channels(self) -> int:
        """Channels of `encode_reference`."""
        return PLACES + 3 * THUMBNAIL**2

    def encode_reference(self, reference: Tensor, places: Tensor | None = None) -> Tensor:
        """What the transformer is told about the reference frame: where faces are, and a small picture of it.

        Args:
            reference: `[B, 3, H, W]` in [-1, 1].
            places: Shares of mouth and eyes in every cell, `[B, 2, H/16, W/16]` (`talkies.media.face_places`);
                without them there is no face.

        Returns:
            `[B, 50, H/16, W/16]`, of a spread near one.
        """
        self._check_size(*reference.shape[-2:])
        small = F.pixel_unshuffle(F.avg_pool2d(reference.float(), CELL // THUMBNAIL), THUMBNAIL)  # [B, 48, h, w]
        if places is None:
            places = reference.new_zeros(len(reference), PLACES, *small.shape[2:])
        return torch.cat([places.float(), small * 2], 1)

    def decode(self, z: Tensor, reference: Tensor, return_dict: bool = True) -> DecodedFrames | tuple[Tensor]:
        """Film of latents. Without smoothing each latent frame is drawn on its own: decoding a part equals that part of
        decoding the whole.

        Args:
            z: `[B, z, T, h, w]`; latent frame 0 gives one video frame, every other four.
            reference: `[B, 3, H, W]` in [-1, 1].

        Returns:
            `.sample [B, 3, 4(T-1)+1, H, W]` in [-1, 1].
        """
        z = torch.cat(
            [
                smooth_flow(
                    shrink(z[:, :FLOW_CHANNELS], self.config.flow_coring / FLOW_UNIT), self.config.flow_smoothing
                ),
                z[:, FLOW_CHANNELS:MOTION_CHANNELS],
                shrink(z[:, MOTION_CHANNELS:], self.config.coring),
            ],
            1,
        )
        frames, flows = [], []
        for k in range(z.shape[2]):  # one at a time: memory constant in T
            shown = 1 if k == 0 else FRAMES
            drawn, _ = self.decode_groups(z[:, :, k], reference)
            frames.append(drawn[:, :shown])  # [B, 1 or 4, 3, H, W]
            flows.append(coarse_flow(z[:, :, k])[:, :shown])
        sample = torch.cat(frames, 1).transpose(1, 2).clamp(-1, 1)
        if not return_dict:
            return (sample,)
        return DecodedFrames(sample=sample, flow=torch.cat(flows, 1).transpose(1, 2))

    def _check_size(self, H: int, W: int) -> None:
        if H % CELL or W % CELL:
            raise ValueError(f"{W}x{H} cannot be encoded: both sides must be multiples of {CELL}")
