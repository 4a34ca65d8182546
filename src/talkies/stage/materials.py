"""Compiled materials: their kinds, the noise they are made with, and which samples those with holes cover."""
# Kernels are compiled by numba from plain loops; their arrays are float32 or int32 unless said otherwise.
# `shading` compiles `step` and `noise2` into its own kernels, and numba's cache looks at one file only: who changes
# them here has to touch shading.py too, or old pictures go on being made.
# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: PLR0911

from __future__ import annotations

import numba as nb
import numpy as np

# Kinds of material: column 0 of a material table.
SKIN_FACE, SKIN_BODY, EYE, TEETH, TONGUE, HAIR, CLOTH, LASH, PLAIN = range(9)
#: Columns: kind, colour 1-3, second colour 4-6, four parameters 7-12.
MATERIAL_COLUMNS = 13
#: Cut heights below this cut nothing.
_UNCUT = -1e5

_F = np.float32


def noise_lattice() -> np.ndarray:
    """The shared `[256, 256]` lattice of random values in [0, 1]."""
    return np.random.default_rng(20).random((256, 256), dtype=np.float32)


@nb.njit(cache=True, fastmath=True, nogil=True, inline="always")
def step(low, high, x):
    """Smooth step: 0 up to `low`, 1 from `high` on."""
    t = min(max((x - low) / (high - low), _F(0)), _F(1))
    return t * t * (_F(3) - _F(2) * t)


@nb.njit(cache=True, fastmath=True, nogil=True)
def noise2(lattice, x, y):
    """Smooth value noise in [0, 1] with cells of size one."""
    ix = int(np.floor(x))
    iy = int(np.floor(y))
    fx = _F(x - ix)
    fy = _F(y - iy)
    fx = fx * fx * (_F(3) - _F(2) * fx)
    fy = fy * fy * (_F(3) - _F(2) * fy)
    x0 = ix & 255
    x1 = (ix + 1) & 255
    y0 = iy & 255
    y1 = (iy + 1) & 255
    top = lattice[y0, x0] * (_F(1) - fx) + lattice[y0, x1] * fx
    low = lattice[y1, x0] * (_F(1) - fx) + lattice[y1, x1] * fx
    return top * (_F(1) - fy) + low * fy


@nb.njit(cache=True, fastmath=True, nogil=True)
def _kept(material, lattice, u, v, aux):
    """Whether a sample of a cut-out material is there at all."""
    kind = int(material[0])
    if kind == HAIR:
        fx, fy = material[7], material[8]
        if material[12] > _UNCUT and aux[1] < material[12] + _F(0.22) * noise2(lattice, u * _F(60), v * _F(2)):
            return False  # cut at a height, in uneven locks
        holes = material[10]
        if holes <= 0:
            return True
        coarse = noise2(lattice, u * fx * _F(0.23), v * fy * _F(0.23)) * _F(0.45)
        if coarse > holes or coarse + _F(0.75) <= holes:
            return coarse > holes  # the fine noise cannot change it
        return noise2(lattice, u * fx, v * fy) * _F(0.75) + coarse > holes
    if kind == LASH:
        # single hairs fan out over the strip; fewer reach the tips (v grows towards them on both lids)
        return noise2(lattice, u * material[7], v * material[8]) < material[9]
    if kind == CLOTH and material[10] > 0:  # a neckline cut in reference coordinates (aux): round to deep V
        across = abs(aux[0])
        front = step(_F(-0.2), _F(0.5), aux[2])
        neck = material[10] - material[9] * np.exp(-((across / _F(0.5)) ** 2)) * front
        neck += _F(1.2) * max(_F(0), across - _F(0.5)) + _F(0.25) * (_F(1) - front)
        return aux[1] <= neck
    return True


@nb.njit(cache=True, fastmath=True, nogil=True)
def rasterise_cutout(
    screen, triangles, corners, uv, aux, two_sided, material_of, materials, lattice, first, depth, owner
):
    """Like `geometry.rasterise` for materials with holes: every sample is asked whether it is there."""
    height, width = depth.shape
    point = np.empty(3, np.float32)
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = screen[a, 0], screen[a, 1]
        x1, y1 = screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area > -1e-9 and (two_sided[t] == 0 or area < 1e-9):
            continue
        low_x = max(0, int(np.ceil(min(x0, x1, x2) - _F(0.5))))
        high_x = min(width - 1, int(np.floor(max(x0, x1, x2) - _F(0.5))))
        low_y = max(0, int(np.ceil(min(y0, y1, y2) - _F(0.5))))
        high_y = min(height - 1, int(np.floor(max(y0, y1, y2) - _F(0.5))))
        if low_x > high_x or low_y > high_y:
            continue
        inverse = _F(1) / area
        z0, z1, z2 = screen[a, 2], screen[b, 2], screen[c, 2]
        i, j, k = corners[t, 0], corners[t, 1], corners[t, 2]
        material = materials[material_of[t]]
        placed = int(material[0]) == CLOTH or material[12] > _UNCUT
        step1 = (y2 - y0) * inverse
        step2 = (y0 - y1) * inverse
        for y in range(low_y, high_y + 1):
            px = _F(low_x) + _F(0.5) - x0
            py = _F(y) + _F(0.5) - y0
            l1 = (px * (y2 - y0) - (x2 - x0) * py) * inverse - step1
            l2 = ((x1 - x0) * py - px * (y1 - y0)) * inverse - step2
            for x in range(low_x, high_x + 1):
                l1 += step1
                l2 += step2
                l0 = _F(1) - l1 - l2
                if l0 < 0 or l1 < 0 or l2 < 0:
                    continue
                z = l0 * z0 + l1 * z1 + l2 * z2
                if z >= depth[y, x]:
                    continue
                u = l0 * uv[i, 0] + l1 * uv[j, 0] + l2 * uv[k, 0]
                v = l0 * uv[i, 1] + l1 * uv[j, 1] + l2 * uv[k, 1]
                if placed:
                    for n in range(3):
                        point[n] = l0 * aux[a, n] + l1 * aux[b, n] + l2 * aux[c, n]
                if _kept(material, lattice, u, v, point):
                    depth[y, x] = z
                    owner[y, x] = first + t
