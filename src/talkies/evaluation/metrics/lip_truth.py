"""Lip truth: opening, width and closures against what is known."""

from __future__ import annotations

import numpy as np

from talkies.evaluation.lips import LipReport, lip_reports
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.sample import Observation


def measure(seen: Observation) -> dict[str, float]:
    """Means over speaking people whose lips are known; what voices ask for is no truth (see `metrics.binding`)."""
    talking = [report for report in lip_reports(seen) if report.against != "voice" and not report.silent]
    return {
        "lip r": _mean(talking, "r"),
        "lip width r": _mean(talking, "width_r"),
        "lip amplitude": _mean(talking, "amplitude"),
        "lip error": _mean(talking, "error"),
        "lip offset": _mean(talking, "offset"),
        "closed on p b m": _mean(talking, "closed_on_bilabials"),
    }


def _mean(reports: list[LipReport], name: str) -> float:
    values = [value for report in reports if np.isfinite(value := getattr(report, name))]
    return float(np.mean(values)) if values else float("nan")


LIP_TRUTH = Metric(
    name="lip-truth",
    columns=(
        Column("lip r", "higher", "", "correlation of the lip opening with the truth"),
        Column("lip width r", "higher", "", "correlation of the mouth's width with the truth"),
        Column("lip amplitude", "one", "", "spread of the opening over that of the truth"),
        Column("lip error", "lower", "eye distances", "mean absolute difference of the opening, means taken away"),
        Column("lip offset", "zero", "frames", "shift of best agreement; positive: lips are late"),
        Column("closed on p b m", "higher", "", "share of p, b and m with closed lips"),
    ),
    needs="people whose lips are known frame by frame",
    measure=measure,
    weights="MediaPipe Face Mesh (Apache-2.0), included",
    source="arXiv 1907.06724 (mesh); exact lips of `talkies stage render`",
)
