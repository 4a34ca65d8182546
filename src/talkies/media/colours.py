"""Pictures of films in RGB and back, rounded: swscale's shortest way cuts off, and a reading cost a grey level."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import av


def as_rgb(frame: av.VideoFrame, *, averaged: bool = False, **size: Any) -> NDArray[np.uint8]:
    """`[H, W, 3]`.

    Args:
        frame: As the decoder gives it.
        averaged: Where it becomes smaller, pixels are means; else bicubic.
        size: `width`, `height`, `src_colorspace` of `reformat`.
    """
    from av.video.reformatter import Interpolation as How

    how = (How.AREA if averaged else How.BICUBIC) | How.ACCURATE_RND | How.FULL_CHR_H_INT
    return np.asarray(frame.reformat(format="rgb24", interpolation=int(how), **size).to_ndarray(), np.uint8)


def as_yuv(picture: NDArray[np.uint8]) -> av.VideoFrame:
    """`[H, W, 3]` as BT.709 in limited range, 4:2:0."""
    from av import VideoFrame
    from av.video.reformatter import Interpolation as How

    frame = VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
    how = int(How.BICUBIC | How.ACCURATE_RND)
    return frame.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG", interpolation=how)
