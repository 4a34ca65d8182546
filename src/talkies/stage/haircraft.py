"""Hair made here, for those without an asset pack: combed caps over the scalp, curtains that fall from it, tails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talkies.stage.body import BODY_VERTICES, Array, BaseBody, Index, vector
from talkies.stage.identity import Identity
from talkies.stage.materials import HAIR
from talkies.stage.parts import UNCUT, Part, material, vertex_normals
from talkies.stage.skin import hairline, smoothstep

#: The vertical line through the head that strands are combed around: z of the reference body.
_AXIS = 0.15
#: Strands around the head, and locks along them.
_STRANDS, _LOCKS = 105.0, 2.2
_CAP_LAYERS = 4
_SHOULDER = 6.85


@dataclass(frozen=True)
class Cut:
    """A style: thickness of the cap, extra height on top, and where curtains end (reference heights, None for none).

    Attributes:
        cap: Decimetres. top: Share added at the crown. sides: End of hair beside and behind the face. fringe: End over
        the forehead. tail: Whether it is tied behind.
    """

    cap: float
    top: float
    sides: float | None = None
    fringe: float | None = None
    tail: bool = False


CUTS: dict[str, Cut] = {
    "crop": Cut(0.10, 0.9),
    "fringe": Cut(0.11, 0.5, fringe=8.50),
    "swept back": Cut(0.10, 0.6),
    "bob": Cut(0.12, 0.3, sides=7.15),
    "shoulder-length": Cut(0.12, 0.3, sides=6.80),
    "long": Cut(0.12, 0.25, sides=5.6),
    "ponytail": Cut(0.06, 0.2, tail=True),
    "braid": Cut(0.06, 0.2, tail=True),
}


def crafted_hair(identity: Identity, body: BaseBody, shaped: Array, colours: tuple[Array, Array]) -> list[Part]:
    """All parts of a style of `CUTS`.

    Args:
        identity: Whose hair. body: The template. shaped: `[N, 3]` the person's vertices.
        colours: Dark and light tone of the hair, sRGB `[3]` each.
    """
    cut = CUTS[identity.hair.style]
    maker = _Maker(identity, body, shaped, colours)
    parts = maker.cap(cut)
    if cut.sides is not None:
        end = cut.sides + 0.35 * (identity.hair.length - 0.5)
        parts += [maker.curtain(np.radians(54), np.radians(306), end, layer) for layer in range(2)]
    if cut.fringe is not None:
        parts += [maker.curtain(np.radians(-40), np.radians(40), cut.fringe, layer) for layer in range(2)]
    if cut.tail:
        parts.append(maker.tail(6.7 + 0.8 * identity.hair.length))
    return parts


class _Maker:
    """Shapes of one person's hair; positions are worked out on the reference body and carried over to the person."""

    def __init__(self, identity: Identity, body: BaseBody, shaped: Array, colours: tuple[Array, Array]) -> None:
        self.identity, self.body, self.shaped, self.colours = identity, body, shaped, colours
        self.head = body.bone("head")
        head = body.reference[:BODY_VERTICES]
        self._skin = head[(head[:, 1] > 6.3) & (np.abs(head[:, 0]) < 1.6)]

    def cap(self, cut: Cut) -> list[Part]:
        """Combed layers over the scalp: solid below, thinning into strands above."""
        body, hair = self.body, self.identity.hair
        cover = hairline(body.reference, min(hair.hairline, 0.35) if cut.sides else hair.hairline)
        faces = body.faces["body"][:, :, 0]
        faces = faces[cover[faces].min(1) > 0.02]
        used, inverse = np.unique(faces, return_inverse=True)
        triangles = inverse.reshape(-1, 3).astype(np.int32)
        place = body.reference[used]
        normals = vertex_normals(self.shaped, body.faces["body"][:, :, 0])[used]
        height = cut.cap * (0.8 + 0.4 * hair.length) * (1 + cut.top * smoothstep(8.6, 9.2, place[:, 1]))
        uv, corners = _around(place, triangles)
        parts = []
        for layer in reversed(range(_CAP_LAYERS)):  # outermost first: what it hides is never asked for holes
            f = (layer + 1) / _CAP_LAYERS
            lift = (0.02 + height * f * np.sqrt(cover[used]))[:, None] * normals
            thin = 0.0 if layer == 0 else 0.25 + 0.4 * f
            faces_uv = np.stack([triangles, corners], -1)
            parts.append(
                self._part(self.shaped[used] + lift, faces_uv, uv, place, thin, 0.72 + 0.28 * f, UNCUT, sheet=False)
            )
        return parts

    def curtain(self, first: float, last: float, end: float, layer: int) -> Part:
        """A sheet from the crown down around the head between two angles (0 in front, growing to the left)."""
        columns, rows = 40, 26
        angle = np.linspace(first, last, columns)
        front = np.cos(angle)
        lowest = np.where(front > -0.35, max(end, _SHOULDER), end)  # what hangs in front stops at the shoulders
        share = np.linspace(0, 1, rows)[:, None]
        top = np.full_like(angle, 9.10 if end > 8 else 8.95)
        y = top[None] + (lowest - top)[None] * share  # [rows, columns]
        gap = -0.05 * share if end > 8 else 0.05 + 0.05 * self.identity.hair.curl  # a fringe clings to the forehead
        reach = self._reach(angle, y) + 0.045 * layer + gap
        if end < 8:  # below its widest point hair falls straight, closing a little
            widest = np.maximum.accumulate(reach, axis=0)
            reach = np.maximum(reach, widest - 0.10 * np.maximum(0, 7.9 - y))
        wave = 0.03 * self.identity.hair.curl * np.sin(y * 9 + 4 * np.sin(angle * 5)[None])
        reach = reach + wave * (share > 0.3)
        place = np.stack([reach * np.sin(angle)[None], y, _AXIS + reach * front[None]], -1).reshape(-1, 3)
        grid = np.arange(rows * columns).reshape(rows, columns)
        a, b, c, d = (g.ravel() for g in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]))
        triangles = np.concatenate([np.stack([a, c, b], 1), np.stack([b, c, d], 1)]).astype(np.int32)
        uv = np.stack([np.broadcast_to(angle / (2 * np.pi), y.shape), y / 2], -1).reshape(-1, 2).astype(np.float32)
        ragged = end + (0.05 if end > 8 else 0.12)
        return self._part(
            self._carry(place), np.stack([triangles, triangles], -1), uv, place.astype(np.float32),
            0.0 if layer == 0 else 0.5, 0.9 + 0.1 * layer, ragged if end > 8 or end > _SHOULDER else UNCUT,
        )  # fmt: skip

    def tail(self, end: float) -> Part:
        """Hair tied behind, hanging down to a height."""
        count, sides = 16, 10
        t = np.linspace(0, 1, count)
        y = 8.55 + (end - 8.55) * t
        z = -0.95 - 0.45 * np.sin(np.pi * np.minimum(t * 1.3, 1) * 0.6)
        radius = 0.26 * np.sin(np.pi * np.clip(t * 0.86 + 0.1, 0, 1)) ** 0.6
        if self.identity.hair.style == "braid":
            radius = radius * (0.8 + 0.2 * np.abs(np.sin(t * 16)))
        around = np.linspace(0, 2 * np.pi, sides, endpoint=False)
        ring = np.stack([np.sin(around), np.zeros(sides), np.cos(around)], 1)
        place = (np.stack([np.zeros(count), y, z], 1)[:, None] + radius[:, None, None] * ring).reshape(-1, 3)
        triangles = np.array([
            corner for i in range(count - 1) for k in range(sides)
            for corner in ((i * sides + k, (i + 1) * sides + k, i * sides + (k + 1) % sides),
                           (i * sides + (k + 1) % sides, (i + 1) * sides + k, (i + 1) * sides + (k + 1) % sides))
        ], np.int32)  # fmt: skip
        uv = np.stack([np.tile(around / (2 * np.pi) * 0.4, count), np.repeat(y / 2, sides)], 1).astype(np.float32)
        return self._part(
            self._carry(place), np.stack([triangles, triangles], -1), uv, place.astype(np.float32), 0.0, 0.9, UNCUT
        )

    def _part(
        self,
        vertices: NDArray[np.floating],
        faces: Index,
        uv: Array,
        place: Array,
        thin: float,
        shade: float,
        cut: float,
        *,
        sheet: bool = True,
    ) -> Part:
        low, high = (np.clip(colour * shade, 0, 1) for colour in self.colours)
        row = material(
            HAIR, tuple(map(float, low)), tuple(map(float, high)),  # type: ignore[arg-type]
            (_STRANDS, _LOCKS, 0.9, thin, self.identity.hair.greying, cut),
        )  # fmt: skip
        weight = np.zeros((len(vertices), 4), np.float32)
        weight[:, 0] = 1
        return Part(
            name="hair",
            vertices=np.asarray(vertices, np.float32),
            bone_index=np.full((len(vertices), 4), self.head, np.int32),
            bone_weight=weight,
            faces=faces.astype(np.int32),
            uv=uv,
            material=row,
            aux=place,
            base=np.full(len(vertices), -1, np.int32),
            cutout=thin > 0 or cut > UNCUT,
            two_sided=sheet,
            casts=thin == 0,
        )

    def _reach(self, angle: NDArray[np.floating], y: NDArray[np.floating]) -> NDArray[np.float64]:
        """How far the reference skin reaches from the axis in each direction and at each height, `[rows, columns]`."""
        away = self._skin - vector([0, 0, _AXIS])
        distance = np.hypot(away[:, 0], away[:, 2])
        direction = np.arctan2(away[:, 0], away[:, 2])
        out = np.zeros(y.shape)
        for j, a in enumerate(angle):
            turn = np.abs((direction - a + np.pi) % (2 * np.pi) - np.pi)
            for i in range(len(y)):
                near = (turn < 0.2) & (np.abs(away[:, 1] - y[i, j]) < 0.1)
                out[i, j] = np.median(np.sort(distance[near])[-6:]) if near.any() else 0.0
        filled = np.where(out > 0, out, 0.35)
        # the crown closes above the scalp; elsewhere neighbours are averaged, for hair lies smoothly
        padded = np.pad(filled, ((1, 1), (1, 1)), mode="edge")
        return np.asarray(sum(padded[i : i + y.shape[0], j : j + y.shape[1]] for i in range(3) for j in range(3)) / 9)

    def _carry(self, place: NDArray[np.floating]) -> Array:
        """Points near the reference head moved like the nearest skin of the person."""
        from scipy.spatial import cKDTree

        head = np.where(self.body.reference[:BODY_VERTICES, 1] > 6.2)[0]
        reference = self.body.reference[head]
        distance, nearest = cKDTree(reference).query(place, k=12)
        share = 1 / (distance + 0.05) ** 2
        share /= share.sum(1, keepdims=True)
        moved = ((self.shaped[head] - reference)[nearest] * share[..., None]).sum(1)
        return np.asarray(place + moved, np.float32)


def _around(place: Array, triangles: Index) -> tuple[Array, Index]:
    """Texture coordinates that run around the head and down it, without a torn seam: `[u, 2]` and `[t, 3]`."""
    u = np.arctan2(place[:, 0], place[:, 2] - _AXIS) / (2 * np.pi)
    uv = np.stack([u, place[:, 1] / 2], 1)
    corners = uv[triangles]  # [t, 3, 2]
    torn = np.ptp(corners[..., 0], axis=1) > 0.5
    corners[..., 0] += (torn[:, None] & (corners[..., 0] < 0)).astype(corners.dtype)
    return corners.reshape(-1, 2).astype(np.float32), np.arange(len(triangles) * 3, dtype=np.int32).reshape(-1, 3)
