"""Fits the classifier of arm gestures: which stroke is on, from what is seen of a person's surroundings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from talkies.evaluation.body_regions import SIZE
from talkies.evaluation.fitting.bodies import MARGIN, Bodies, cut_set
from talkies.evaluation.fitting.recipe import Count, FitRecipe, run
from talkies.evaluation.networks.arm_gestures import ACROSS, CHANNELS, NAMES, ArmGestures, body_motion
from talkies.evaluation.networks.blocks import save_network
from talkies.evaluation.seen_gestures import find_gestures

#: What cells may be off: gain of every channel (log), noise, share of clips in which some cells are hidden.
_GAIN, _NOISE, _HIDDEN = 0.25, 0.03, 0.3
#: Slowest and fastest that films are played.
_SPEEDS = (0.8, 1.25)
#: Gamma (log) and grain of pictures, in shares of full scale.
_GAMMA, _GRAIN = 0.2, 0.015


class ArmsRecipe(FitRecipe):
    """A fit of arm gestures; `tracks` and `validation` are folders of `talkies stage render`.

    Attributes:
        set_name: Shards to fit to. validation_name: Shards of other people.
        none_weight: What a frame without gesture counts beside one with.
        span: Frames of a person that a step looks at.
    """

    set_name: str = "train-arms"
    validation_name: str = "test-arms"
    none_weight: float = 0.4
    span: Count = 57


def fit_arms(recipe: ArmsRecipe, out: Path | None, say: Callable[[str], None]) -> dict[str, float]:
    """Fits, saves, and judges on the validation people.

    Args:
        out: File for the weights, `.safetensors`; None: nothing is kept but the checkpoint.

    Raises:
        InputError: A set is missing.
    """
    torch.set_num_threads(recipe.threads)
    train = cut_set(recipe.tracks, recipe.set_name, recipe.output / "bodies", False, say)
    test = cut_set(recipe.validation, recipe.validation_name, recipe.output / "bodies-validation", True, say)
    torch.manual_seed(recipe.seed)
    network = ArmGestures()
    weights = torch.tensor([recipe.none_weight, *[1.0] * len(NAMES)])

    def loss_at(step: int) -> Tensor:
        rng = np.random.default_rng((recipe.seed, step))
        people = rng.integers(0, len(train), recipe.batch)
        pieces = [_piece(train, int(k), recipe.span, rng) for k in people]
        cells = _disturbed(body_motion(_grainy(torch.from_numpy(np.stack([picture for picture, _ in pieces])))))
        wanted = torch.from_numpy(np.stack([classes for _, classes in pieces])).long()
        return F.cross_entropy(network(cells).flatten(0, 1), wanted.flatten(), weights)

    run(network, recipe, "arms", loss_at, lambda: judge(network, test), say)
    if out is not None:
        save_network(network, out)
    return judge(network, test)


def _piece(
    bodies: Bodies, person: int, span: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Some frames of a person, shifted a little, slower or faster; short ones stand still at the end."""
    frames = bodies.span(person)
    steps = np.rint(np.arange(span) * rng.uniform(*_SPEEDS)).astype(int)
    first = frames.start + int(rng.integers(0, max(frames.stop - frames.start - int(steps[-1]), 1)))
    left, top = rng.integers(0, 2 * MARGIN + 1, 2)
    chosen = np.minimum(first + steps, frames.stop - 1)
    return bodies.pictures[chosen, top : top + SIZE, left : left + SIZE], bodies.classes[chosen]


def _grainy(bodies: Tensor) -> Tensor:
    """`[B, F, S, S, 4]` uint8, lit otherwise and with grain, as float32 in 0..255."""
    count = len(bodies)
    colours = bodies[..., :3].float() / 255
    colours = colours ** torch.exp(_GAMMA * torch.randn(count, 1, 1, 1, 1))
    colours = colours + _GRAIN * torch.rand(count, 1, 1, 1, 1) * torch.randn(colours.shape)
    return torch.cat([255 * colours.clamp(0, 1), bodies[..., 3:].float()], -1)


def _disturbed(cells: Tensor) -> Tensor:
    """`[B, F, 7, 16, 16]` mirrored, stronger or weaker, noisy, with some of it out of sight."""
    batch = len(cells)
    flipped = cells.flip(-1)
    flipped[:, :, ACROSS] = -flipped[:, :, ACROSS]
    mirrored = torch.rand(batch, 1, 1, 1, 1) < 0.5
    cells = torch.where(mirrored, flipped, cells)
    gain = torch.exp(_GAIN * torch.randn(batch, 1, CHANNELS, 1, 1))
    gain[:, :, 0] = 1
    cells = cells * gain + _NOISE * torch.rand(batch, 1, 1, 1, 1) * torch.randn(cells.shape)
    below = torch.randint(10, 2 * cells.shape[3], (batch, 1, 1, 1, 1))  # as if the picture ended further up
    hidden = (torch.rand(batch, 1, 1, 1, 1) < _HIDDEN) & (torch.arange(cells.shape[3])[:, None] >= below)
    return torch.where(hidden, 0.0, cells)


@torch.inference_mode()
def judge(network: ArmGestures, bodies: Bodies) -> dict[str, float]:
    """Shares: of people who make a gesture, in which it is found (each and all), and in which another is; of people who
    make none, in which one is found. `delay` is the mean of the found ones' middles after their strokes', seconds, and
    `delay spread` its standard deviation."""
    network.eval()
    asked: dict[str, list[bool]] = {name: [] for name in NAMES}
    mistaken: list[bool] = []
    alarms: list[bool] = []
    late: list[float] = []
    for person in range(len(bodies)):
        frames = bodies.span(person)
        middle = slice(MARGIN, MARGIN + SIZE)
        pictures = torch.from_numpy(np.array(bodies.pictures[frames, middle, middle]))
        seen = find_gestures(network(body_motion(pictures[None]))[0].softmax(-1).numpy(), NAMES)
        truth = bodies.classes[frames]
        wanted, made = {NAMES[k - 1] for k in set(truth.tolist()) if k}, {gesture.name for gesture in seen}
        for name in wanted:
            asked[name].append(name in made)
            late += [
                ((gesture.first + gesture.last) / 2 - np.flatnonzero(truth == 1 + NAMES.index(name)).mean()) / 25
                for gesture in seen
                if gesture.name == name
            ]
        if wanted:
            mistaken.append(bool(made - wanted))
        else:
            alarms.append(bool(made))
    found = [case for cases in asked.values() for case in cases]
    rates = {f"{name} found of {len(cases)}": _share(cases) for name, cases in asked.items()}
    rates |= {f"found of {len(found)}": _share(found), f"mistaken of {len(mistaken)}": _share(mistaken)}
    rates[f"false alarms of {len(alarms)}"] = _share(alarms)
    return rates | {"delay": _share(late), "delay spread": float(np.std(late)) if late else float("nan")}


def _share(cases: list[bool] | list[float]) -> float:
    return float(np.mean(cases)) if cases else float("nan")
