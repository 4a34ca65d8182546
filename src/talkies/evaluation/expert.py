"""The sync expert as a judge of faces and voices: a scorer like `sync.CurveScorer`, independent of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.evaluation.aligned import MOUTH, crop_frames, cut_video
from talkies.evaluation.curves import MAX_SHIFT, Alignment
from talkies.evaluation.sample import Observation

Array = NDArray[np.float32]

#: Looks of a face and a voice that a shift must leave.
_MIN_OVERLAP = 8


@dataclass(frozen=True)
class ExpertScorer:
    """Mouths and sound through `networks.sync_expert`."""

    name: str = "stage-sync"

    def faces(self, seen: Observation) -> list[NDArray[np.floating]]:
        """Unit vectors `[F - 4, 128]` of every face's looks.

        Raises:
            InputError: A face is missing, or the video is broken or too short.
        """
        return [look.lips for look in looks(seen)]

    def voices(self, seen: Observation) -> list[NDArray[np.floating]]:
        """Unit vectors `[F - 4, 128]` of every voice; zeros for silence."""
        import torch

        from talkies.evaluation.networks.sync_expert import BANDS, FRAMES, WIDTH, load_sync_expert
        from talkies.evaluation.speech import log_mel_steps

        network, count = load_sync_expert(), seen.size[0]
        found: list[NDArray[np.floating]] = []
        for k, person in enumerate(seen.sample.people):
            if person.silent:
                found.append(np.zeros((count - FRAMES + 1, WIDTH), np.float32))
                continue
            mel = torch.from_numpy(log_mel_steps(seen.voice(k), count, BANDS))
            with torch.inference_mode():
                found.append(network.sound(mel[None])[0].numpy())
        return found

    def compare(self, face: NDArray[np.floating], voice: NDArray[np.floating]) -> Alignment:
        """See `agreement`."""
        return agreement(face, voice)


@dataclass(frozen=True)
class Look:
    """What the expert sees of one face.

    Attributes:
        lips: `[F - 4, 128]` unit vectors.
        strangeness: How unlike the people it was fitted to this one looks: about 1 for those.
    """

    lips: Array
    strangeness: float


def looks(seen: Observation) -> tuple[Look, ...]:
    """One per person; decodes the video once.

    Raises:
        InputError: A face is missing, or the video is broken or too short.
    """
    found: tuple[Look, ...] = seen.remember("sync expert", lambda: _looks(seen))
    return found


def _looks(seen: Observation) -> tuple[Look, ...]:
    import torch

    from talkies.evaluation.networks.sync_expert import load_sync_expert

    network = load_sync_expert()
    places = [crop_frames(face.points, MOUTH) for face in seen.found_faces]
    parts: list[list[torch.Tensor]] = [[] for _ in places]
    with torch.inference_mode():
        for block in cut_video(seen.sample.video, places, MOUTH.size):
            for k, crops in enumerate(block):
                parts[k].append(network.frames(torch.from_numpy(crops)))
        features = [torch.cat(part) for part in parts]
        return tuple(Look(network.lips(own[None])[0].numpy(), float(network.strangeness(own))) for own in features)


def distances(face: NDArray[np.floating], voice: NDArray[np.floating]) -> NDArray[np.float64]:
    """Mean distances at shifts -MAX_SHIFT..MAX_SHIFT of the face, `[2 * MAX_SHIFT + 1]`, 0 to 2; NaN where too little
    is left.

    Args:
        face: `[T, D]` unit vectors. voice: `[T', D]`. At shift s, `face[t + s]` is compared with `voice[t]`.
    """
    count = min(len(face), len(voice))
    found = np.full(2 * MAX_SHIFT + 1, np.nan)
    for index, shift in enumerate(range(-MAX_SHIFT, MAX_SHIFT + 1)):
        if count - abs(shift) >= _MIN_OVERLAP:
            late, early = max(shift, 0), max(-shift, 0)
            apart = face[late : count - early] - voice[early : count - late]
            found[index] = np.linalg.norm(apart, axis=1).mean()
    return found


def agreement(face: NDArray[np.floating], voice: NDArray[np.floating]) -> Alignment:
    """By how much `distances` lie under their median; 0 where too little is left.

    What a pair has in common at all times (a deep voice and a beard, say) is no sync and falls out.
    """
    found = distances(face, voice)
    if np.isnan(found).all():
        return Alignment(np.zeros_like(found))
    return Alignment(np.nan_to_num(np.nanmedian(found) - found))
