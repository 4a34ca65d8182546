"""A performance given by somebody else: the motion of one panel, the voice of another, and the picture of a third.

A network knows a few thousand pictures by heart, and with them how everybody in them moves: heads of its training
clips sway as far as they should, and those of other pictures half as far. Motion latents name no person, so anybody may
give anybody's performance, so that less of it can be told from the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from talkies.models.motion_latents import (
    CELL,
    EXPRESSIONS,
    FLOW_CHANNELS,
    FLOW_UNIT,
    FRAMES,
    MOTION_CHANNELS,
    MOUTHS,
    PLACES,
    compress_flow,
    expand_flow,
)
from talkies.training.liveliness import head_sway
from talkies.training.panels import Panel, partner_direction

_LOOKS = ("sex", "age", "hair", "wears", "features")
_FELT = ("mood", "mood_onset")
_SAID = ("mood", "role")
_REACH = 4  # cells beyond the performer's outline, to which motion is continued before another outline is cut
_FACES = slice(FLOW_CHANNELS, MOTION_CHANNELS - PLACES)
_WHERE = slice(MOTION_CHANNELS - PLACES, MOTION_CHANNELS)


def recast(panel: Panel, picture: Panel, voice: Panel, spread: Sequence[float], knee: float | None) -> Panel:
    """Whoever is in `picture` moves as `panel` does, as far for the size of their faces, and says what `voice` says.

    What is left of a picture after motion (the components) is nobody else's, and becomes zero.

    Args:
        panel: Whose head and body move, gestures among it. Without a face it is returned as it is.
        picture: Whose reference frame, outline and looks; may be `panel`.
        voice: Whose lips, expression, mood and sound; may be `panel`.
        spread: By which the codec's latents are normalised, `[z]`.
        knee: Beyond which flow is compressed (`compress_flow`).
    """
    here, moves, speaks = (face_of(source.condition) for source in (picture, panel, voice))
    if here is None or moves is None or speaks is None:
        return panel
    size = torch.tensor(spread).view(-1, 1, 1)
    cells = _cells(*panel.mask.shape)
    outline, where = _softened(picture.mask), picture.condition[:PLACES].float()

    def together(moving: Tensor, speaking: Tensor) -> Tensor:
        """Of the performer's latents and the speaker's, `[K, z, h, w]`."""
        z = speaking.float() * size
        sway, _ = _sway_and_lips(moving.float() * size, panel, knee)
        _, lips = _sway_and_lips(z, voice, knee)
        sway = _brought(_continued(sway, panel.mask), moves, here)
        flow = (sway + _brought(lips, speaks, here)).unflatten(1, (FRAMES, 2)).flatten(0, 1)  # [4K, 2, h, w]
        came_from = cells + sway.unflatten(1, (FRAMES, 2)).flatten(0, 1).permute(0, 2, 3, 1) * (FLOW_UNIT / CELL)
        flow = flow * _looked_up(outline.expand(len(flow), 1, -1, -1), came_from)
        places = _looked_up(where.expand(len(flow), -1, -1, -1), came_from)
        places = places.unflatten(0, (-1, FRAMES)).mean(1)  # [K, 2, h, w]
        shown = told_expressions(z)[..., None, None] * places[:, None, list(MOUTHS)]  # [K, 4, 8, h, w]
        given = z[:, _WHERE].flatten(1).amax(1) > 0  # of a frame that is given only the picture is known
        made = torch.zeros_like(z)
        made[:, :FLOW_CHANNELS] = compress_flow(flow.unflatten(0, (-1, FRAMES)).flatten(1, 2), knee)
        made[:, _FACES], made[:, _WHERE] = shown.flatten(1, 2), places * given.view(-1, 1, 1, 1)
        return (made / size).to(moving.dtype)

    looks, felt = _told(picture, "words", _LOOKS), _told(voice, "style", _FELT)
    said = _told(voice, "words", _SAID)
    return replace(
        panel,
        id=f"{picture.id}~{panel.id}~{voice.id}",
        groups=together(panel.groups, voice.groups),
        singles=together(panel.singles, voice.singles),
        condition=picture.condition,
        mask=picture.mask,
        weight=_brought(panel.weight[:, None], moves, here, resize=False)[:, 0],
        audio=voice.audio,
        person=picture.person,
        about={
            **panel.about,
            "words": {**panel.about["words"], **looks, **said},
            "style": {**panel.about.get("style", {}), **felt},
            "light": picture.about.get("light", {}),
        },
    )


class Casting:
    """Who gives whose performance, in whose voice: anybody's, and the voices of speakers for speakers'.

    Pictures are of people whose partner is on the performer's side, for that is where heads turn, and bodies show it.

    Args:
        panels: Everybody there is.
        recast, revoiced: Shares of people whose picture is another's, and of those whose voice is.
        spread, knee: Those of the codec's latents.
        rng: Everything that is chosen.
    """

    def __init__(
        self,
        panels: Sequence[Panel],
        recast: float,
        revoiced: float,
        spread: Sequence[float],
        knee: float | None,
        rng: np.random.Generator,
    ) -> None:
        self._recast, self._revoiced = recast, revoiced
        self._spread, self._knee, self._rng = spread, knee, rng
        self._pictures: dict[bool, list[Panel]] = {}
        self._voices: dict[str, list[Panel]] = {}
        for panel in panels:
            if face_of(panel.condition) is not None:
                self._pictures.setdefault(_looks_right(panel), []).append(panel)
                self._voices.setdefault(_role(panel), []).append(panel)

    def cast(self, drawn: Sequence[Panel]) -> list[Panel]:
        """The performances `drawn`, with pictures and voices of their own or others'; nobody is shown twice."""
        chosen: list[Panel] = []
        for number, panel in enumerate(drawn):
            taken = {other.person for other in (*chosen, *drawn[number + 1 :])}
            picture = self._other(self._pictures.get(_looks_right(panel), []), panel, self._recast)
            picture = panel if picture.person in taken else picture
            voice = self._other(self._voices.get(_role(panel), []), panel, self._revoiced)
            own = picture is voice is panel
            chosen.append(panel if own else recast(panel, picture, voice, self._spread, self._knee))
        return chosen

    def _other(self, panels: Sequence[Panel], panel: Panel, share: float) -> Panel:
        if not panels or self._rng.random() >= share:
            return panel
        return panels[int(self._rng.integers(len(panels)))]


def _role(panel: Panel) -> str:
    return str(panel.about["words"]["role"])


def _looks_right(panel: Panel) -> bool:
    """Whether a panel's partner is to the viewer's right."""
    return partner_direction(panel.about) > 0


def _told(panel: Panel, part: str, keys: Sequence[str]) -> dict[str, Any]:
    """What a panel's labels say of these keys."""
    labels = panel.about.get(part, {})
    return {key: labels[key] for key in keys if key in labels}


def _sway_and_lips(z: Tensor, panel: Panel, knee: float | None) -> tuple[Tensor, Tensor]:
    """A panel's flow `[K, 8, h, w]`: as it were without lips, and what they add."""
    flow = expand_flow(z, knee)[:, :FLOW_CHANNELS]
    sway = head_sway(flow, panel.mask, panel.condition[0].float())
    return sway, flow - sway


def _brought(x: Tensor, there: Tensor, here: Tensor, resize: bool = True) -> Tensor:
    """What is at a face `there`, `[K, c, h, w]`, at the one `here` (`face_of`); lengths resized as the face is."""
    scale = float((here[1] - here[0]).norm() / (there[1] - there[0]).norm())
    places = (_cells(*x.shape[-2:]) - here[0]) / scale + there[0]
    return _looked_up(x, places.expand(len(x), -1, -1, -1), border=True) * (scale if resize else 1.0)


def told_expressions(z: Tensor) -> Tensor:
    """What latents `[K, z, h, w]`, not normalised, say of a face in each frame, `[K, 4, 8]`; 0 where they tell no
    place."""
    place = z[:, _WHERE][:, list(MOUTHS)][:, None]  # [K, 1, 8, h, w]
    shown = z[:, _FACES].unflatten(1, (FRAMES, EXPRESSIONS))
    return (shown * place).sum((-2, -1)) / place.square().sum((-2, -1)).clamp(min=1e-6)


def face_of(condition: Tensor) -> Tensor | None:
    """The middles of mouth and eyes in cells (x, y), `[2, 2]`, of a panel's condition; None without a face."""
    places = condition[:PLACES].float()
    mass = places.sum((1, 2))
    if float(mass.min()) < 0.05:
        return None
    rows, columns = (torch.arange(n) + 0.5 for n in places.shape[1:])
    middles = torch.stack([(places.sum(1) * columns).sum(1), (places.sum(2) * rows).sum(1)], 1) / mass[:, None]
    return middles if float((middles[1] - middles[0]).norm()) > 0.3 else None


def _cells(h: int, w: int) -> Tensor:
    """Middles of cells (x, y), `[h, w, 2]`."""
    return torch.stack(torch.meshgrid(torch.arange(w) + 0.5, torch.arange(h) + 0.5, indexing="xy"), -1)


def _continued(flow: Tensor, mask: Tensor) -> Tensor:
    """`[K, 8, h, w]` with motion inside the outline continued beyond it, as if there were more of the person."""
    known, values = mask[None, None], flow * mask
    for _ in range(_REACH):
        near = F.avg_pool2d(known, 3, 1, 1)
        spread_out = F.avg_pool2d(values, 3, 1, 1) / near.clamp(min=1e-6)
        values = torch.where(known > 0, values, spread_out)
        known = torch.maximum(known, (near > 0).float())
    return values


def _softened(mask: Tensor) -> Tensor:
    """`[h, w]` with cells beside the outline covered in part, as pictures have them."""
    return torch.maximum(mask, F.avg_pool2d(mask[None], 3, 1, 1)[0])


def _looked_up(x: Tensor, cells: Tensor, border: bool = False) -> Tensor:
    """`x [N, c, h, w]` at places in cells (x, y) `[N, h', w', 2]`; beyond the picture nothing, or what is
    at its border."""
    size = torch.tensor([x.shape[-1], x.shape[-2]])
    grid = 2 * cells / size - 1
    return F.grid_sample(x, grid, padding_mode="border" if border else "zeros", align_corners=False)
