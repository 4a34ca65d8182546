"""FID: Frechet distance of Inception features of frames, with the user's copy of the weights."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np

from talkies.evaluation.metric import Column
from talkies.evaluation.networks.inception import Inception, load_inception
from talkies.evaluation.sample import Observation
from talkies.evaluation.set_metric import Features, SetMetric
from talkies.evaluation.weights import INCEPTION

#: Every which frame is looked at: neighbours hardly differ.
STEP = 5
_BATCH = 8


def features(seen: Observation) -> Features:
    """`[n, 2048]` of every fifth frame.

    Raises:
        InputError: The weights are missing or broken.
    """
    import torch

    network = _network(INCEPTION.require())
    found, start = [], 0
    with torch.inference_mode():
        for block in seen.sample.video.blocks():
            frames = block[-start % STEP :: STEP]
            for first in range(0, len(frames), _BATCH):
                pictures = torch.from_numpy(np.ascontiguousarray(frames[first : first + _BATCH]))
                found.append(network(pictures.permute(0, 3, 1, 2).float() / 255).numpy())
            start += len(block)
    return np.concatenate(found)


@lru_cache(maxsize=1)
def _network(path: Path) -> Inception:
    return load_inception(path)


FID = SetMetric(
    name="fid",
    column=Column("FID", "lower", "", "Frechet distance of Inception features of every fifth frame from the real ones"),
    needs="the set's own videos",
    features=features,
    weights="Inception of 2015-12-05 (Apache-2.0), brought by the user",
    missing=INCEPTION.missing,
    brought=INCEPTION.find,
    source="Heusel et al., NeurIPS 2017",
)
