"""Blinks of one run: drawn from its seed, so the same on every device, and in a run that was resumed."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from talkies.domain.blinks import blink_moments, lids
from talkies.domain.clip import FPS
from talkies.pipelines.conditioning import Blinks

_MARK = 0xB11A  # tells these draws from all others that begin with the run's seed


def drawn_blinks(generators: Sequence[torch.Generator], reference: Tensor, per_minute: float) -> Blinks | None:
    """Everybody blinks on their own; nobody in the first frame, which is the picture. Another picture's people blink
    at other moments with the same seed.

    Args:
        generators: The run's, one or one for each sample; their state is left alone.
        reference: Pictures, `[B, 3, H, W]` in [-1, 1].
        per_minute: How often; 0 for None: as the latents say.
    """
    if not per_minute:
        return None
    batch = len(reference)
    own = len(generators) == batch
    pictures = ((reference + 1) * 127.5).round().byte().cpu().numpy()
    seeds = [
        [generators[k if own else 0].initial_seed(), 0 if own else k, zlib.crc32(picture.tobytes())]
        for k, picture in enumerate(pictures)
    ]

    def shut(faces: int, start: int, frames: int) -> Tensor:
        times = (np.arange(start, start + frames) + 0.5) / FPS
        rows = []
        for seed in seeds:
            for face in range(faces):
                rng = np.random.default_rng([_MARK, *seed, face])
                moments = blink_moments((start + frames) / FPS, per_minute, rng)
                rows.append(lids(times, (moment for moment in moments if moment > 1 / FPS)))
        return torch.from_numpy(np.reshape(rows, (batch, faces, frames)).astype(np.float32))

    return shut
