"""How good the judges are on a set whose truth is known: who is bound to whom, and are shifts found where they are?

    python benchmarks/evaluation_bounds.py SETS test-dual

For every clip of the set, each face against each voice as it is, with the sound moved by known numbers of frames, and
with the voices of the clip before. Both judges: lip openings (`curve`) and the sync expert (`stage-sync`).
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from talkies.evaluation.expert import ExpertScorer
from talkies.evaluation.lips import lip_reports
from talkies.evaluation.runner import shifted
from talkies.evaluation.sample import Observation
from talkies.evaluation.sets import read_stage
from talkies.evaluation.sync import CurveScorer, SyncScorer, bind

SHIFTS = (3, 6, 10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("sets", type=Path)
    parser.add_argument("name")
    parser.add_argument("--limit", type=int)
    asked = parser.parse_args()
    scorers: tuple[SyncScorer, ...] = (CurveScorer(), ExpertScorer())
    found: dict[str, dict[str, list[float]]] = {scorer.name: {} for scorer in scorers}
    found["lips"] = {}
    seconds, frames, before = 0.0, 0, None
    for sample in read_stage(asked.sets, asked.name, limit=asked.limit):
        began = time.process_time()
        seen = Observation(sample)
        if seen.lost:
            print(f"{sample.key}: lost {', '.join(seen.lost)}")
            continue
        for scorer in scorers:
            table = found[scorer.name]
            own = bind(seen, scorer)
            _note(table, "binding accuracy", [own.accuracy])
            _note(table, "in step", list(np.abs(own.offsets[~np.isnan(own.offsets)]) <= 1))
            _note(table, "own score", [own.own])
            _note(table, "leaked", [own.leaked])
            for late in SHIFTS:
                (moved,) = shifted([replace(sample)], late)
                offsets = bind(seen.with_voices(moved.people), scorer).offsets
                _note(table, f"found at {late}", list(np.abs(offsets - late)[~np.isnan(offsets)] <= 1))
            if before is not None and len(before) == len(sample.people):
                other = bind(seen.with_voices(before), scorer)
                _note(table, "shuffled: own score", [other.own])
                _note(table, "shuffled: in step", list(np.abs(other.offsets[~np.isnan(other.offsets)]) <= 1))
                _note(table, "shuffled: accuracy", [other.accuracy])
        before = sample.people
        for report in lip_reports(seen):
            _note(found["lips"], "r with the truth", [report.r])
            _note(found["lips"], "closed on p b m", [report.closed_on_bilabials])
            _note(found["lips"], "closed in silence", [report.closed_in_silence])
        seconds += time.process_time() - began
        frames += seen.size[0]
    for scorer, table in found.items():
        for name, values in ((name, values) for name, values in table.items() if values):
            print(f"{scorer:<11} {name:<22} {np.mean(values):7.3f}  n={len(values)}")
    print(f"{seconds:.1f} s of processor time for {frames} frames")


def _note(table: dict[str, list[float]], name: str, values: list[float]) -> None:
    table.setdefault(name, []).extend(float(value) for value in values if np.isfinite(value))


if __name__ == "__main__":
    main()
