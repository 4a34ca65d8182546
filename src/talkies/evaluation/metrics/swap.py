"""Swap test: a video made with exchanged voices, in which the lips must exchange, too."""

from __future__ import annotations

from dataclasses import replace

from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.sample import Observation
from talkies.evaluation.sync import swapped_share


def measure(seen: Observation) -> dict[str, float]:
    """Of two speakers and a second video of them; NaN for everybody else."""
    sample = seen.sample
    if sample.exchanged is None or len(sample.people) != 2 or any(person.silent for person in sample.people):
        return {"swapped share": float("nan")}
    other = Observation(replace(sample, video=sample.exchanged, exchanged=None))
    return {"swapped share": swapped_share(seen, other)}


SWAP = Metric(
    name="swap",
    columns=(
        Column(
            "swapped share", "higher", "", "share of faces that move like the other's did once voices are exchanged"
        ),
    ),
    needs="two speakers, and videos of `talkies evaluate run --exchanged`",
    measure=measure,
    weights="MediaPipe Face Mesh (Apache-2.0), included",
    source="arXiv 1907.06724 (mesh); the rest is defined in docs/evaluation.md",
)
