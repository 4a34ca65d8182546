"""A picture that goes through a file keeps its colours."""

from __future__ import annotations

import numpy as np
from PIL import Image

from talkies.media.shards import decode_video, encode_video


def test_reading_a_film_again_and_again_does_not_darken_it() -> None:
    coarse = np.random.default_rng(0).integers(20, 235, (6, 10, 3), dtype=np.uint8)
    picture = np.asarray(Image.fromarray(coarse).resize((320, 192), Image.Resampling.BICUBIC))
    frames = picture[None].repeat(2, 0)
    for _ in range(3):
        frames = decode_video(encode_video(frames))
    assert np.abs(frames[0].mean((0, 1)) - picture.mean((0, 1))).max() < 0.8  # swscale's shortest way: 3 to 4
