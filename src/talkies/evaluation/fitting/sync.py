"""Fits the sync expert: lips find their own moment of the sound among others of the clip, and among other clips'."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from talkies.domain.errors import InputError
from talkies.evaluation.aligned import MOUTH
from talkies.evaluation.expert import agreement
from talkies.evaluation.fitting.crops import MOUTH_MARGIN, Crops, cut_tracks
from talkies.evaluation.fitting.disturb import disturbed
from talkies.evaluation.fitting.recipe import Count, FitRecipe, run
from talkies.evaluation.networks.blocks import save_network
from talkies.evaluation.networks.sync_expert import BANDS, SyncExpert
from talkies.evaluation.speech import STEPS_PER_FRAME, log_mel_steps
from talkies.runtime.machine import autocast_bf16

#: How much telling clips apart counts beside telling moments apart.
_OTHER_CLIPS = 0.5
#: Sound is made louder or fainter in the logarithm, with hiss, by these (standard deviation, most).
_LOUDER, _HISS = 0.3, 0.3
#: Variance that is taken for nothing, in shares of the mean: keeps the whitening tame.
_SHRINK = 0.05


class SyncRecipe(FitRecipe):
    """A fit of the sync expert.

    Attributes:
        span: Frames of a track that a step looks at. quiet: Silent tracks per step, whose lips belong to no voice.
    """

    span: Count = 33
    quiet: Count = 4


def fit_sync(recipe: SyncRecipe, out: Path | None, say: Callable[[str], None]) -> dict[str, float]:
    """Fits, judges on the validation people, and saves.

    Args:
        out: File for the weights, `.safetensors`; None: nothing is kept but the checkpoint.

    Raises:
        InputError: Tracks are missing, too short, or nobody speaks.
    """
    torch.set_num_threads(recipe.threads)
    train = cut_tracks(recipe.tracks, recipe.output / "crops", recipe.limit, recipe.every, say)
    test = cut_tracks(recipe.validation, recipe.output / "crops-validation", say=say)
    count = train.mouths.shape[1]
    talking, quiet = np.flatnonzero(train.speaks), np.flatnonzero(~train.speaks)
    if count < recipe.span or len(talking) < 2:
        raise InputError(f"{recipe.tracks} has {len(talking)} talking tracks of {count} frames: too few or too short.")
    mels = _mels(train)
    torch.manual_seed(recipe.seed)
    network = SyncExpert().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((recipe.seed, step))
        chosen = rng.choice(talking, min(recipe.batch, len(talking)), replace=False)
        still = rng.choice(quiet, min(recipe.quiet, len(quiet)), replace=False)
        begins = rng.integers(0, count - recipe.span + 1, len(chosen) + len(still))
        clips = np.stack([
            train.mouths[k, t : t + recipe.span] for k, t in zip([*chosen, *still], begins, strict=True)
        ])  # fmt: skip
        steps = [slice(STEPS_PER_FRAME * t, STEPS_PER_FRAME * (t + recipe.span)) for t in begins]
        mel = torch.stack([mels[k, s] for k, s in zip(chosen, steps[: len(chosen)], strict=True)])
        mel = mel + torch.randn(len(mel), 1, 1) * _LOUDER + torch.randn_like(mel) * torch.rand(len(mel), 1, 1) * _HISS
        crops = disturbed(torch.from_numpy(clips), MOUTH.size, torch.rand(len(clips)) < 0.5)
        with autocast_bf16("cpu"):
            features = network.frames(crops.flatten(0, 1)).unflatten(0, crops.shape[:2])
            lips, sound = network.lips(features), network.sound(mel)
        return contrast(lips.float(), sound.float(), network.log_scale.exp())

    run(network, recipe, "sync", loss_at, lambda: judge_sync(network, test), say)
    _know_people(network, train)
    if out is not None:
        save_network(network, out)
    return judge_sync(network, test)


def contrast(lips: Tensor, sound: Tensor, scale: Tensor) -> Tensor:
    """The loss.

    Args:
        lips: `[B + Q, W, D]` unit vectors; the last Q are silent people's. sound: `[B, W, D]`. scale: Of cosines.
    """
    count, windows = sound.shape[:2]
    within = scale * lips[:count] @ sound.transpose(1, 2)  # [B, W lips, W sound]
    when = torch.arange(windows).expand(count, -1)
    moments = F.cross_entropy(within.transpose(1, 2), when) + F.cross_entropy(within, when)
    across = scale * torch.einsum("iwd,jwd->wij", lips, sound)  # [W, B + Q faces, B voices]
    who = torch.arange(count).expand(windows, -1)
    clips = F.cross_entropy(across, who) + F.cross_entropy(across[:, :count].transpose(1, 2), who)
    return moments / 2 + _OTHER_CLIPS * clips / 2


@torch.inference_mode()
def judge_sync(network: SyncExpert, crops: Crops) -> dict[str, float]:
    """On talking tracks: share found within one frame, and exactly; share of pairs in which lips agree better with
    their own voice than with another one; confidence with the own voice and with others; strangeness."""
    network.eval()
    chosen = np.flatnonzero(crops.speaks)
    margin = slice(MOUTH_MARGIN, MOUTH_MARGIN + MOUTH.size)
    mels = _mels(crops)
    lips, strange = [], []
    for k in chosen:
        features = network.frames(torch.from_numpy(crops.mouths[k][:, margin, margin].copy()))
        strange.append(float(network.strangeness(features)))
        lips.append(network.lips(features[None])[0].numpy())
    sounds = [network.sound(mels[k][None])[0].numpy() for k in chosen]
    found = [[agreement(own, voice) for voice in sounds] for own in lips]
    steps = np.array([found[k][k].offset for k in range(len(chosen))])
    scores = np.array([[one.near() for one in row] for row in found])
    trust = np.array([[one.confidence for one in row] for row in found])
    apart = ~np.eye(len(chosen), dtype=bool)
    return {
        "tracks": float(len(chosen)),
        "within one frame": float(np.mean(np.abs(steps) <= 1)),
        "exactly in step": float(np.mean(steps == 0)),
        "own voice preferred": float((np.diag(scores)[:, None] > scores)[apart].mean()),
        "confidence": float(np.diag(trust).mean()),
        "confidence with others": float(trust[apart].mean()),
        "strangeness": float(np.mean(strange)),
    }


def _mels(crops: Crops) -> Tensor:
    """`[N, 4 F, 40]`."""
    count = crops.mouths.shape[1]
    return torch.stack([
        torch.from_numpy(log_mel_steps(sound.astype(np.float32) / 32767, count, BANDS)) for sound in crops.sounds
    ])  # fmt: skip


@torch.inference_mode()
def _know_people(network: SyncExpert, crops: Crops) -> None:
    """Notes what the fitted people look like, for `SyncExpert.strangeness`."""
    network.eval()
    margin = slice(MOUTH_MARGIN, MOUTH_MARGIN + MOUTH.size)
    means = torch.stack([
        network.frames(torch.from_numpy(clip[::4, margin, margin].copy())).mean(0) for clip in crops.mouths
    ])  # fmt: skip
    network.centre.copy_(means.mean(0))
    values, vectors = torch.linalg.eigh(torch.cov(means.T))
    network.whiten.copy_(vectors / (values.clamp_min(0) + _SHRINK * values.mean()).sqrt() @ vectors.T)
    usual = torch.stack([network.strangeness(mean[None]) for mean in means]).mean()
    network.whiten.div_(usual)
