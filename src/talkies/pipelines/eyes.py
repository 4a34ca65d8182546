"""What eyes do in one run: drawn (`talkies.pipelines.chance`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talkies.domain.blinks import blink_moments, lids
from talkies.domain.clip import FPS
from talkies.domain.gaze import wandering
from talkies.pipelines.attention import Attention
from talkies.pipelines.chance import Seeds, chance_of
from talkies.pipelines.conditioning import OfEyes

_BLINKS, _GAZE = 0xB11A, 0x6A2E  # tell these draws from all others that begin with the run's seed
_AWAY = 0.18  # between what people do who speak and who listen (`talkies.stage.motion`)
_FARTHEST = (12.0, 5.0)  # degrees sideways, and up or down: what an eye of a picture can be turned


def drawn_blinks(seeds: Seeds, per_minute: float) -> OfEyes | None:
    """Everybody blinks on their own; nobody in the first frame, which is the picture.

    Args:
        seeds: One for each picture (`picture_seeds`).
        per_minute: How often; 0 for None: as the latents say.

    Returns:
        How far eyes are shut, `[B, n, F]` in [0, 1].
    """
    if not per_minute:
        return None

    def shut(times: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
        moments = blink_moments(float(times[-1]) + 0.5 / FPS, per_minute, rng)
        return lids(times, (moment for moment in moments if moment > 1 / FPS))

    return _drawn(_BLINKS, seeds, shut)


def drawn_gaze(seeds: Seeds, scale: float, attentions: Sequence[Attention] | None = None) -> OfEyes | None:
    """Everybody's eyes wander about whom they look at, or where they look in the picture.

    Args:
        seeds: As of `drawn_blinks`.
        scale: How far, 1 as people's eyes in conversation; 0 for None: they stay.
        attentions: Whom each picture's people look at; None for nobody in particular.

    Returns:
        Degrees to the right and down, `[B, n, F, 2]`.
    """
    if not scale:
        return None

    wander = _drawn(_GAZE, seeds, lambda times, rng: wandering(times, _AWAY, rng), (2,))

    def of_eyes(faces: Tensor, start: int, frames: int) -> Tensor:
        turned = wander(faces, start, frames)
        if attentions is not None:
            for row, people, found in zip(turned, attentions, faces, strict=True):
                row[..., 0] += torch.from_numpy(people.towards(found, start, frames)).float()
        return torch.minimum(scale * turned, torch.tensor(_FARTHEST)).maximum(-torch.tensor(_FARTHEST))

    return of_eyes


def _drawn(
    mark: int,
    seeds: Seeds,
    draw: Callable[[NDArray[np.float64], np.random.Generator], NDArray[np.float64]],
    values: tuple[int, ...] = (),
) -> OfEyes:
    """`draw` (times `[F]` and a face's own chance -> `[F, *values]`) for every face of every picture."""

    def of_eyes(faces: Tensor, start: int, frames: int) -> Tensor:
        times = (np.arange(start, start + frames) + 0.5) / FPS
        chances = [chance_of(mark, seed, face) for seed in seeds for face in range(faces.shape[1])]
        rows = np.reshape([draw(times, chance) for chance in chances], (len(seeds), faces.shape[1], frames, *values))
        return torch.from_numpy(rows.astype(np.float32))

    return of_eyes
