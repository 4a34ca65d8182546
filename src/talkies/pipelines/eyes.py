"""What eyes do in one run: drawn from its seed, so the same on every device, and in a run that was resumed.

Another picture's people do it at other moments with the same seed, and so does everybody in a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talkies.domain.blinks import blink_moments, lids
from talkies.domain.clip import FPS
from talkies.domain.gaze import wandering
from talkies.pipelines.conditioning import OfEyes

_BLINKS, _GAZE = 0xB11A, 0x6A2E  # tell these draws from all others that begin with the run's seed
_AWAY = 0.18  # between what people do who speak and who listen (`talkies.stage.motion`)
_FARTHEST = (12.0, 5.0)  # degrees sideways, and up or down: what an eye of a picture can be turned


def drawn_blinks(generators: Sequence[torch.Generator], reference: Tensor, per_minute: float) -> OfEyes | None:
    """Everybody blinks on their own; nobody in the first frame, which is the picture.

    Args:
        generators: The run's, one or one for each sample; their state is left alone.
        reference: Pictures, `[B, 3, H, W]` in [-1, 1].
        per_minute: How often; 0 for None: as the latents say.

    Returns:
        Faces to a picture, first frame and number of frames -> how far eyes are shut, `[B, n, F]` in [0, 1].
    """
    if not per_minute:
        return None

    def shut(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        moments = blink_moments(float(times[-1]) + 0.5 / FPS, per_minute, rng)
        return lids(times, (moment for moment in moments if moment > 1 / FPS))

    return _drawn(_BLINKS, generators, reference, shut)


def drawn_gaze(generators: Sequence[torch.Generator], reference: Tensor, scale: float) -> OfEyes | None:
    """Everybody's eyes wander about where they look in the picture.

    Args:
        generators: As of `drawn_blinks`.
        reference: The same.
        scale: How far, 1 as people's eyes in conversation; 0 for None: they stay.

    Returns:
        Faces to a picture, first frame and number of frames -> degrees to the right and down, `[B, n, F, 2]`.
    """
    if not scale:
        return None

    def turned(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        return np.clip(scale * wandering(times, _AWAY, rng), np.negative(_FARTHEST), _FARTHEST)

    return _drawn(_GAZE, generators, reference, turned, (2,))


def _drawn(
    mark: int,
    generators: Sequence[torch.Generator],
    reference: Tensor,
    draw: Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]],
    values: tuple[int, ...] = (),
) -> OfEyes:
    """`draw` (times `[F]` and a face's own chance -> `[F, *values]`) for every face of every picture."""
    batch = len(reference)
    own = len(generators) == batch
    pictures = ((reference + 1) * 127.5).round().byte().cpu().numpy()
    seeds = [
        [generators[k if own else 0].initial_seed(), 0 if own else k, zlib.crc32(picture.tobytes())]
        for k, picture in enumerate(pictures)
    ]

    def of_eyes(faces: int, start: int, frames: int) -> Tensor:
        times = (np.arange(start, start + frames) + 0.5) / FPS
        chances = [np.random.default_rng([mark, *seed, face]) for seed in seeds for face in range(faces)]
        rows = np.reshape([draw(times, chance) for chance in chances], (batch, faces, frames, *values))
        return torch.from_numpy(rows.astype(np.float32))

    return of_eyes
