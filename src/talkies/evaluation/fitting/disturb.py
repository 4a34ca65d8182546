"""Crops as they may come: a little off, turned, lit otherwise, blurred, noisy, seen in a mirror."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

#: Standard deviations: shift in pixels, size (log), turn in radians, all per clip; and the trembling between frames.
_SHIFT, _SIZE, _TURN, _TREMBLE = 1.2, 0.05, 0.05, 0.25
#: Gamma (log), grey noise, share of blurred clips.
_GAMMA, _NOISE, _BLURRED = 0.25, 4.0, 0.35


def disturbed(clips: Tensor, size: int, mirrored: Tensor) -> Tensor:
    """Crops drawn from wider ones.

    Args:
        clips: `[B, T, S, S]` uint8 grey. size: Side of the result, at most S. mirrored: `[B]` bool.

    Returns:
        `[B, T, size, size]` float32 in 0..255.
    """
    count, length, side, _ = clips.shape
    turn = torch.randn(count, 1) * _TURN
    zoom = torch.exp(torch.randn(count, 1) * _SIZE) * size / side
    shift = torch.randn(count, 1, 2) * _SHIFT + torch.randn(count, length, 2) * _TREMBLE
    flip = 1 - 2 * mirrored.float()[:, None]
    cos, sin = torch.cos(turn) * zoom, torch.sin(turn) * zoom
    rows = torch.stack([torch.stack([cos * flip, -sin], -1), torch.stack([sin * flip, cos], -1)], -2)  # [B, 1, 2, 2]
    theta = torch.cat([rows.expand(-1, length, -1, -1), shift[..., None] * 2 / side], -1).flatten(0, 1)
    grid = F.affine_grid(theta, [count * length, 1, size, size], align_corners=False)
    crops = F.grid_sample(
        clips.flatten(0, 1)[:, None].float(), grid, padding_mode="border", align_corners=False
    )  # [B T, 1, size, size]
    gamma = torch.exp(torch.randn(count, 1, 1, 1, 1) * _GAMMA)
    crops = (crops.unflatten(0, (count, length)) / 255).clamp(1e-3, 1) ** gamma * 255
    blurred = F.avg_pool2d(crops.flatten(0, 1), 2)
    blurred = F.interpolate(blurred, size=(size, size), mode="bilinear", align_corners=False).view_as(crops)
    crops = torch.where((torch.rand(count) < _BLURRED)[:, None, None, None, None], blurred, crops)
    crops = crops + torch.randn_like(crops) * (torch.rand(count, 1, 1, 1, 1) * _NOISE)
    return crops[:, :, 0]
