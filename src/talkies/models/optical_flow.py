"""Optical flow of films: measured, brought to another size, and undone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.domain.errors import MissingDependencyError
from talkies.models.face_painter import grid, look_up


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


def warp(picture: Tensor, flow: Tensor, mode: str = "bilinear") -> Tensor:
    """Looks up `picture [N, 3, H, W]` at every pixel moved by `flow [N, 2, H, W]` (x, y in pixels)."""
    places = torch.stack(grid(picture.shape[-2], picture.shape[-1], flow)) + flow
    return look_up(picture, places, mode=mode)


def resized(frames: Tensor, H: int, W: int) -> Tensor:
    """`[..., h, w]` at another size: averaged where smaller, bilinear where larger."""
    h, w = frames.shape[-2:]
    if (h, w) == (H, W):
        return frames
    flat = frames.reshape(-1, 1, h, w)
    if h * w > H * W:
        flat = F.interpolate(flat, (H, W), mode="area")
    else:
        flat = F.interpolate(flat, (H, W), mode="bilinear", align_corners=False)
    return flat.reshape(*frames.shape[:-2], H, W)


def resized_flow(flow: Tensor, H: int, W: int) -> Tensor:
    """`[B, 2, ..., h, w]` at another size, in pixels of that."""
    h, w = flow.shape[-2:]
    ratio = flow.new_tensor([W / w, H / h]).view(2, *[1] * (flow.ndim - 2))
    return resized(flow, H, W) * ratio if (h, w) != (H, W) else flow
