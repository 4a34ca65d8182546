"""What lies around a face: head, trunk and arms of one person as small pictures that hold still while arms move.

The square hangs on the face, many times as large, and follows it so slowly that gestures do not carry it along.
What is nearer to somebody else's face is marked: a neighbour's arms are the neighbour's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.faces import Blocks, FaceTrack, crop
from talkies.evaluation.head_motion import mesh_features

Array = NDArray[np.float32]

#: Side of the pictures in pixels; of the square in lengths from between the eyes to the mouth, and how far its centre
#: lies below the face's.
SIZE, SIDE, DROP = 48, 14.0, 2.5
#: Smoothing of the square's place over time: standard deviation in frames, longer than gestures last.
_SIGMA = 50.0


def squares(eyes: NDArray[Any], mouth: NDArray[Any]) -> Array:
    """Where a person's square lies.

    Args:
        eyes: `[F, 2, 2]` in pixels (x, y). mouth: Its corners, `[F, 2, 2]`.

    Returns:
        `[F, 4]`: centre x and y, side, angle 0, as `faces.crop` takes them.
    """
    from scipy.ndimage import gaussian_filter1d

    above, below = eyes.mean(1), mouth.mean(1)
    unit = max(float(np.median(np.linalg.norm(below - above, axis=1))), 1e-3)
    centre = gaussian_filter1d((above + below).astype(np.float64) / 2, _SIGMA, axis=0, mode="nearest")
    rest = np.tile([SIDE * unit, 0.0], (len(eyes), 1))
    return np.concatenate([centre + np.array([0.0, DROP * unit]), rest], axis=1).astype(np.float32)


def of_video(video: Blocks, faces: Sequence[FaceTrack]) -> list[NDArray[np.uint8]]:
    """`cut_bodies` of the people whose faces were followed through a video; it is read once."""
    places = []
    for face in faces:
        eyes, _, mouth = mesh_features(face)
        places.append(squares(eyes, mouth))
    parts: list[list[NDArray[np.uint8]]] = [[] for _ in places]
    start = 0
    for block in video.blocks():
        now = [place[start : start + len(block)] for place in places]
        for into, cut in zip(parts, cut_bodies(block, now), strict=True):
            into.append(cut)
        start += len(block)
    return [np.concatenate(part) for part in parts]


def cut_bodies(block: NDArray[np.uint8], places: Sequence[Array], size: int = SIZE) -> list[NDArray[np.uint8]]:
    """Everybody's pictures.

    Args:
        block: `[n, H, W, 3]`. places: `squares` of every person, `[n, 4]` each.

    Returns:
        Per person `[n, size, size, 4]`: red, green, blue, and 255 where the picture goes on and nobody else is nearer.
    """
    centres = np.stack([place[:, 0] for place in places])  # [K, n]
    bodies = []
    for k, place in enumerate(places):
        colours = np.stack([crop(picture, frame, size) for picture, frame in zip(block, place, strict=True)])
        steps = ((np.arange(size) + 0.5) / size - 0.5) * place[:, 2:3]  # [n, size], pixels from the square's centre
        across, down = place[:, :1] + steps, place[:, 1:2] + steps
        height, width = block.shape[1:3]
        own = np.abs(across[None] - centres[:, :, None]).argmin(0) == k  # [n, size]
        inside = own & (across >= 0) & (across < width)
        seen = inside[:, None, :] & ((down >= 0) & (down < height))[:, :, None]
        bodies.append(np.concatenate([colours, seen[..., None].astype(np.uint8) * 255], axis=-1))
    return bodies
