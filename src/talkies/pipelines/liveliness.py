"""How lively everybody of a run is: as was asked, or drawn."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from talkies.pipelines.chance import Seeds, chance_of

_LIVELINESS = 0x11FE  # tells these draws from all others that begin with the run's seed


def drawn_liveliness(
    seeds: Seeds, setting: float | tuple[float, float] | None, wanted: Sequence[float | None], people: int
) -> Tensor | None:
    """How lively everybody is (`talkies.domain.liveliness`), `[B, P]`.

    Args:
        seeds: One for each picture (`picture_seeds`).
        setting: Everybody's, or the least and the most of what is drawn; None for None: the network is not told.
        wanted: What was asked of each person; None for the setting.
        people: P.
    """
    if setting is None:
        return None
    least, most = (setting, setting) if isinstance(setting, float) else sorted(setting)
    drawn = [[chance_of(_LIVELINESS, seed, person).uniform(least, most) for person in range(people)] for seed in seeds]
    asked = [*wanted, *[None] * (people - len(wanted))]
    return torch.tensor([[a if w is None else w for a, w in zip(row, asked, strict=True)] for row in drawn])
