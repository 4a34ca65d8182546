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
_BILABIAL = frozenset({"P", "B", "M"})


@dataclass(frozen=True)
class LipReport:
    """One person's lips. NaN where a number has no meaning (e.g. `r` of somebody who never speaks).

    Attributes:
        name: Of the person. against: `truth` (exact curves) or `voice` (heard from their sound).
        r: Correlation of the lip opening with what it should be. best_r: The same at the best shift within
            +-15 frames. offset: That shift; positive: lips are late; NaN where they are still.
        width_r: Correlation of the width, against truth only.
        amplitude: Spread of the opening over that of what it should be. gain: Opening per unit of it (least squares).
        error: Mean absolute difference of both, each without its mean, in eye distances.
        crosstalk: Largest partial correlation with another person's opening, one's own taken away.
        motion: Spread of the opening in eye distances.
        leak: Spread of the opening while silent, in eye distances.
        closed_in_silence: Share of silent frames with closed lips.
        closed_on_bilabials: Share of the centres of p, b, m with closed lips, where phones are known.
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
    opening = mouth.opening
    still = float(np.std(own)) < STILL
    shifts = align(opening, own)
    quiet = ~binary_dilation(seen.speaking[k], iterations=_MARGIN)
    closed = closed_lips(opening)
    others = [other for j, other in enumerate(wanted) if j != k and float(other.std()) > STILL]
    cross = [partial_correlation(opening, other, own) for other in others]
    nan = float("nan")
    return LipReport(
        name=person.name,
        against="truth" if person.truth is not None else "voice",
        r=nan if still else correlation(opening, own),
        best_r=nan if still else shifts.best,
        offset=float(shifts.offset) if shifts.best > 0 else nan,
        width_r=nan if person.truth is None else correlation(mouth.width, trimmed(person.truth.width, len(opening))),
        amplitude=nan if still else float(np.std(opening) / np.std(own)),
        gain=slope(opening, own),
        error=float(np.abs((opening - opening.mean()) - (own - own.mean())).mean()),
        crosstalk=max(cross, key=abs) if cross else nan,
        motion=float(opening.std()),
        leak=float(opening[quiet].std()) if quiet.sum() > 2 else nan,
        closed_in_silence=float(closed[quiet].mean()) if quiet.any() else nan,
        closed_on_bilabials=_closures(closed, person.phones),
        silent=person.silent and still,
    )


def closed_lips(opening: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Frames `[F]` with closed lips, judged against the person's own rest and range: a mesh's zero differs by face."""
    rest, wide = np.percentile(opening, [5, 95])
    return np.asarray(opening <= rest + max(_CLOSED_SHARE * float(wide - rest), _CLOSED))


def _closures(closed: NDArray[np.bool_], phones: tuple[tuple[str, float, float], ...]) -> float:
    frames = [int((start + end) / 2 * 25) for label, start, end in phones if label in _BILABIAL]
    inside = [frame for frame in frames if 0 <= frame < len(closed)]
    return float(np.mean(closed[inside])) if inside else float("nan")
