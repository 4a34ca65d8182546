"""The whole pipeline with tiny real parts."""

from __future__ import annotations

import numpy as np
import torch
from tiny_pipeline import stripes, voice

from talkies.sampling.noise import cpu_generator


def test_one_segment(wan, small, picture) -> None:
    for pipeline in (wan, small):
        video = pipeline(
            picture, [voice(0.4), voice(0.2)], "two people talk", person_masks=stripes(2), generator=cpu_generator(0)
        ).frames
        assert len(video[0]) == 10
        assert video[0][0].size == (32, 32)
        assert np.isfinite(np.array(video[0][0], dtype=float)).all()
        assert torch.is_grad_enabled()
