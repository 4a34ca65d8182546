"""Which gestures of heads a model makes when asked.

python benchmarks/gestures_by_name.py SETS VIDEOS --name test-motion
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from talkies.evaluation.networks.head_gestures import NUMBERS
from talkies.evaluation.sample import Observation
from talkies.evaluation.seen_gestures import head_gestures_of
from talkies.evaluation.sets import read_stage


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sets", type=Path)
    parser.add_argument("videos", type=Path)
    parser.add_argument("--name", default="test-motion")
    parser.add_argument("--limit", type=int)
    arguments = parser.parse_args()
    asked: Counter[str] = Counter()
    made: Counter[str] = Counter()
    for sample in read_stage(arguments.sets, arguments.name, arguments.videos, arguments.limit):
        for person, face in zip(sample.people, Observation(sample).found_faces, strict=True):
            wanted = {gesture.name for gesture in person.asked or ()}
            seen = {gesture.name for gesture in head_gestures_of(face)}
            asked.update(wanted & NUMBERS.keys())
            made.update(wanted & seen)
            if unasked := ", ".join(sorted(seen - wanted)):
                print(f"{sample.key}, {person.name}: {unasked} unasked, {', '.join(sorted(wanted)) or 'nothing'} asked")
    for name, count in asked.items():
        print(f"{name}: {made[name]} of {count}")


if __name__ == "__main__":
    main()
