"""Which voice goes with which face: a score for every pair, by any scorer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.curves import NO_SYNC, STILL, Alignment, align
from talkies.evaluation.sample import Observation


class SyncScorer(Protocol):
    """Something that judges faces against voices."""

    @property
    def name(self) -> str:
        """Stands in every column it fills, so that numbers of two scorers are never mixed."""

    def faces(self, seen: Observation) -> list[NDArray[np.floating]]:
        """Features over time of every face, once per video."""

    def voices(self, seen: Observation) -> list[NDArray[np.floating]]:
        """Features over time of every voice."""

    def compare(self, face: NDArray[np.floating], voice: NDArray[np.floating]) -> Alignment:
        """Agreement at every shift."""


@dataclass(frozen=True)
class CurveScorer:
    """Lip opening seen by the face mesh against lip opening heard by the linear filter: no network is trained."""

    name: str = "curve"

    def faces(self, seen: Observation) -> list[NDArray[np.floating]]:
        return [mouth.opening for mouth in seen.mouths]

    def voices(self, seen: Observation) -> list[NDArray[np.floating]]:
        return list(seen.expected)

    def compare(self, face: NDArray[np.floating], voice: NDArray[np.floating]) -> Alignment:
        return align(face, voice)


@dataclass(frozen=True)
class Binding:
    """Faces against voices.

    Attributes:
        scores: `[N, N]`, row: face, column: voice; NaN in the columns of silent people.
        offsets: `[N]` best shift of each face against its own voice; NaN for silent people.
        chance_scores: `[N, N, S]`, the same as `scores` around S shifts at which nothing is in step.
    """

    scores: NDArray[np.float64]
    offsets: NDArray[np.float64]
    chance_scores: NDArray[np.float64]

    @property
    def speaking(self) -> NDArray[np.bool_]:
        """Who has a voice, `[N]`."""
        return np.asarray(~np.isnan(self.scores).all(0))

    @property
    def accuracy(self) -> float:
        """Share of speaking people whose face agrees best with their own voice; NaN with fewer than two voices."""
        voices = np.flatnonzero(self.speaking)
        if len(voices) < 2:
            return float("nan")
        return float(np.mean([np.nanargmax(self.scores[k]) == k for k in voices]))

    @property
    def chance(self) -> float:
        """What guessing would give."""
        count = int(self.speaking.sum())
        return 1 / count if count > 1 else float("nan")

    @property
    def own(self) -> float:
        """Mean score of faces with their own voices."""
        return _mean([self.scores[k, k] for k in np.flatnonzero(self.speaking)])

    @property
    def margin(self) -> float:
        """Own score minus the best other voice's, mean over speaking people."""
        voices = np.flatnonzero(self.speaking)
        if len(voices) < 2:
            return float("nan")
        return _mean([self.scores[k, k] - np.nanmax(np.delete(self.scores[k], k)) for k in voices])

    @property
    def leaked(self) -> float:
        """Best score of silent people's faces with anybody's voice, mean; NaN where nobody is silent."""
        quiet = np.flatnonzero(~self.speaking)
        return _mean([np.nanmax(self.scores[k]) for k in quiet]) if self.speaking.any() else float("nan")

    @property
    def leaked_by_chance(self) -> float:
        """What `leaked` would be if silent people's faces had nothing to do with the voices."""
        quiet = np.flatnonzero(~self.speaking)
        if not self.speaking.any():
            return float("nan")
        return _mean([float(np.nanmax(self.chance_scores[k], axis=0).mean()) for k in quiet])


def bind(seen: Observation, scorer: SyncScorer, tolerance: int = 1) -> Binding:
    """Scores every face against every voice, at shifts of at most `tolerance` frames."""
    faces, voices = scorer.faces(seen), scorer.voices(seen)
    count = len(faces)
    scores = np.full((count, count), np.nan)
    offsets = np.full(count, np.nan)
    chance = np.full((count, count, len(NO_SYNC.far(tolerance))), np.nan)
    for j, voice in enumerate(voices):
        if float(np.std(voice)) < STILL:
            continue
        for i, face in enumerate(faces):
            alignment = scorer.compare(face, voice)
            scores[i, j] = alignment.near(tolerance)
            chance[i, j] = alignment.far(tolerance)
            if i == j:
                offsets[i] = alignment.offset
    return Binding(scores, offsets, chance)


def swapped_share(first: Observation, second: Observation) -> float:
    """Swap test of a pair: the second video was made with the first two people's voices exchanged.

    Returns:
        Share of the two faces whose lips now move like the other face's did, rather than like their own did.
    """
    before = [mouth.opening for mouth in first.mouths[:2]]
    after = [mouth.opening for mouth in second.mouths[:2]]
    return float(np.mean([align(after[k], before[1 - k]).near() > align(after[k], before[k]).near() for k in (0, 1)]))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else float("nan")
