"""The autoencoder's side of the video loop: what a clip is conditioned on and how its latents become frames.

One strategy per kind of autoencoder, chosen once, for one run, with the run's reference frame built in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from talkies.domain.clip import TEMPORAL_STRIDE
from talkies.domain.motion_grid import area_of, motion_grid
from talkies.media.face_places import all_places, find_landmarks
from talkies.media.people_matte import people_matte
from talkies.models.face_outlines import find_outlines
from talkies.models.lids import lids_of
from talkies.models.teeth import mouths_of
from talkies.sampling.rollout import Clip, Condition, Conditioning

OfEyes = Callable[[Tensor, int, int], Tensor]
"""Faces ``[B, n, 5, 2]`` in pixels (zeros for none), first frame of the video and number of frames -> something of
each, ``[B, n, F, ...]``."""

MASK_CHANNELS = TEMPORAL_STRIDE
"""Wan's mask has one channel per video frame of a latent frame."""


class VideoAutoencoder(Protocol):
    """What is used of diffusers' autoencoders: ``config`` and the types of the weights; calls differ by kind."""

    config: Any
    dtype: torch.dtype


def known_mask(known: int, latents: Tensor) -> Tensor:
    """1 in the first ``known`` latent frames: ``[B, 4, T, h, w]`` for ``latents`` of ``[B, z, T, h, w]``."""
    mask = latents.new_zeros(latents.shape[0], MASK_CHANNELS, *latents.shape[2:])
    mask[:, :, :known] = 1
    return mask


class _LatentScale:
    """Per-channel mean and spread of latents: the autoencoder's scale to the transformer's and back."""

    def __init__(self, mean: list[float] | None, std: list[float] | None, device: torch.device) -> None:
        self._mean = torch.zeros(1) if mean is None else torch.tensor(mean)
        self._std = torch.ones(1) if std is None else torch.tensor(std)
        self._mean = self._mean.view(1, -1, 1, 1, 1).to(device)
        self._std = self._std.view(1, -1, 1, 1, 1).to(device)

    def to_unit(self, latents: Tensor) -> Tensor:
        return (latents.float() - self._mean) / self._std

    def from_unit(self, latents: Tensor) -> Tensor:
        return latents.float() * self._std + self._mean


class WanConditioning:
    """Wan's image-to-video condition: a mask and the latents of the given frames followed by black ones (zeros).

    Args:
        vae: ``AutoencoderKLWan``.
        reference: ``[B, 3, H, W]`` in [-1, 1].
        device: Where the run happens.
    """

    def __init__(self, vae: Any, reference: Tensor, device: torch.device) -> None:
        self._vae = vae
        self._device = device
        self._scale = _LatentScale(vae.config.latents_mean, vae.config.latents_std, device)
        self.reference = reference.to(device, torch.float32)
        self.still = Clip(self.reference[:, :, None])

    def latent_shape(self, latent_frames: int) -> tuple[int, int, int, int]:
        """``(z, T, h, w)``."""
        H, W = self.reference.shape[-2:]
        scale = self._vae.config.scale_factor_spatial
        return self._vae.config.z_dim, latent_frames, H // scale, W // scale

    def encode(self, clip: Clip) -> Tensor:
        """``[B, z, T, h, w]``, unit scale; the mean of the distribution."""
        posterior = self._vae.encode(clip.frames.to(self._device, self._vae.dtype)).latent_dist
        return self._scale.to_unit(posterior.mode())

    def prepare(self, given: Clip, latent_frames: int, known: Tensor | None = None) -> Condition:
        """Mask and latents, ``[B, 4 + z, T, h, w]``."""
        missing = TEMPORAL_STRIDE * (latent_frames - 1) + 1 - len(given)
        latents = self.encode(Clip(F.pad(given.frames, (0, 0, 0, 0, 0, missing))))
        if known is None:
            known = latents[:, :, : (len(given) - 1) // TEMPORAL_STRIDE + 1]
        latents = torch.cat([known, latents[:, :, known.shape[2] :]], dim=2)
        return Condition(torch.cat([known_mask(known.shape[2], latents), latents], dim=1), known)

    def decode(self, latents: Tensor, start: int = 0) -> Clip:
        """4(T-1)+1 frames."""
        sample = self._vae.decode(self._scale.from_unit(latents).to(self._vae.dtype), return_dict=False)[0]
        return Clip(sample.float().clamp(-1, 1).cpu())


def _people(reference: Tensor) -> tuple[Tensor, Tensor]:
    """Who is in the reference frames `[B, 3, H, W]`: landmarks of faces, `[B, n, 5, 2]` in pixels, zeros where a frame
    shows fewer; and how much of every pixel is people, `[B, 1, H, W]`."""
    pixels = ((reference + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).cpu().numpy()
    pictures = [Image.fromarray(each) for each in pixels]
    faces = [find_landmarks(picture) for picture in pictures]
    mattes = [torch.from_numpy(_moving(*each)) for each in zip(pictures, faces, strict=True)]
    found = torch.nn.utils.rnn.pad_sequence([torch.from_numpy(each) for each in faces], batch_first=True)
    return found, torch.stack(mattes)[:, None]


def _moving(picture: Image.Image, faces: NDArray[np.float32]) -> NDArray[np.float32]:
    """The matte of a picture; all of it where no face is found: of what moves there nothing is known."""
    return people_matte(picture, faces) if len(faces) else np.ones((picture.height, picture.width), np.float32)


def _motion_grid(vae: Any, reference: Tensor, faces: Tensor) -> tuple[int, int]:
    """Rows and columns of the latents: such that faces `[B, n, 5, 2]` are as large as the model knows them."""
    H, W = reference.shape[-2:]
    cell, length = vae.config.scale_factor_spatial, vae.config.get("face_length")
    if length is None:
        return H // cell, W // cell
    found = (faces[:, :, 3:].mean(2) - faces[:, :, :2].mean(2)).norm(dim=-1).flatten()
    found = found[found > 0]
    known = area_of(faces.shape[1], length)
    scale = (known / (H * W)) ** 0.5 if not len(found) else length / float(found.median())
    return motion_grid(W, H, cell, scale, 0.4 * known, 1.6 * known)


class ReferenceConditioning:
    """For an autoencoder that sees the reference frame itself: mask, given latents, the reference's features.

    Frames that are not given are zeros; what the network must know of the picture is told by the features, in every
    latent frame. Decoding against the original reference keeps the identity, however long the video.

    Args:
        vae: ``AutoencoderReference``.
        reference: ``[B, 3, H, W]`` in [-1, 1].
        device: Where the run happens.
        blinks: How far eyes shut, ``[B, n, F]`` in [0, 1]; None leaves it to the latents.
        gaze: How far eyes turn to the right and down, ``[B, n, F, 2]`` in degrees; None for not at all.
    """

    def __init__(
        self,
        vae: Any,
        reference: Tensor,
        device: torch.device,
        blinks: OfEyes | None = None,
        gaze: OfEyes | None = None,
    ) -> None:
        self._vae, self._blinks, self._gaze = vae, blinks, gaze
        # Small, and not run through forward, which is where offloading would bring it to the run's device.
        self._vae_device = vae.device
        self._scale = _LatentScale(vae.config.latents_mean, vae.config.latents_std, device)
        self.reference = reference.to(device, torch.float32)
        frame = self.reference[:, :, None]
        self.still = Clip(frame, torch.zeros_like(frame[:, :2]))
        self._vae_reference = self.reference.to(vae.device)
        found, matte = _people(self.reference)
        rows, columns = self._cells = _motion_grid(vae, self.reference, found)
        H, W = self.reference.shape[-2:]
        cell = vae.config.scale_factor_spatial
        small = found * torch.tensor([columns * cell / W, rows * cell / H])
        places = [
            torch.from_numpy(all_places(faces[faces.any(2).any(1)].numpy(), rows, columns, cell)) for faces in small
        ]
        self._found, self._faces, self._matte = found, found.to(vae.device), matte.to(vae.device)
        pictures = self.reference.cpu()
        outlines = [find_outlines(picture, points) for picture, points in zip(pictures, found, strict=True)]
        mouths = [mouths_of(picture, outline) for picture, outline in zip(pictures, outlines, strict=True)]
        self._lids = torch.stack([lids_of(outline) for outline in outlines]).to(vae.device)  # [B, n, 2, LIDS]
        self._mouths = torch.stack(mouths).to(vae.device)  # [B, n, MOUTH]
        features = vae.encode_reference(self._vae_reference, torch.stack(places).to(vae.device))
        self._features = features.float().to(device)  # [B, c_ref, h, w]

    def latent_shape(self, latent_frames: int) -> tuple[int, int, int, int]:
        """``(z, T, h, w)``."""
        return self._vae.config.latent_channels, latent_frames, *self._cells

    def encode(self, clip: Clip) -> Tensor:
        """``[B, z, T, h, w]``, unit scale."""
        flow = None if clip.flow is None else clip.flow.to(self._vae_device)
        posterior = self._vae.encode(
            clip.frames.to(self._vae_device), self._vae_reference, flow, self._cells
        ).latent_dist
        return self._scale.to_unit(posterior.mode().to(self.reference.device))

    def prepare(self, given: Clip, latent_frames: int, known: Tensor | None = None) -> Condition:
        """Mask, given latents and reference features, ``[B, 4 + z + c_ref, T, h, w]``."""
        known = self.encode(given) if known is None else known
        latents = F.pad(known, (0, 0, 0, 0, 0, latent_frames - known.shape[2]))
        features = self._features[:, :, None].expand(-1, -1, latent_frames, -1, -1)
        return Condition(torch.cat([known_mask(known.shape[2], latents), latents, features], dim=1), known)

    def decode(self, latents: Tensor, start: int = 0) -> Clip:
        """4(T-1)+1 frames, and the flow they were warped with."""
        latents = self._scale.from_unit(latents).to(self._vae_device)
        frames = TEMPORAL_STRIDE * (latents.shape[2] - 1) + 1
        blinks, gaze = (
            None if drawn is None else drawn(self._found, start, frames).to(self._vae_device)
            for drawn in (self._blinks, self._gaze)
        )
        decoded = self._vae.decode(
            latents, self._vae_reference, self._faces, blinks, self._matte, self._lids, gaze, self._mouths
        )
        return Clip(decoded.sample.float().clamp(-1, 1).cpu(), decoded.flow.float().cpu())


def conditioning_for(
    vae: VideoAutoencoder,
    reference: Tensor,
    device: torch.device,
    blinks: OfEyes | None = None,
    gaze: OfEyes | None = None,
) -> Conditioning:
    """The strategy of an autoencoder, told by its configuration (``requires_reference``); others leave eyes to their
    latents."""
    if vae.config.get("requires_reference", False):
        return cast(Conditioning, ReferenceConditioning(vae, reference, device, blinks, gaze))
    return cast(Conditioning, WanConditioning(vae, reference, device))
