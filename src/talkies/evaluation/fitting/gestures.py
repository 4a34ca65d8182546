"""Fits the classifier of head gestures: when a track's gesture is on, from the motion of its face's points."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from talkies.domain.errors import InputError
from talkies.evaluation.fitting.recipe import Count, FitRecipe, run
from talkies.evaluation.head_motion import FEATURES, MIRRORED, of_labels
from talkies.evaluation.networks.blocks import save_network
from talkies.evaluation.networks.head_gestures import NAMES, NUMBERS, HeadGestures
from talkies.evaluation.seen_gestures import find_gestures

#: What a mesh that follows a face does to its points, in units of `head_motion`: trembling, and drifting.
_TREMBLE, _DRIFT = 0.08, 0.25
_STRONGER = 0.2
_MIRROR = torch.tensor([-1.0 if name in MIRRORED else 1.0 for name in FEATURES])


class GesturesRecipe(FitRecipe):
    """A fit of head gestures.

    Attributes:
        none_weight: What a frame without gesture counts beside one with.
        shortest: Frames that a piece of a track has at least.
    """

    none_weight: float = 0.4
    shortest: Count = 33


def fit_gestures(recipe: GesturesRecipe, out: Path | None, say: Callable[[str], None]) -> dict[str, float]:
    """Fits, saves, and judges on the validation people.

    Args:
        out: File for the weights, `.safetensors`; None: nothing is kept but the checkpoint.
    """
    torch.set_num_threads(recipe.threads)
    motions, labels = read_gestures(recipe.tracks, recipe.limit, recipe.every)
    test = read_gestures(recipe.validation)
    torch.manual_seed(recipe.seed)
    network = HeadGestures()
    weights = torch.tensor([recipe.none_weight, *[1.0] * len(NAMES)])

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((recipe.seed, step))
        length = int(rng.integers(recipe.shortest, motions.shape[1] + 1))
        chosen = rng.integers(0, len(motions), recipe.batch)
        first = rng.integers(0, motions.shape[1] - length + 1, recipe.batch)
        pieces = np.stack([motions[k, a : a + length] for k, a in zip(chosen, first, strict=True)])
        wanted = np.stack([labels[k, a : a + length] for k, a in zip(chosen, first, strict=True)])
        logits = network(_disturbed(torch.from_numpy(pieces)))
        return F.cross_entropy(logits.flatten(0, 1), torch.from_numpy(wanted).flatten().long(), weights)

    run(network, recipe, "gestures", loss_at, lambda: judge(network, *test), say)
    if out is not None:
        save_network(network, out)
    return judge(network, *test)


def read_gestures(
    folder: Path, limit: int | None = None, every: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Motion `[N, F, 7]` and classes `[N, F]` of the tracks of a folder.

    Raises:
        InputError: There are none, or of different lengths.
    """
    paths = sorted(folder.glob("person-*.npz"))[:limit:every]
    classes = np.zeros(256, np.uint8)
    classes[list(NUMBERS.values())] = 1 + np.arange(len(NAMES))
    motions, labels = [], []
    for path in paths:
        with np.load(path, allow_pickle=False) as track:
            motions.append(of_labels(track["points"]))
            labels.append(classes[track["gesture"]])
    if not motions or len({len(motion) for motion in motions}) > 1:
        raise InputError(f"{folder} has no tracks, or of different lengths.", "talkies stage tracks --out DIR")
    return np.stack(motions), np.stack(labels)


def _disturbed(motion: Tensor) -> Tensor:
    """`[B, F, 7]` as a mesh might see it: from another first frame, stronger or weaker, mirrored, trembling, adrift."""
    batch, frames, features = motion.shape
    motion = motion - motion[:, :1]
    motion = motion * (1 + _STRONGER * torch.randn(batch, 1, 1))
    motion = torch.where(torch.rand(batch, 1, 1) < 0.5, motion * _MIRROR, motion)
    drift = F.interpolate(torch.randn(batch, features, 4), frames, mode="linear", align_corners=True).transpose(1, 2)
    return motion + _TREMBLE * torch.rand(batch, 1, 1) * torch.randn(motion.shape) + _DRIFT * drift


@torch.inference_mode()
def judge(network: HeadGestures, motions: NDArray[np.float32], labels: NDArray[np.uint8]) -> dict[str, float]:
    """Of tracks with a gesture: share in which it is found, and in which another is; of tracks without any: share in
    which one is found."""
    network.eval()
    probabilities = network(torch.from_numpy(motions)).softmax(-1).numpy()
    found = [find_gestures(values, NAMES) for values in probabilities]
    truth = [set(row[row > 0].tolist()) for row in labels]
    seen = [{1 + NAMES.index(gesture.name) for gesture in gestures} for gestures in found]
    rates: dict[str, float] = {}
    for k, name in enumerate(NAMES, 1):
        asked = [here for here, wanted in zip(seen, truth, strict=True) if k in wanted]
        rates[f"{name} found"] = _share([k in here for here in asked])
    pairs = list(zip(seen, truth, strict=True))
    rates["found"] = _share([wanted <= here for here, wanted in pairs if wanted])
    rates["mistaken"] = _share([bool(here - wanted) for here, wanted in pairs if wanted])
    rates["false alarms"] = _share([bool(here) for here, wanted in pairs if not wanted])
    return rates


def _share(cases: list[bool]) -> float:
    return float(np.mean(cases)) if cases else float("nan")
