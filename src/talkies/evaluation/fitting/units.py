"""Fits the face units: what a face does, from one grey picture of it, against the stage's exact truth."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from talkies.domain.face_units import FACE_UNITS
from talkies.evaluation.aligned import FACE
from talkies.evaluation.fitting.crops import FACE_MARGIN, FACE_STEP, Crops, cut_tracks
from talkies.evaluation.fitting.disturb import disturbed
from talkies.evaluation.fitting.recipe import FitRecipe, run
from talkies.evaluation.networks.blocks import save_network
from talkies.evaluation.networks.face_units import FaceUnits
from talkies.runtime.machine import autocast_bf16

#: Units that spread less than this never move on the stage; they are not fitted and not judged.
STILL_UNIT = 1e-3
#: Column of the same unit in a mirror.
_MIRROR = [
    FACE_UNITS.index(name.replace("Left", "?").replace("Right", "Left").replace("?", "Right")) for name in FACE_UNITS
]


class UnitsRecipe(FitRecipe):
    """A fit of the face units; its batch counts pictures."""


def fit_units(recipe: UnitsRecipe, out: Path | None, say: Callable[[str], None]) -> dict[str, tuple[float, float]]:
    """Fits, saves, and judges every unit on the validation people.

    Args:
        out: File for the weights, `.safetensors`; None: nothing is kept but the checkpoint.

    Returns:
        Correlation and mean absolute error of each unit that moves.
    """
    torch.set_num_threads(recipe.threads)
    train = cut_tracks(recipe.tracks, recipe.output / "crops", recipe.limit, recipe.every, say)
    test = cut_tracks(recipe.validation, recipe.output / "crops-validation", say=say)
    targets = torch.from_numpy(train.units[:, ::FACE_STEP].astype(np.float32))  # [N, n, 52]
    torch.manual_seed(recipe.seed)
    network = FaceUnits().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    spread = targets.flatten(0, 1).std(0)
    network.mean.copy_(targets.flatten(0, 1).mean(0))
    network.spread.copy_(torch.where(spread > STILL_UNIT, spread, 0.0))
    moving = network.spread > 0
    mirror = torch.tensor(_MIRROR)

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((recipe.seed, step))
        tracks = rng.integers(0, len(train.faces), recipe.batch)
        moments = rng.integers(0, train.faces.shape[1], recipe.batch)
        clips = torch.from_numpy(np.stack([train.faces[k, t] for k, t in zip(tracks, moments, strict=True)]))
        mirrored = torch.rand(recipe.batch) < 0.5
        crops = disturbed(clips[:, None], FACE.size, mirrored)[:, 0]
        wanted = targets[tracks, moments]
        wanted = torch.where(mirrored[:, None], wanted[:, mirror], wanted)
        wanted = (wanted - network.mean)[:, moving] / network.spread[moving]
        with autocast_bf16("cpu"):
            found = network.standardised(crops)
        return (found.float()[:, moving] - wanted).square().mean()

    def judge() -> dict[str, float]:
        units = judge_units(network, test)
        return {
            f"mean {name}": float(np.mean([unit[k] for unit in units.values()])) for k, name in ((0, "r"), (1, "error"))
        }

    run(network, recipe, "units", loss_at, judge, say)
    if out is not None:
        save_network(network, out)
    return judge_units(network, test)


@torch.inference_mode()
def judge_units(network: FaceUnits, crops: Crops) -> dict[str, tuple[float, float]]:
    """Correlation and mean absolute error of each unit that moves, over all pictures."""
    network.eval()
    margin = slice(FACE_MARGIN, FACE_MARGIN + FACE.size)
    found = np.concatenate([
        network(torch.from_numpy(clip[:, margin, margin].copy())).numpy() for clip in crops.faces
    ])  # fmt: skip
    true = crops.units[:, ::FACE_STEP].astype(np.float32).reshape(len(found), -1)
    return {
        name: (_r(found[:, k], true[:, k]), float(np.abs(found[:, k] - true[:, k]).mean()))
        for k, name in enumerate(FACE_UNITS)
        if float(true[:, k].std()) > STILL_UNIT
    }


def _r(found: NDArray[np.floating], true: NDArray[np.floating]) -> float:
    return float(np.corrcoef(found, true)[0, 1]) if float(found.std()) > 0 else 0.0
