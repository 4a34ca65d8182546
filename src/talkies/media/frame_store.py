"""Finished frames kept on disk without loss, so that a long run that was stopped can go on."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.media.staging import staged


class FrameStore:
    """One lossless file (FFV1) per finished segment, in a folder.

    Args:
        folder: Made when the first frames come.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, segment: int, frames: NDArray[np.uint8]) -> None:
        """Keeps a segment's frames, `[n, height, width, 3]` RGB; they appear whole or not at all.

        Raises:
            TalkiesError: The disk is full.
        """
        import av

        self.folder.mkdir(exist_ok=True)
        with staged(self._path(segment)) as temporary, av.open(str(temporary), "w") as file:
            stream = file.add_stream("ffv1", rate=25, options={"level": "3", "slicecrc": "1"})
            stream.height, stream.width = frames.shape[1:3]  # type: ignore[union-attr]
            stream.pix_fmt = "bgr0"  # type: ignore[union-attr]
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
                file.mux(stream.encode(picture))  # type: ignore[union-attr, arg-type]
            file.mux(stream.encode(None))  # type: ignore[union-attr]

    def load(self, segment: int) -> NDArray[np.uint8]:
        """A segment's frames, `[n, height, width, 3]`.

        Raises:
            InputError: They are not there or damaged.
        """
        import av

        try:
            with av.open(str(self._path(segment))) as file:
                frames = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
        except (OSError, av.error.FFmpegError):
            frames = []
        if not frames:
            raise InputError(
                f"The frames of segment {segment + 1} in {self.folder} are missing or damaged.",
                "Start the run again without --resume.",
            )
        return np.stack(frames)

    def segments(self) -> Iterator[int]:
        """Numbers of the segments that are there, from 0 on without gaps."""
        segment = 0
        while self._path(segment).is_file():
            yield segment
            segment += 1

    def remove(self) -> None:
        """Removes the folder with everything in it."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, segment: int) -> Path:
        return self.folder / f"frames-{segment:06d}.mkv"
