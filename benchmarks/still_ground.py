"""How still the ground around people stays in films made of a picture with a camera that stands.

    python benchmarks/still_ground.py FILM...

Ground: where the matte of the first frame (`talkies.media.people_matte`) is below 0.02, up to four distances from eyes
to mouth around a face. Printed: how far its pixels are from those of the first frame, root mean square over the film,
in grey levels; the same of the 1 % that change most, which is where lines bend; and of people, who should move.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from talkies.evaluation.video import VideoFile
from talkies.media.face_places import find_landmarks
from talkies.media.people_matte import people_matte


def changes(path: Path) -> tuple[float, float, float]:
    """Of the ground, of the hundredth of it that changes most, and of people."""
    film = VideoFile(path).read()
    still, frames = Image.fromarray(film[0]), film.astype(np.float32)
    faces = find_landmarks(still)
    matte = people_matte(still, faces)
    y, x = np.mgrid[: still.height, : still.width]
    near = np.zeros(matte.shape, bool)
    for face in faces:
        length = np.linalg.norm(face[3:].mean(0) - face[:2].mean(0))
        near |= np.hypot(x - face[2, 0], y - face[2, 1]) < 4 * length
    changed: NDArray[np.float32] = np.square(frames - frames[0]).mean((0, 3))
    ground = np.sort(changed[near & (matte < 0.02)])
    most = ground[-max(1, len(ground) // 100) :]
    ground_rms, most_rms, people_rms = (float(np.sqrt(v.mean())) for v in (ground, most, changed[matte > 0.9]))
    return ground_rms, most_rms, people_rms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("films", type=Path, nargs="+")
    print("film: ground, its most changed hundredth, people (grey levels)")
    for path in parser.parse_args().films:
        print(f"{path.name}: " + ", ".join(f"{value:.2f}" for value in changes(path)))


if __name__ == "__main__":
    main()
