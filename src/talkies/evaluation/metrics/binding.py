"""Binding: who speaks with whose voice, and does anybody speak who should not?"""

from __future__ import annotations

import numpy as np

from talkies.evaluation.lips import lip_reports
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.sample import Observation
from talkies.evaluation.sync import CurveScorer, SyncScorer, bind

SCORER: SyncScorer = CurveScorer()


def measure(seen: Observation) -> dict[str, float]:
    """Of one video; NaN where it has too few voices, or nobody silent."""
    binding = bind(seen, SCORER)
    reports = lip_reports(seen)
    talking = [report for report in reports if not report.silent]
    motion = np.mean([report.motion for report in talking]) if talking else np.nan
    quiet = [report.motion for report in reports if report.silent]
    closed = [value for report in reports if np.isfinite(value := report.closed_in_silence)]
    cross = [abs(value) for report in talking if np.isfinite(value := report.crosstalk)]
    return {
        "binding accuracy": binding.accuracy,
        "binding margin": binding.margin,
        "sync score (curve)": binding.own,
        "crosstalk": float(np.mean(cross)) if cross else float("nan"),
        "leaked sync": binding.leaked,
        "leaked sync by chance": binding.leaked_by_chance,
        "leaked motion": float(np.mean(quiet) / motion) if quiet and talking else float("nan"),
        "closed in silence": float(np.mean(closed)) if closed else float("nan"),
    }


BINDING = Metric(
    name="binding",
    columns=(
        Column("binding accuracy", "higher", "", "share of faces that agree best with their own voice"),
        Column("binding margin", "higher", "", "score of the own voice minus the best other one"),
        Column("sync score (curve)", "higher", "", "correlation of lips seen with lips heard, within +-1 frame"),
        Column("crosstalk", "lower", "", "size of the partial correlation of lips with somebody else's speech"),
        Column("leaked sync", "lower", "", "best score of silent people's lips with anybody's voice"),
        Column("leaked sync by chance", "none", "", "the same with voices moved by 6 frames and more"),
        Column("leaked motion", "lower", "", "lip motion of silent people over that of speakers"),
        Column("closed in silence", "higher", "", "share of silent frames with closed lips"),
    ),
    needs="people with voices of their own",
    measure=measure,
    weights="MediaPipe Face Mesh, speech filter fitted to the stage (both Apache-2.0), included",
    source="arXiv 1907.06724 (mesh); the rest is defined in docs/evaluation.md",
)
