"""Gestures of heads that are seen in a film: in whom, when. `python benchmarks/seen_gestures.py FILM --people 2`."""

from __future__ import annotations

import argparse
from pathlib import Path

from talkies.domain.clip import FPS
from talkies.evaluation.sample import Observation
from talkies.evaluation.seen_gestures import head_gestures_of
from talkies.evaluation.sets import read_single


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--people", type=int, default=2)
    arguments = parser.parse_args()
    sample = read_single(arguments.film, [Path("silence")] * arguments.people)
    for number, face in enumerate(Observation(sample).found_faces, 1):
        seen = [f"{g.name} {g.first / FPS:.2f} to {g.last / FPS:.2f} s" for g in head_gestures_of(face)]
        print(f"face {number}: {', '.join(seen) or 'none'}")


if __name__ == "__main__":
    main()
