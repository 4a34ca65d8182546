"""Each person's lips against what they should do, and against what the others do: one report per person."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation

from talkies.evaluation.curves import STILL, align, correlation, partial_correlation, slope
from talkies.evaluation.sample import Observation, trimmed

#: Frames around speech in which lips may still move: they open before the sound and close after it.
_MARGIN = 4
#: Lips count as closed up to this share of their own range above rest, or this many eye distances.
_CLOSED_SHARE, _CLOSED = 0.25, 0.03
#: Lips that hardly move and are further apart (in eye distances) may be open all along: the mesh sees closed ones at
#: 0.03 at most on the stage's people.
_APART = 0.08
_BILABIAL = frozenset({"P", "B", "M"})


@dataclass(frozen=True)
class LipReport:
    """One person's lips. NaN where a number has no meaning (e.g. `r` of somebody who never speaks).

    Attributes:
        name: Of the person. against: `truth` (exact lips), `curve` (phones or a curve in a unit of its own) or `voice`
            (heard from their sound).
        r: Correlation of the lip opening with what it should be. best_r: The same at the best shift within
            +-15 frames. offset: That shift; positive: lips are late; NaN where they are still.
        width_r: Correlation of the width, where it is known.
        amplitude: Spread of the opening over that of what it should be. gain: Opening per unit of it (least squares).
        error: Mean absolute difference of both, each without its mean, in eye distances. All three are NaN against a
            curve.
        crosstalk: Largest partial correlation with another person's opening, one's own taken away.
        motion: Spread of the opening in eye distances.
        leak: Spread of the opening while silent, in eye distances.
        closed_in_silence: Share of silent frames with closed lips; NaN as below.
        closed_on_bilabials: Share of the centres of p, b, m with closed lips, where phones are known; NaN where lips
            hardly move but are apart, since nobody knows then whether that is how they look when closed.
        silent: Nothing is said all along.
    """

    name: str
    against: str
    r: float
    best_r: float
    offset: float
    width_r: float
    amplitude: float
    gain: float
    error: float
    crosstalk: float
    motion: float
    leak: float
    closed_in_silence: float
    closed_on_bilabials: float
    silent: bool

    def numbers(self) -> dict[str, float]:
        """What can be averaged."""
        return {name: value for name, value in asdict(self).items() if isinstance(value, float)}


def lip_reports(seen: Observation) -> tuple[LipReport, ...]:
    """Reports of everybody in a video.

    Raises:
        InputError: A face is missing, or the video is broken or too short.
    """
    wanted = [wanted_opening(seen, k) for k in range(len(seen.sample.people))]
    return tuple(_report(seen, k, wanted) for k in range(len(wanted)))


def wanted_opening(seen: Observation, person: int) -> NDArray[np.floating]:
    """What a person's lips should do: the truth where it is known, else what their voice asks for; `[F]`."""
    truth = seen.sample.people[person].truth
    return seen.expected[person] if truth is None else trimmed(truth.opening, seen.size[0])


def _report(seen: Observation, k: int, wanted: list[NDArray[np.floating]]) -> LipReport:
    person, mouth, own = seen.sample.people[k], seen.mouths[k], wanted[k]
    opening, truth = mouth.opening, person.truth
    free = truth is not None and not np.isfinite(truth.eyes)
    width = None if truth is None or not np.isfinite(truth.width).all() else trimmed(truth.width, len(opening))
    still = float(np.std(own)) < STILL
    shifts = align(opening, own)
    quiet = ~binary_dilation(seen.speaking[k], iterations=_MARGIN)
    closed = closed_lips(opening)
    others = [other for j, other in enumerate(wanted) if j != k and float(other.std()) > STILL]
    cross = [partial_correlation(opening, other, own) for other in others]
    nan = float("nan")
    return LipReport(
        name=person.name,
        against="voice" if truth is None else "curve" if free else "truth",
        r=nan if still else correlation(opening, own),
        best_r=nan if still else shifts.best,
        offset=float(shifts.offset) if shifts.best > 0 else nan,
        width_r=nan if width is None else correlation(mouth.width, width),
        amplitude=nan if still or free else float(np.std(opening) / np.std(own)),
        gain=nan if free else slope(opening, own),
        error=nan if free else float(np.abs((opening - opening.mean()) - (own - own.mean())).mean()),
        crosstalk=max(cross, key=abs) if cross else nan,
        motion=float(opening.std()),
        leak=float(opening[quiet].std()) if quiet.sum() > 2 else nan,
        closed_in_silence=float(closed[quiet].mean()) if quiet.any() else nan,
        closed_on_bilabials=_closures(closed, person.phones),
        silent=person.silent and still,
    )


def closed_lips(opening: NDArray[np.floating]) -> NDArray[np.floating]:
    """1 in frames with closed lips, 0 in others, `[F]`; NaN where lips are apart and hardly move.

    They are judged against the person's own rest and range, since a mesh's zero differs by face. Lips that are never
    seen at rest cannot be judged so.
    """
    rest, wide = np.percentile(opening, [5, 95])
    if wide - rest < _CLOSED and rest > _APART:
        return np.full(len(opening), np.nan)
    return (opening <= rest + max(_CLOSED_SHARE * float(wide - rest), _CLOSED)).astype(np.float64)


def _closures(closed: NDArray[np.floating], phones: tuple[tuple[str, float, float], ...]) -> float:
    frames = [int((start + end) / 2 * 25) for label, start, end in phones if label.upper() in _BILABIAL]
    inside = [frame for frame in frames if 0 <= frame < len(closed)]
    return float(np.mean(closed[inside])) if inside else float("nan")
