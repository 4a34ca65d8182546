"""How far the detector's landmarks lie from the stage's: what `talkies.media.face_places` corrects, and what is left.

    python benchmarks/landmarks.py TRACKS

One frame of every second track of a folder (`talkies stage tracks --first 1000000`), before grey. Mean and spread
over faces of the differences right and down between middles of eyes and of mouths, in distances from eyes to mouth, and
the length of that distance relative to the true one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from talkies.media.face_places import find_landmarks
from talkies.training.composites import find_tracks

FRAME = 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tracks", type=Path)
    folder = parser.parse_args().tracks
    rows, missed = [], 0
    for track in find_tracks(folder)[::2]:
        rgba = track.frames[FRAME].astype(np.float32)
        picture = rgba[..., :3] + 128 * (1 - rgba[..., 3:] / 255)
        found = find_landmarks(Image.fromarray(picture.astype(np.uint8)))
        if len(found) != 1:
            missed += 1
            continue
        eyes, mouth = track.labels["points"][FRAME, :2].mean(0), track.labels["points"][FRAME, 3:5].mean(0)
        length = np.linalg.norm(mouth - eyes)
        seen_eyes, seen_mouth = found[0, :2].mean(0), found[0, 3:].mean(0)
        ratio = np.linalg.norm(seen_mouth - seen_eyes) / length
        rows.append([*(seen_eyes - eyes) / length, *(seen_mouth - mouth) / length, ratio])
    mean, spread = np.mean(rows, 0), np.std(rows, 0)
    print(f"{len(rows)} faces, {missed} not found")
    for name, m, s in zip(
        ("eyes right", "eyes down", "mouth right", "mouth down", "length"), mean, spread, strict=True
    ):
        print(f"{name}: {m:.3f} +- {s:.3f}")


if __name__ == "__main__":
    main()
