"""Optical flow of films: measured, brought to another size, and undone."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.domain.errors import MissingDependencyError
from talkies.models.face_painter import grid, look_up

_LOBES = 6  # the more, the nearer to sinc: fine patterns keep their contrast between pixels


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
            search = flow_search()
        except ImportError as error:
            raise MissingDependencyError("Measuring motion needs OpenCV.", "pip install 'talkies[train]'") from error
        still = grey(reference)
        for k in moved:
            found = search.calc(grey(film[k]), still, None)
            flow[k] = torch.from_numpy(found).permute(2, 0, 1)
    return flow


def flow_search() -> Any:
    """OpenCV's Dense Inverse Search, down to single pixels: its presets stop at two or four, and small faces are mostly
    edge. Variational refinement, which takes most of the presets' time, is left out: cells are averaged anyway.

    Raises:
        ImportError: OpenCV is not installed.
    """
    import cv2

    search = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    search.setFinestScale(0)
    search.setPatchStride(4)
    search.setGradientDescentIterations(12)
    search.setVariationalRefinementIterations(0)
    return search


def warp(picture: Tensor, flow: Tensor) -> Tensor:
    """Looks up `picture [N, 3, H, W]` at every pixel moved by `flow [N, 2, H, W]` (x, y in pixels), bilinearly."""
    places = torch.stack(grid(picture.shape[-2], picture.shape[-1], flow)) + flow
    return look_up(picture, places)


def warp_sharply(halves: Tensor, flow: Tensor) -> Tensor:
    """`warp` that keeps what is fine: between pixels a bilinear look is a blur that comes and goes with the motion.

    Args:
        halves: `with_half_pixels` of the pictures, `[N, 3, 2H, 2W]`.
        flow: Several for each picture, `[N, K, 2, H, W]` in pixels of the picture.

    Returns:
        `[N, K, 3, H, W]`; where nothing moves, the picture to rounding.
    """
    N, K, _, H, W = flow.shape
    places = (torch.stack(grid(H, W, flow)) + flow) * 2 - 0.5  # [N, K, 2, H, W], in pixels of the halves
    tall = places.transpose(1, 2).reshape(N, 2, K * H, W)  # one look for all: the picture is not copied K times
    return look_up(halves, tall, mode="bicubic").unflatten(2, (K, H)).transpose(1, 2)


def with_half_pixels(pictures: Tensor) -> Tensor:
    """`[N, 3, H, W]` -> `[N, 3, 2H, 2W]`: every pixel, and what lies half a pixel to its right and below, as in video
    codecs that compensate motion; by windowed sinc of 2 x `_LOBES` pixels (Lanczos)."""
    away = torch.arange(-_LOBES, _LOBES, device=pictures.device) + 0.5
    taps = torch.sinc(away) * torch.sinc(away / _LOBES)
    taps = (taps / taps.sum()).to(pictures.dtype)
    for dim in (2, 3):
        around = (0, 0, _LOBES - 1, _LOBES) if dim == 2 else (_LOBES - 1, _LOBES, 0, 0)
        kernel = taps.view(1, 1, -1, 1) if dim == 2 else taps.view(1, 1, 1, -1)
        with torch.autocast(pictures.device.type, enabled=False):
            between = F.conv2d(F.pad(pictures, around, mode="replicate").flatten(0, 1)[:, None], kernel)
        pictures = torch.stack([pictures, between.view_as(pictures)], dim + 1).flatten(dim, dim + 1)
    return pictures


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
