"""Who looks at whom: listeners at who speaks, speakers at whoever spoke before them.

Where eyes look in the picture is not known, but where a head is turned is: eyes turn towards the other as far as the
head has left to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talkies.domain.clip import FPS
from talkies.domain.gaze import watched
from talkies.models.audio_encoder import release_pages

_BESIDE = 40.0  # degrees: where a neighbour stands whom somebody who faces the camera talks to
_EYES_SHARE = 0.25  # of the angle that is left, eyes turn so much; who sits in a picture would turn the head, too
_MOST = 8.0  # degrees that eyes turn towards somebody
_LATE = 0.24  # seconds until people look at who has begun to speak
_AUDIBLE, _LOUD = 1e-3, 0.1  # of full scale, and of the loudest twentieth: less is silence
_PAUSE = 0.6  # seconds of silence within what somebody says
_PROFILE = 75.0  # degrees of turn for a nose as far beside the middle of the eyes as these are apart


class Attention:
    """What one picture's people look at, all along the film.

    Args:
        waveforms: Each person's voice, mono at `rate`; empty for silence.
        rate: Samples per second.
        frames: Of the film.
        masks: Where everybody is, `[P, H, W]`.
    """

    def __init__(self, waveforms: Sequence[Any], rate: int, frames: int, masks: Tensor) -> None:
        self._masks = masks
        seen = watched(np.stack([speaks(waveform, rate, frames) for waveform in waveforms]))
        late = min(round(_LATE * FPS), frames)
        self._watched = np.concatenate([np.full((len(seen), late), -1), seen[:, : frames - late]], 1)  # [P, F]

    def towards(self, faces: Tensor, start: int, frames: int) -> NDArray[np.float64]:
        """How far eyes turn to the right, `[n, F]` in degrees; faces `[n, 5, 2]` in pixels, zeros for none."""
        whose = [self._person(face) for face in faces]
        places = {person: float(face[:2, 0].mean()) for person, face in zip(whose, faces, strict=True) if person >= 0}
        turns = np.zeros((len(faces), frames))
        for k, (person, face) in enumerate(zip(whose, faces, strict=True)):
            if person < 0:
                continue
            looked_at = self._at(person, start, frames)
            for other, across in places.items():
                if other != person:
                    turns[k, looked_at == other] = turn_towards(face, across)
        return turns

    def _person(self, face: Tensor) -> int:
        """Whose face it is; -1 for nobody's."""
        if not face.any():
            return -1
        height, width = self._masks.shape[1:]
        x, y = face.mean(0).round().long().tolist()
        inside = self._masks[:, min(max(y, 0), height - 1), min(max(x, 0), width - 1)] > 0
        return int(inside.nonzero()[0]) if inside.sum() == 1 else -1

    def _at(self, person: int, start: int, frames: int) -> NDArray[np.int64]:
        last = self._watched.shape[1] - 1
        return self._watched[person, np.clip(np.arange(start, start + frames), 0, last)]


def turn_towards(face: Tensor, across: float) -> float:
    """Degrees to the right that eyes turn to look at somebody at `across` pixels.

    Args:
        face: Eyes, nose, corners of the mouth, `[5, 2]` in pixels.
        across: Of the other's face.
    """
    eyes, nose = face[:2], face[2]
    apart = float((eyes[1] - eyes[0]).norm().clamp(min=1e-6))
    yaw = _PROFILE * float(nose[0] - eyes[:, 0].mean()) / apart
    side = 1.0 if across > float(eyes[:, 0].mean()) else -1.0
    left = side * (side * _BESIDE - yaw)  # > 0: the head has not turned as far
    return side * min(max(_EYES_SHARE * left, 0.0), _MOST)


def speaks(waveform: Any, rate: int, frames: int) -> NDArray[np.bool_]:
    """In which frames somebody speaks, short pauses included, `[frames]`; `waveform [n]` mono."""
    hop = round(rate / FPS)
    level = np.zeros(frames)
    for start in range(0, frames, 1000):  # an hour of sound stays on the disk
        part = np.asarray(waveform[start * hop : min(start + 1000, frames) * hop], np.float32)
        whole = part[: len(part) // hop * hop].reshape(-1, hop)
        level[start : start + len(whole)] = np.sqrt(np.square(whole).mean(1))
        release_pages(waveform)
    loudest = np.quantile(level[level > _AUDIBLE], 0.95) if (level > _AUDIBLE).any() else np.inf
    speaking = level > max(_AUDIBLE, _LOUD * loudest)
    for one, then in pairwise(np.flatnonzero(speaking)):
        speaking[one:then] |= then - one <= _PAUSE * FPS
    return speaking


def attentions(
    samples: Sequence[Sequence[Any]], rate: int, frames: int, masks: Tensor | None
) -> list[Attention] | None:
    """One for each picture of a batch; None for people alone.

    Args:
        samples: Per picture, per person, a waveform.
        rate: Samples per second.
        frames: Of the film.
        masks: `[B, P + 1, H, W]`, the last the background; None for one person.
    """
    if masks is None:
        return None
    return [
        Attention([np.asarray(v) if isinstance(v, torch.Tensor) else v for v in voices], rate, frames, mask[:-1])
        for voices, mask in zip(samples, masks, strict=True)
    ]
