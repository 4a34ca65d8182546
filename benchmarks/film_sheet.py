"""A contact sheet of films: a row for each, frames evenly from its first to its last.

python benchmarks/film_sheet.py FOLDER -o sheet.jpg [--frames 7] [--width 200]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import av
import numpy as np
from PIL import Image


def row(path: Path, count: int, width: int) -> np.ndarray:
    """`count` frames of a film side by side, each `width` pixels wide."""
    with av.open(str(path)) as file:
        frames = [frame.to_image() for frame in file.decode(video=0)]
    height = round(frames[0].height * width / frames[0].width)
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    return np.hstack([np.asarray(frames[k].resize((width, height), Image.Resampling.LANCZOS)) for k in chosen])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=7)
    parser.add_argument("--width", type=int, default=200)
    arguments = parser.parse_args()
    rows = [row(path, arguments.frames, arguments.width) for path in sorted(arguments.folder.glob("*.mp4"))]
    Image.fromarray(np.vstack(rows)).save(arguments.output, quality=72)


if __name__ == "__main__":
    main()
