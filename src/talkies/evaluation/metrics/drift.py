"""Drift: how far colour, contrast, sharpness and motion leave the reference picture as time goes on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from talkies.domain.clip import FPS
from talkies.evaluation.appearance import look, resized
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.sample import Observation


def measure(seen: Observation) -> dict[str, float]:
    """Against the reference picture: the first frame where none is given."""
    curves = drift_curves(seen)
    return {
        "colour drift": float(curves["colour drift"].mean()),
        "colour drift at end": float(curves["colour drift"][-1]),
        "contrast at end": float(curves["contrast"][-1]),
        "sharpness": float(curves["sharpness"].mean()),
        "sharpness at end": float(curves["sharpness"][-1]),
        "motion energy": float(curves["motion energy"].mean()),
    }


def drift_curves(seen: Observation) -> dict[str, NDArray[np.float64]]:
    """One number per second (a last part of under half a second joins the one before) for every kind of drift."""
    frames, reference = seen.looks, seen.sample.reference  # [F, 6]
    start = frames[0] if reference is None else look(resized(reference, seen.size[1:]), None)
    seconds = np.array([part.mean(0) for part in np.split(frames, seconds_of(len(frames))[1:])])  # [S, 6]
    return {
        "colour drift": np.linalg.norm(seconds[:, :3] - start[:3], axis=1),
        "contrast": seconds[:, 3] / max(start[3], 1e-6),
        "sharpness": seconds[:, 4] / max(start[4], 1e-6),
        "motion energy": seconds[:, 5],
    }


def seconds_of(frames: int) -> list[int]:
    """The first frame of every second; a last part of under half a second belongs to the one before."""
    edges = list(range(0, frames, FPS))
    return edges[:-1] if len(edges) > 1 and frames - edges[-1] < FPS / 2 else edges


DRIFT = Metric(
    name="drift",
    columns=(
        Column("colour drift", "lower", "CIE Lab", "distance of every second's mean colour from the reference"),
        Column("colour drift at end", "lower", "CIE Lab", "the same in the last second"),
        Column("contrast at end", "one", "", "spread of lightness over the reference picture's, last second"),
        Column("sharpness", "one", "", "variance of the Laplacian over the reference picture's"),
        Column("sharpness at end", "one", "", "the same in the last second"),
        Column("motion energy", "none", "grey levels", "mean change from frame to frame"),
    ),
    needs="a video; the reference picture, else its first frame",
    measure=measure,
    curves=drift_curves,
)
