"""The autoencoder's side of the video loop: what a clip is conditioned on and how its latents become frames.

One strategy per kind of autoencoder, chosen once, for one run, with the run's reference frame built in.
"""

from __future__ import annotations

from typing import Any, Protocol, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.domain.clip import TEMPORAL_STRIDE
from talkies.sampling.rollout import Condition, Conditioning

MASK_CHANNELS = TEMPORAL_STRIDE
"""Wan's mask has one channel per video frame of a latent frame."""


class VideoAutoencoder(Protocol):
    """What is used of diffusers' autoencoders: ``config`` and the types of the weights; calls differ by kind."""

    config: Any
    dtype: torch.dtype


def known_mask(known: int, shape: tuple[int, int, int, int, int], device: torch.device) -> Tensor:
    """1 in the first ``known`` latent frames: ``[B, 4, T, h, w]`` for latents of ``shape``."""
    mask = torch.zeros(shape[0], MASK_CHANNELS, *shape[2:], device=device)
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

    def latent_shape(self, latent_frames: int) -> tuple[int, int, int, int]:
        """``(z, T, h, w)``."""
        H, W = self.reference.shape[-2:]
        scale = self._vae.config.scale_factor_spatial
        return self._vae.config.z_dim, latent_frames, H // scale, W // scale

    def encode(self, frames: Tensor) -> Tensor:
        """``[B, 3, F, H, W]`` -> ``[B, z, T, h, w]``, unit scale; the mean of the distribution."""
        posterior = self._vae.encode(frames.to(self._device, self._vae.dtype)).latent_dist
        return self._scale.to_unit(posterior.mode())

    def prepare(self, frames: Tensor, latent_frames: int, known: Tensor | None = None) -> Condition:
        """Mask and latents, ``[B, 4 + z, T, h, w]``."""
        missing = TEMPORAL_STRIDE * (latent_frames - 1) + 1 - frames.shape[2]
        latents = self.encode(F.pad(frames, (0, 0, 0, 0, 0, missing)))
        if known is None:
            known = latents[:, :, : (frames.shape[2] - 1) // TEMPORAL_STRIDE + 1]
        latents = torch.cat([known, latents[:, :, known.shape[2] :]], dim=2)
        mask = known_mask(known.shape[2], tuple(latents.shape), self._device)  # type: ignore[arg-type]
        return Condition(torch.cat([mask, latents], dim=1), known)

    def decode(self, latents: Tensor) -> Tensor:
        """``[B, z, T, h, w]`` -> ``[B, 3, F, H, W]``."""
        sample = self._vae.decode(self._scale.from_unit(latents).to(self._vae.dtype), return_dict=False)[0]
        return sample.float().clamp(-1, 1).cpu()


class ReferenceConditioning:
    """For an autoencoder that sees the reference frame itself: mask, given latents, the reference's features.

    Frames that are not given are zeros; what the network must know of the picture is told by the features, in every
    latent frame. Decoding against the original reference keeps the identity, however long the video.

    Args:
        vae: ``AutoencoderReference``.
        reference: ``[B, 3, H, W]`` in [-1, 1].
        device: Where the run happens.
    """

    def __init__(self, vae: Any, reference: Tensor, device: torch.device) -> None:
        self._vae = vae
        self._device = device
        self._scale = _LatentScale(vae.config.latents_mean, vae.config.latents_std, device)
        self.reference = reference.to(device, torch.float32)
        self._features = vae.encode_reference(self.reference).float()  # [B, c_ref, h, w]

    def latent_shape(self, latent_frames: int) -> tuple[int, int, int, int]:
        """``(z, T, h, w)``."""
        return self._vae.config.latent_channels, latent_frames, *self._features.shape[-2:]

    def encode(self, frames: Tensor) -> Tensor:
        """``[B, 3, F, H, W]`` -> ``[B, z, T, h, w]``, unit scale."""
        posterior = self._vae.encode(frames.to(self._device, torch.float32), self.reference).latent_dist
        return self._scale.to_unit(posterior.mode())

    def prepare(self, frames: Tensor, latent_frames: int, known: Tensor | None = None) -> Condition:
        """Mask, given latents and reference features, ``[B, 4 + z + c_ref, T, h, w]``."""
        known = self.encode(frames) if known is None else known
        latents = F.pad(known, (0, 0, 0, 0, 0, latent_frames - known.shape[2]))
        mask = known_mask(known.shape[2], tuple(latents.shape), self._device)  # type: ignore[arg-type]
        features = self._features[:, :, None].expand(-1, -1, latent_frames, -1, -1)
        return Condition(torch.cat([mask, latents, features], dim=1), known)

    def decode(self, latents: Tensor) -> Tensor:
        """``[B, z, T, h, w]`` -> ``[B, 3, F, H, W]``."""
        sample = self._vae.decode(self._scale.from_unit(latents), self.reference, return_dict=False)[0]
        return sample.float().clamp(-1, 1).cpu()


def conditioning_for(vae: VideoAutoencoder, reference: Tensor, device: torch.device) -> Conditioning:
    """The strategy of an autoencoder, told by its configuration (``requires_reference``)."""
    kind = ReferenceConditioning if vae.config.get("requires_reference", False) else WanConditioning
    return cast(Conditioning, kind(vae, reference, device))
