"""How visible the mark is, and whether it is read after encoding: films in, a table out.

Films should not be marked already (`talkies stage film`, a camera's).

    python benchmarks/mark.py FILM... [--frames 25] [--size 640x384]
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FrameSize
from talkies.media.staging import staged
from talkies.media.video import VideoSettings, VideoWriter
from talkies.provenance.watermark import Watermark

IDENTITY = 0xB7E1


def frames_of(path: Path, count: int, size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The first frames, `[n, height, width, 3]` RGB."""
    with av.open(str(path)) as file:
        frames = [
            frame.to_ndarray(format="rgb24") for frame, _ in zip(file.decode(video=0), range(count), strict=False)
        ]
    return np.stack([frame if size is None else cv2.resize(frame, size) for frame in frames])


def smooth(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Where the middle frame is smoothest: the half of its pixels with the least detail around them."""
    light = frames[len(frames) // 2].mean(-1).astype(np.float32)
    detail = cv2.blur((light - cv2.blur(light, (5, 5))) ** 2, (9, 9))
    return np.asarray(detail <= np.median(detail))


def strength(mark: Watermark, frames: NDArray[np.uint8], crf: int) -> str:
    """Of the mark as it is read from these frames after encoding; a dash where it is not found."""
    size = FrameSize(frames.shape[2], frames.shape[1])
    with tempfile.TemporaryDirectory() as folder:
        with staged(Path(folder) / "a.mp4") as path, VideoWriter(path, size, VideoSettings(crf=crf)) as writer:
            writer.write(frames)
        found = mark.read(frames_of(Path(folder) / "a.mp4", len(frames), None))
    return f"{found.strength:.2f}" if found is not None and found.identity == IDENTITY else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", nargs="+", type=Path)
    parser.add_argument("--frames", type=int, default=25)
    parser.add_argument("--size", help="Width x height to which films are brought first.")
    options = parser.parse_args()
    size = tuple(int(side) for side in options.size.split("x")) if options.size else None
    print("| film | PSNR, dB | change in the smoother half, grey levels | ms a frame | read at crf 17, 23, 28 |")
    print("|---|---|---|---|---|")
    for film in options.films:
        frames = frames_of(film, options.frames, size)  # type: ignore[arg-type]
        mark = Watermark(frames.shape[2], frames.shape[1])
        began = time.perf_counter()
        marked = mark.embed(frames, IDENTITY)
        seconds = (time.perf_counter() - began) / len(frames)
        change = marked.astype(np.float32) - frames
        psnr = 10 * np.log10(255**2 / np.square(change).mean())
        still = float(np.sqrt(np.square(change[:, smooth(frames)]).mean()))
        read = ", ".join(strength(mark, marked, crf) for crf in (17, 23, 28))
        name = f"{film.name} {frames.shape[2]}x{frames.shape[1]}"
        print(f"| {name} | {psnr:.1f} | {still:.2f} | {1000 * seconds:.1f} | {read} |", flush=True)


if __name__ == "__main__":
    main()
