"""Sync by our own expert: SyncNet's protocol of shifts, a network fitted to the stage's people, names of its own.

A second witness beside `metrics.binding`, which looks at lip openings only: the two share the face mesh and nothing
else. Its numbers are no Sync-C and no Sync-D and must not be read as such.
"""

from __future__ import annotations

import numpy as np

from talkies.evaluation.expert import ExpertScorer, distances, looks
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.sample import Observation
from talkies.evaluation.sync import bind

SCORER = ExpertScorer()
#: A face stranger than this is outside of what the expert was fitted to.
STRANGE = 2.0


def measure(seen: Observation) -> dict[str, float]:
    """Means over speaking people, each face with its own voice; NaN where nobody speaks."""
    faces, voices = SCORER.faces(seen), SCORER.voices(seen)
    talking = [k for k, person in enumerate(seen.sample.people) if not person.silent]
    apart = [found for k in talking if np.isfinite(found := distances(faces[k], voices[k])).any()]
    agreed = [SCORER.compare(faces[k], voices[k]) for k in talking][: len(apart)]
    offsets = np.array([one.offset for one in agreed], np.float64)
    binding = bind(seen, SCORER)
    return {
        "stage-sync confidence": _mean([one.confidence for one in agreed]),
        "stage-sync distance": _mean([float(np.nanmin(found)) for found in apart]),
        "stage-sync offset": _mean(list(offsets)),
        "stage-sync in step": _mean(list((np.abs(offsets) <= 1).astype(np.float64))),
        "stage-sync binding accuracy": binding.accuracy,
        "stage-sync binding margin": binding.margin,
        "stage-sync leaked": binding.leaked,
        "stage-sync leaked by chance": binding.leaked_by_chance,
        "stage-sync strangeness": _mean([look.strangeness for look in looks(seen)]),
    }


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


STAGE_SYNC = Metric(
    name="stage-sync",
    columns=(
        Column("stage-sync confidence", "higher", "", "median minus smallest mean distance over shifts of +-15 frames"),
        Column("stage-sync distance", "lower", "", "smallest mean distance of lips from sound, 0 to 2"),
        Column("stage-sync offset", "zero", "frames", "shift of that distance; positive: lips are late"),
        Column("stage-sync in step", "higher", "", "share of speaking faces found within +-1 frame"),
        Column("stage-sync binding accuracy", "higher", "", "share of faces that agree best with their own voice"),
        Column("stage-sync binding margin", "higher", "", "agreement with the own voice minus the best other one"),
        Column("stage-sync leaked", "lower", "", "best agreement of silent people's lips with anybody's voice"),
        Column("stage-sync leaked by chance", "none", "", "the same with voices moved by 6 frames and more"),
        Column("stage-sync strangeness", "one", "", "how unlike the people the expert was fitted to; 1: like them"),
    ),
    needs="people with voices of their own",
    measure=measure,
    weights="sync expert fitted to the stage (Apache-2.0), included; it is not SyncNet",
    source="Chung and Zisserman, ACCV 2016 workshops (the protocol)",
)
