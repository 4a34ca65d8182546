"""Painted surroundings, out of focus as behind a portrait: rooms, outdoors, walls, studio, loose textures."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.float32]
Rng = np.random.Generator
#: Pictures are painted at least this tall and then shrunk, which smooths edges.
_PAINT_HEIGHT = 432


@dataclass(frozen=True)
class Background:
    """A still picture behind the people.

    Attributes:
        place: Where it is, for captions ("in a living room").
        kind: Its painter's name.
        picture: `[H, W, 3]` uint8 RGB.
    """

    place: str
    kind: str
    picture: NDArray[np.uint8]

    @classmethod
    def sample(cls, rng: Rng, height: int, width: int, kind: str | None = None) -> Background:
        """A random picture; the generator decides everything, sizes only the resolution.

        Args:
            rng: Source of all choices.
            height: Pixels. width: Pixels.
            kind: One of `KINDS`, or None for any.
        """
        name = kind or tuple(KINDS)[int(rng.integers(len(KINDS)))]
        place, paint = KINDS[name]
        tall = max(_PAINT_HEIGHT, height)
        wide = round(tall * width / height)
        picture = paint(np.zeros((tall, wide, 3), np.float32), rng)
        blur = float(rng.uniform(0.004, 0.022)) * tall
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), blur), np.float32)
        picture *= _vignette(tall, wide, float(rng.uniform(0.05, 0.3)))
        picture *= np.exp(rng.normal(0, 0.10)) * np.exp(rng.normal(0, 0.03, 3)).astype(np.float32)
        picture = _exposed(picture)
        picture = np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        picture += rng.normal(0, 0.006, picture.shape).astype(np.float32)  # a little grain, as sensors have
        return cls(place, name, (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8))


def fractal(rng: Rng, height: int, width: int, octaves: int = 6, roughness: float = 0.55, first: int = 3) -> Picture:
    """Noise in [0, 1] whose detail falls off like that of natural surfaces, `[H, W]`."""
    total = np.zeros((height, width), np.float32)
    weight = 1.0
    for octave in range(octaves):
        cells = first * 2**octave
        if cells > 2 * max(height, width):
            break
        grid = rng.random((max(2, cells * height // width + 2), cells + 2), dtype=np.float32)
        total += np.float32(weight) * np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
        weight *= roughness
    total -= total.min()
    return total / max(float(total.max()), 1e-6)


def _exposed(picture: Picture) -> Picture:
    """Not brighter than a face on average, and highlights that roll off instead of clipping."""
    picture = picture * np.float32(min(1.0, 0.58 / max(float(picture.mean()), 1e-3)))
    knee = np.float32(0.7)
    over = np.maximum(picture - knee, 0) / (1 - knee)
    return np.where(picture > knee, knee + (1 - knee) * (1 - np.exp(-over)), picture).astype(np.float32)


def _vignette(height: int, width: int, strength: float) -> Picture:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = ((x - width / 2) / width) ** 2 + ((y - height / 2) / height) ** 2
    return (1 - strength * radius * 2)[..., None].astype(np.float32)


def _tone(rng: Rng, choices: list[tuple[float, float, float]], spread: float = 0.12) -> NDArray[np.float64]:
    base = np.array(choices[int(rng.integers(len(choices)))])
    return np.clip(base * np.exp(rng.normal(0, spread)) * np.exp(rng.normal(0, spread * 0.4, 3)), 0.01, 0.98)


def _box(p: Picture, x0: float, y0: float, x1: float, y1: float, colour: NDArray[np.float64]) -> None:
    """A filled rectangle; coordinates in [0, 1] of width and height."""
    h, w = p.shape[:2]
    cv2.rectangle(p, (round(x0 * w), round(y0 * h)), (round(x1 * w), round(y1 * h)), tuple(map(float, colour)), -1)


def _shade(p: Picture, rng: Rng, strength: float = 0.25) -> None:
    """Uneven light over everything painted so far."""
    h, w = p.shape[:2]
    y, x = np.mgrid[0:h, 0:w].astype(np.float32)
    angle, centre = rng.uniform(0, 2 * np.pi), rng.uniform(-0.2, 0.2, 2)
    ramp = (x / w - 0.5 + centre[0]) * np.cos(angle) + (y / h - 0.5 + centre[1]) * np.sin(angle)
    p *= (1 + 2 * strength * ramp)[..., None]


def _glow(p: Picture, x: float, y: float, radius: float, colour: NDArray[np.float64]) -> None:
    """A soft light added around a point; radius as a share of the height."""
    h, w = p.shape[:2]
    yy, xx = np.mgrid[0:h, 0:w].astype(np.float32)
    distance = ((xx - x * w) ** 2 + (yy - y * h) ** 2) / (radius * h) ** 2
    p += np.exp(-distance)[..., None] * colour.astype(np.float32)


_WALLS = [(0.78, 0.75, 0.69), (0.62, 0.66, 0.68), (0.72, 0.62, 0.52), (0.45, 0.52, 0.50), (0.55, 0.42, 0.40),
          (0.38, 0.44, 0.55), (0.82, 0.80, 0.78), (0.66, 0.70, 0.58)]  # fmt: skip
_WOODS = [(0.42, 0.28, 0.17), (0.58, 0.42, 0.27), (0.27, 0.18, 0.12), (0.66, 0.54, 0.40)]
_VIVID = [(0.68, 0.22, 0.20), (0.20, 0.36, 0.62), (0.85, 0.66, 0.25), (0.22, 0.48, 0.34), (0.50, 0.28, 0.52),
          (0.88, 0.85, 0.80), (0.16, 0.17, 0.20), (0.80, 0.46, 0.22)]  # fmt: skip


def _wall(p: Picture, rng: Rng) -> Picture:
    p[:] = _tone(rng, _WALLS)
    h, w = p.shape[:2]
    p *= (0.94 + 0.12 * fractal(rng, h, w, 5, 0.6))[..., None]
    _shade(p, rng, 0.3)
    if rng.random() < 0.4:
        _glow(p, float(rng.uniform(0, 1)), float(rng.uniform(-0.1, 0.4)), 0.5, np.array([0.16, 0.14, 0.11]))
    return p


def _window(p: Picture, rng: Rng, x: float, y: float, width: float, height: float) -> None:
    """A bright window with a view and bars."""
    frame = _tone(rng, [(0.85, 0.84, 0.82), (0.30, 0.24, 0.19)])
    _box(p, x - 0.012, y - 0.02, x + width + 0.012, y + height + 0.02, frame)
    _box(p, x, y, x + width, y + height, _tone(rng, [(0.80, 0.88, 0.96), (0.92, 0.93, 0.92), (0.96, 0.86, 0.70)], 0.05))
    _box(
        p,
        x,
        y + height * float(rng.uniform(0.55, 0.8)),
        x + width,
        y + height,
        _tone(rng, [(0.45, 0.55, 0.38), (0.55, 0.56, 0.60)]),
    )
    for k in range(1, int(rng.integers(2, 4))):
        bar = x + width * k / 3
        _box(p, bar - 0.004, y, bar + 0.004, y + height, frame)
    _box(p, x, y + height * 0.5 - 0.006, x + width, y + height * 0.5 + 0.006, frame)


def _picture_frames(p: Picture, rng: Rng, count: int) -> None:
    for _ in range(count):
        x, y = rng.uniform(0, 0.9), rng.uniform(0.04, 0.3)
        width, height = rng.uniform(0.06, 0.16), rng.uniform(0.12, 0.26)
        _box(p, x, y, x + width, y + height, _tone(rng, [(0.15, 0.13, 0.12), (0.62, 0.5, 0.3), (0.9, 0.9, 0.88)]))
        _box(p, x + 0.01, y + 0.02, x + width - 0.01, y + height - 0.02, _tone(rng, _VIVID + _WALLS, 0.3))


def _shelf(p: Picture, rng: Rng, x0: float, x1: float, top: float, bottom: float, rows: int) -> None:
    """A bookcase with books of many colours."""
    wood = _tone(rng, [*_WOODS, (0.85, 0.83, 0.80)])
    _box(p, x0, top, x1, bottom, wood * 0.55)
    pitch = (bottom - top) / rows
    for row in range(rows):
        base = top + (row + 1) * pitch
        x = x0 + 0.006
        while x < x1 - 0.01:
            width = float(rng.uniform(0.008, 0.024))
            if rng.random() < 0.86:
                tall = pitch * float(rng.uniform(0.55, 0.88))
                _box(p, x, base - tall, min(x + width, x1 - 0.004), base, _tone(rng, _VIVID + _WOODS, 0.35))
            x += width
        _box(p, x0, base - 0.012, x1, base + 0.008, wood)


def _living_room(p: Picture, rng: Rng) -> Picture:
    _wall(p, rng)
    floor = float(rng.uniform(0.74, 0.9))
    if rng.random() < 0.75:
        _window(
            p, rng, float(rng.uniform(0.02, 0.7)), 0.06, float(rng.uniform(0.16, 0.3)), float(rng.uniform(0.35, 0.55))
        )
    _picture_frames(p, rng, int(rng.integers(0, 4)))
    if rng.random() < 0.5:
        x = float(rng.uniform(0, 0.75))
        _shelf(
            p, rng, x, x + float(rng.uniform(0.14, 0.26)), float(rng.uniform(0.05, 0.3)), floor, int(rng.integers(3, 6))
        )
    _box(p, 0, floor, 1, 1, _tone(rng, _WOODS))
    sofa = float(rng.uniform(-0.1, 0.6))
    cloth = _tone(rng, _VIVID + _WALLS, 0.25)
    _box(p, sofa, floor - 0.22, sofa + 0.5, floor + 0.06, cloth * 0.85)
    _box(p, sofa + 0.03, floor - 0.1, sofa + 0.47, floor + 0.1, cloth)
    if rng.random() < 0.6:
        x, y = float(rng.uniform(0.05, 0.95)), float(rng.uniform(0.2, 0.5))
        _box(p, x - 0.03, y - 0.07, x + 0.03, y + 0.02, np.array([0.98, 0.90, 0.70]))
        _box(p, x - 0.004, y, x + 0.004, floor, np.array([0.2, 0.18, 0.16]))
        _glow(p, x, y, 0.35, np.array([0.30, 0.22, 0.12]))
    _shade(p, rng, 0.12)
    return p


def _office(p: Picture, rng: Rng) -> Picture:
    p[:] = _tone(rng, [(0.74, 0.76, 0.78), (0.80, 0.79, 0.76), (0.60, 0.66, 0.70)])
    _shade(p, rng, 0.15)
    kind = rng.integers(3)
    if kind == 0:
        _shelf(p, rng, -0.02, 1.02, float(rng.uniform(0.02, 0.2)), 0.95, int(rng.integers(4, 6)))
    elif kind == 1:
        for k in range(int(rng.integers(8, 16))):
            y = 0.05 + k * 0.04
            _box(p, 0.1, y, 0.9, y + 0.022, np.array([0.90, 0.92, 0.93]))
        _window(p, rng, float(rng.uniform(0.0, 0.4)), 0.02, 0.5, 0.6)
    else:
        x = float(rng.uniform(0.05, 0.4))
        _box(p, x, 0.08, x + 0.5, 0.58, np.array([0.93, 0.94, 0.95]))
        for _ in range(int(rng.integers(4, 12))):
            a, b = rng.uniform(x + 0.03, x + 0.4), rng.uniform(0.12, 0.5)
            _box(p, a, b, a + float(rng.uniform(0.03, 0.1)), b + 0.012, _tone(rng, _VIVID))
    for _ in range(int(rng.integers(1, 4))):
        a = float(rng.uniform(0, 0.9))
        _box(p, a, 0.62, a + float(rng.uniform(0.08, 0.2)), 0.84, _tone(rng, [(0.12, 0.13, 0.15), (0.3, 0.34, 0.4)]))
    _box(p, 0, float(rng.uniform(0.82, 0.92)), 1, 1, _tone(rng, [*_WOODS, (0.4, 0.42, 0.45)]))
    return p


def _kitchen(p: Picture, rng: Rng) -> Picture:
    tile = _tone(rng, [(0.86, 0.87, 0.86), (0.66, 0.76, 0.78), (0.80, 0.76, 0.66)])
    p[:] = tile * 0.8
    size = float(rng.uniform(0.04, 0.07))
    aspect = p.shape[0] / p.shape[1]
    for y in np.arange(0, 0.75, size):
        for x in np.arange(0, 1, size * aspect * 1.5):
            _box(p, x, y, x + size * aspect * 1.5 - 0.004, y + size - 0.006, tile * rng.uniform(0.92, 1.06))
    door = _tone(rng, [*_WOODS, (0.88, 0.87, 0.84), (0.30, 0.40, 0.44), (0.52, 0.60, 0.52)])
    for k in range(6):
        if rng.random() < 0.8:
            _box(p, k / 6 + 0.004, -0.02, (k + 1) / 6 - 0.004, 0.26, door * rng.uniform(0.94, 1.06))
        _box(p, k / 6 + 0.004, 0.78, (k + 1) / 6 - 0.004, 1.02, door * rng.uniform(0.94, 1.06))
    _box(p, 0, 0.72, 1, 0.78, _tone(rng, [(0.25, 0.24, 0.24), (0.78, 0.76, 0.73)]))
    for _ in range(int(rng.integers(3, 9))):
        x, width, tall = rng.uniform(0, 0.95), rng.uniform(0.02, 0.06), rng.uniform(0.05, 0.18)
        _box(p, x, 0.72 - tall, x + width, 0.72, _tone(rng, _VIVID, 0.3))
    _shade(p, rng, 0.2)
    return p


def _bricks(p: Picture, rng: Rng) -> Picture:
    brick = _tone(rng, [(0.55, 0.30, 0.23), (0.46, 0.38, 0.34), (0.72, 0.70, 0.66), (0.40, 0.24, 0.20)])
    p[:] = np.clip(brick * 1.25 + 0.1, 0, 0.9)
    tall = float(rng.uniform(0.045, 0.075))
    wide = tall * 2.6 * p.shape[0] / p.shape[1]
    for row, y in enumerate(np.arange(-tall, 1, tall)):
        for x in np.arange(-wide * (1 + 0.5 * (row % 2)), 1, wide):
            _box(p, x, y, x + wide * 0.95, y + tall * 0.88, brick * rng.uniform(0.82, 1.15))
    h, w = p.shape[:2]
    p *= (0.9 + 0.2 * fractal(rng, h, w, 6, 0.7, 8))[..., None]
    _shade(p, rng, 0.3)
    return p


def _sky(p: Picture, rng: Rng) -> None:
    """Sky from top to bottom, with clouds."""
    h, w = p.shape[:2]
    palette = [((0.30, 0.50, 0.80), (0.75, 0.85, 0.94)), ((0.62, 0.68, 0.75), (0.84, 0.86, 0.88)),
               ((0.28, 0.34, 0.58), (0.96, 0.68, 0.46)), ((0.45, 0.60, 0.85), (0.95, 0.90, 0.80))]  # fmt: skip
    top, bottom = palette[int(rng.integers(len(palette)))]
    ramp = np.linspace(0, 1, h, dtype=np.float32)[:, None, None] ** 0.8
    p[:] = np.array(top, np.float32) * (1 - ramp) + np.array(bottom, np.float32) * ramp
    cloud = np.clip((fractal(rng, h, w, 6, 0.55) - rng.uniform(0.45, 0.7)) * 3, 0, 1)[..., None]
    p += cloud * (np.array([0.97, 0.96, 0.95], np.float32) - p) * np.float32(0.8)


def _ridge(p: Picture, rng: Rng, level: float, rough: float, colour: NDArray[np.float64], detail: float) -> None:
    """Everything below an uneven line, textured like foliage or grass."""
    h, w = p.shape[:2]
    line = (level + rough * (fractal(rng, 2, w, 7, 0.55, 2)[0] - 0.5)) * h
    mask = np.arange(h, dtype=np.float32)[:, None] > line[None]
    texture = 1 - detail / 2 + detail * fractal(rng, h, w, 7, 0.7, 6)
    p[mask] = (texture[..., None] * colour.astype(np.float32))[mask]


_LEAVES = [(0.20, 0.34, 0.15), (0.30, 0.42, 0.18), (0.14, 0.25, 0.13), (0.48, 0.40, 0.16), (0.46, 0.28, 0.12)]


def _park(p: Picture, rng: Rng) -> Picture:
    _sky(p, rng)
    for k in range(int(rng.integers(1, 4))):
        level = float(rng.uniform(0.15, 0.45)) + 0.08 * k
        _ridge(p, rng, level, float(rng.uniform(0.2, 0.5)), _tone(rng, _LEAVES) * (1.2 - 0.15 * k), 0.9)
    for _ in range(int(rng.integers(0, 4))):
        x = float(rng.uniform(0, 1))
        _box(p, x, float(rng.uniform(0, 0.3)), x + float(rng.uniform(0.01, 0.035)), 0.85, _tone(rng, _WOODS) * 0.6)
    _ridge(p, rng, float(rng.uniform(0.7, 0.85)), 0.04, _tone(rng, [(0.36, 0.48, 0.20), (0.45, 0.50, 0.26)]), 0.5)
    _shade(p, rng, 0.15)
    return p


def _coast(p: Picture, rng: Rng) -> Picture:
    _sky(p, rng)
    horizon = float(rng.uniform(0.45, 0.65))
    if rng.random() < 0.6:
        _ridge(p, rng, horizon - 0.06, 0.2, _tone(rng, [(0.42, 0.48, 0.55), (0.36, 0.42, 0.36)]), 0.2)
    _box(p, 0, horizon, 1, 1, _tone(rng, [(0.18, 0.38, 0.50), (0.30, 0.48, 0.54), (0.36, 0.42, 0.50)]))
    h, w = p.shape[:2]
    rows = slice(round(horizon * h), h)
    p[rows] *= (0.85 + 0.3 * fractal(rng, h, w, 6, 0.7, 4))[rows, :, None]
    if rng.random() < 0.7:
        _ridge(p, rng, float(rng.uniform(0.78, 0.9)), 0.05, _tone(rng, [(0.80, 0.72, 0.56), (0.62, 0.58, 0.50)]), 0.2)
    return p


def _street(p: Picture, rng: Rng) -> Picture:
    """Houses along a street; sometimes at night with lights out of focus."""
    night = rng.random() < 0.4
    _sky(p, rng)
    if night:
        p *= np.float32(0.12)
    x = -0.05
    while x < 1:
        width, top = float(rng.uniform(0.1, 0.3)), float(rng.uniform(-0.1, 0.35))
        front = _tone(rng, [*_WALLS, (0.55, 0.32, 0.26)]) * (0.22 if night else 0.85)
        _box(p, x, top, x + width, 0.9, front)
        for wy in np.arange(top + 0.06, 0.7, 0.13):
            for wx in np.arange(x + 0.02, x + width - 0.03, 0.05):
                lit = night and rng.random() < 0.45
                glass = np.array([0.98, 0.82, 0.50]) if lit else front * rng.uniform(0.35, 0.7)
                _box(p, wx, wy, wx + 0.026, wy + 0.07, glass)
        x += width
    _box(
        p,
        0,
        float(rng.uniform(0.8, 0.9)),
        1,
        1,
        _tone(rng, [(0.32, 0.32, 0.34), (0.46, 0.44, 0.42)]) * (0.4 if night else 1),
    )
    h, w = p.shape[:2]
    for _ in range(int(rng.integers(5, 18)) if night else int(rng.integers(0, 4))):
        centre = (int(rng.uniform(0, w)), int(rng.uniform(0.3, 0.9) * h))
        disc = np.zeros((h, w), np.float32)
        cv2.circle(disc, centre, int(rng.uniform(0.015, 0.045) * h), 1.0, -1, cv2.LINE_AA)
        p += disc[..., None] * _tone(
            rng, [(0.9, 0.6, 0.25), (0.9, 0.25, 0.2), (0.8, 0.85, 0.95), (0.3, 0.7, 0.5)]
        ).astype(np.float32)
    return p


#: Rolls of studio paper.
_PAPERS = [(0.30, 0.32, 0.35), (0.62, 0.63, 0.65), (0.16, 0.20, 0.28), (0.42, 0.20, 0.18), (0.22, 0.36, 0.38),
           (0.70, 0.62, 0.52), (0.35, 0.28, 0.42)]  # fmt: skip


def _studio(p: Picture, rng: Rng) -> Picture:
    p[:] = _tone(rng, _PAPERS, 0.2)
    h, w = p.shape[:2]
    p *= (0.9 + 0.2 * fractal(rng, h, w, 4, 0.5))[..., None]
    x, y = float(rng.uniform(0.2, 0.8)), float(rng.uniform(0.2, 0.6))
    _glow(p, x, y, float(rng.uniform(0.4, 0.8)), np.mean(p, axis=(0, 1)).astype(np.float64) * rng.uniform(0.2, 0.8))
    return p


def _texture(p: Picture, rng: Rng) -> Picture:
    """No place at all: colours over natural-looking noise, so that nothing can be learnt by heart."""
    h, w = p.shape[:2]
    a, b, c = (_tone(rng, _VIVID + _WALLS + _LEAVES, 0.3).astype(np.float32) for _ in range(3))
    first = fractal(rng, h, w, 7, float(rng.uniform(0.45, 0.8)), int(rng.integers(2, 8)))[..., None]
    second = fractal(rng, h, w, 5, 0.5)[..., None]
    p[:] = (a * (1 - first) + b * first) * (1 - 0.5 * second) + 0.5 * second * c
    for _ in range(int(rng.integers(0, 6))):
        x, y = rng.uniform(-0.1, 1, 2)
        _box(
            p,
            x,
            y,
            x + float(rng.uniform(0.05, 0.5)),
            y + float(rng.uniform(0.05, 0.5)),
            _tone(rng, _VIVID + _WALLS, 0.3),
        )
    return p


def _curtain(p: Picture, rng: Rng) -> Picture:
    colour = _tone(rng, _VIVID + _WALLS, 0.25).astype(np.float32)
    h, w = p.shape[:2]
    folds = fractal(rng, 2, w, 6, 0.6, int(rng.integers(8, 22)))[0]
    sway = fractal(rng, h, w, 3, 0.5)
    p[:] = colour * (0.45 + 0.8 * folds[None, :, None] * (0.85 + 0.3 * sway[..., None]))
    _shade(p, rng, 0.2)
    return p


#: Painters by name, with the words that captions use.
KINDS: dict[str, tuple[str, Callable[[Picture, Rng], Picture]]] = {
    "wall": ("in front of a plain wall", _wall),
    "living room": ("in a living room", _living_room),
    "office": ("in an office", _office),
    "kitchen": ("in a kitchen", _kitchen),
    "bricks": ("in front of a brick wall", _bricks),
    "park": ("in a park", _park),
    "coast": ("by the sea", _coast),
    "street": ("on a street", _street),
    "studio": ("in a studio", _studio),
    "curtain": ("in front of a curtain", _curtain),
    "texture": ("against an abstract background", _texture),
}
