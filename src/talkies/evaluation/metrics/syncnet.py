"""Sync-C and Sync-D: the published SyncNet's confidence and distance, with the user's copy of its weights.

Protocol (Chung and Zisserman, ACCV 2016 workshops, and their program): 25 fps, 16 kHz, faces cut out along a track,
looks of 5 frames and 0.2 s, distances at +-15 frames averaged over the clip. Sync-D is the smallest of them, Sync-C
the median minus the smallest. Two things differ: faces are found by CenterFace instead of S3FD, and once a second with
boxes interpolated in between instead of in every frame. So compare numbers of this harness with each other.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import InputError
from talkies.evaluation.faces import FaceTrack, crop
from talkies.evaluation.metric import Column, Metric
from talkies.evaluation.mfcc import mfcc
from talkies.evaluation.networks import syncnet
from talkies.evaluation.sample import Observation
from talkies.evaluation.weights import SYNCNET

SHIFT = 15
#: How far the crop reaches beyond the face, in half sizes of it, and the filter along the track (published program).
_CROP_SCALE, _MEDIAN = 0.40, 13
#: What the published program sees beyond the picture's edge.
_OUTSIDE = 110
_BATCH = 20


def confidence(distances: NDArray[np.floating]) -> tuple[float, float, int]:
    """Sync-C, Sync-D and the shift.

    Args:
        distances: `[T, 2 s + 1]` of `networks.syncnet.distances`.

    Returns:
        Median minus smallest of the mean distances; the smallest; the offset as the published program counts it, in
        frames, positive: lips are late.
    """
    mean = distances.mean(0)
    best = int(np.argmin(mean))
    middle = float(np.sort(mean)[(len(mean) - 1) // 2])  # torch's median: the lower of the two in the middle
    return middle - float(mean[best]), float(mean[best]), (len(mean) - 1) // 2 - best


def measure(seen: Observation) -> dict[str, float]:
    """Means over speaking people, each face with its own voice.

    Raises:
        InputError: The weights are missing, or the video is shorter than half a second.
    """
    found = [sync(seen, k, seen.voice(k)) for k, person in enumerate(seen.sample.people) if not person.silent]
    if not found:
        return dict.fromkeys(("Sync-C", "Sync-D", "sync offset"), float("nan"))
    c, d, offset = (float(np.mean(values)) for values in zip(*found, strict=True))
    return {"Sync-C": c, "Sync-D": d, "sync offset": offset}


def sync(seen: Observation, person: int, voice: NDArray[np.floating]) -> tuple[float, float, int]:
    """Sync-C, Sync-D and offset of one face with one voice (16 kHz, full scale at 1)."""
    import torch

    face = seen.faces[person]
    if face is None:
        raise InputError(f"{seen.sample.key}: no face is found for {seen.sample.people[person].name}.")
    network = _network(SYNCNET.require())
    coefficients = mfcc(np.rint(np.clip(voice, -1, 1) * 32767))
    looks = min(seen.size[0], len(voice) // 640) - syncnet.FRAMES
    if looks < 8:
        raise InputError(f"{seen.sample.key} is too short for SyncNet: {seen.size[0]} frames, {len(voice)} samples.")
    faces = torch.from_numpy(face_crops(seen, face))  # [F, 224, 224, 3], blue first
    lips, speech = [], []
    with torch.inference_mode():
        for start in range(0, looks, _BATCH):
            span = range(start, min(start + _BATCH, looks))
            clips = torch.stack([faces[t : t + syncnet.FRAMES] for t in span])  # [B, 5, 224, 224, 3]
            lips.append(network.lips(clips.permute(0, 4, 1, 2, 3).float()))
            sounds = [coefficients[4 * t : 4 * t + syncnet.STEPS].T for t in span]
            speech.append(network.speech(torch.tensor(np.stack(sounds), dtype=torch.float32)[:, None]))
    apart = syncnet.distances(torch.cat(lips), torch.cat(speech), SHIFT)
    return confidence(apart.numpy())


def face_crops(seen: Observation, face: FaceTrack) -> NDArray[np.uint8]:
    """The face as the published program cuts it out: `[F, 224, 224, 3]`, blue first."""
    from scipy.signal import medfilt

    half = np.maximum(face.boxes[:, 2] - face.boxes[:, 0], face.boxes[:, 3] - face.boxes[:, 1]) / 2
    middle = (face.boxes[:, :2] + face.boxes[:, 2:]) / 2
    half, x, y = (medfilt(values.astype(np.float64), _MEDIAN) for values in (half, middle[:, 0], middle[:, 1]))
    # From the middle: one half size up, 1 + 2 * 0.4 down, 1 + 0.4 to either side.
    frames = np.stack([x, y + half * _CROP_SCALE, 2 * half * (1 + _CROP_SCALE), np.zeros_like(x)], axis=1)
    crops, start = [], 0
    for block in seen.sample.video.blocks():
        for picture, frame in zip(block, frames[start : start + len(block)], strict=True):
            crops.append(crop(picture, frame, syncnet.SIDE, _OUTSIDE)[..., ::-1])
        start += len(block)
    return np.stack(crops)


@lru_cache(maxsize=1)
def _network(path: Path) -> syncnet.SyncNet:
    return syncnet.load_syncnet(path)


SYNC = Metric(
    name="sync",
    columns=(
        Column("Sync-C", "higher", "", "SyncNet's confidence: median minus smallest distance"),
        Column("Sync-D", "lower", "", "SyncNet's smallest distance"),
        Column("sync offset", "zero", "frames", "shift of that distance; positive: lips are late"),
    ),
    needs="people with voices of their own",
    measure=measure,
    weights="SyncNet v2 (MIT), brought by the user",
    missing=SYNCNET.missing,
    brought=SYNCNET.find,
    source="Chung and Zisserman, ACCV 2016 workshops",
)
