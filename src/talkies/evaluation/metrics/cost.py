"""Cost: how long making the video took and how much memory, where that is known."""

from __future__ import annotations

from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.sample import Observation


def measure(seen: Observation) -> dict[str, float]:
    """From what `talkies evaluate run` noted; NaN for other videos."""
    run, nan = seen.sample.run, float("nan")
    return {
        "seconds per frame": run["seconds"] / seen.size[0] if "seconds" in run else nan,
        "peak memory": run["peak_bytes"] / 2**30 if "peak_bytes" in run else nan,
    }


COST = Metric(
    name="cost",
    columns=(
        Column("seconds per frame", "lower", "s", "time that making a frame took, loading included"),
        Column("peak memory", "lower", "GiB", "largest resident memory of the process"),
    ),
    needs="videos made by `talkies evaluate run`",
    measure=measure,
)
