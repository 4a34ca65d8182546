"""Keeping a long video's colours where the reference image has them."""

from __future__ import annotations

import torch
from torch import Tensor

# sRGB (D65, 2 degrees) to XYZ, and the white point: CIE 15:2018, the constants scikit-image uses.
_XYZ_FROM_RGB = (
    (0.412453, 0.357580, 0.180423),
    (0.212671, 0.715160, 0.072169),
    (0.019334, 0.119193, 0.950227),
)
_WHITE = (0.95047, 1.0, 1.08883)


def rgb_to_lab(rgb: Tensor) -> Tensor:
    """CIE L*a*b* of sRGB colours: ``[..., 3, H, W]`` in [0, 1] -> the same shape."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055).clamp_min(0) ** 2.4, rgb / 12.92)
    matrix = rgb.new_tensor(_XYZ_FROM_RGB)
    xyz = torch.einsum("ij,...jhw->...ihw", matrix, linear) / rgb.new_tensor(_WHITE)[:, None, None]
    root = torch.where(xyz > 0.008856, xyz.clamp_min(1e-12) ** (1 / 3), 7.787 * xyz + 16 / 116)
    x, y, z = root.unbind(-3)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=-3)


def lab_to_rgb(lab: Tensor) -> Tensor:
    """Inverse of ``rgb_to_lab``; colours outside sRGB are clipped to [0, 1]."""
    lightness, a, b = lab.unbind(-3)
    y = (lightness + 16) / 116
    root = torch.stack([y + a / 500, y, (y - b / 200).clamp_min(0)], dim=-3)
    xyz = torch.where(root > 0.2068966, root**3, (root - 16 / 116) / 7.787) * lab.new_tensor(_WHITE)[:, None, None]
    # Inverted in double precision: the rounded matrix must not move grey.
    matrix = torch.linalg.inv(torch.tensor(_XYZ_FROM_RGB, dtype=torch.float64)).to(lab)
    linear = torch.einsum("ij,...jhw->...ihw", matrix, xyz)
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(0) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb.clamp(0, 1)


def match_colours(frames: Tensor, reference: Tensor, strength: float) -> Tensor:
    """Gives every frame the reference's mean and spread in each channel of L*a*b* (Reinhard et al. 2001).

    Each frame is matched by itself, so the border between two segments shows no step.

    Args:
        frames: ``[B, 3, F, H, W]`` in [-1, 1].
        reference: ``[B, 3, H', W']`` in [-1, 1].
        strength: Share of the correction, in [0, 1]; 0 returns the frames as they are.

    Returns:
        Same shape as ``frames``, in [-1, 1].
    """
    if strength == 0:
        return frames
    target = rgb_to_lab((reference + 1) / 2)  # [B, 3, H', W']
    mean, spread = target.mean((-2, -1), keepdim=True), target.std((-2, -1), correction=0, keepdim=True)
    # Frame by frame also to hold one frame's colour spaces in memory at a time.
    return torch.stack([_match_frame(frame, mean, spread, strength) for frame in frames.unbind(2)], dim=2)


def _match_frame(frame: Tensor, mean: Tensor, spread: Tensor, strength: float) -> Tensor:
    """``[B, 3, H, W]`` in [-1, 1] with mean and spread of L*a*b* ``[B, 3, 1, 1]``."""
    pixels = (frame + 1) / 2
    lab = rgb_to_lab(pixels)
    own = lab.std((-2, -1), correction=0, keepdim=True)
    # A channel without any spread has nothing to scale.
    scale = torch.where(own > 1e-8, spread / own.clamp_min(1e-8), torch.ones_like(own))
    matched = lab_to_rgb((lab - lab.mean((-2, -1), keepdim=True)) * scale + mean)
    return (torch.lerp(pixels, matched, strength) * 2 - 1).clamp(-1, 1)
