"""Compiled shading: the look of skin, eyes, teeth, hair and cloth under three lights, sample by sample."""
# Kernels are compiled by numba from plain loops; their arrays are float32 or int32 unless said otherwise.
# Each is one loop over samples with the whole look inside it, hence long.
# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: PLR0912, PLR0915, PLR1714, SIM109

from __future__ import annotations

import numba as nb
import numpy as np

from talkies.stage.materials import CLOTH, EYE, HAIR, PLAIN, SKIN_BODY, SKIN_FACE, TEETH, TONGUE, noise2, step

#: Rows of a light table: key direction, key colour, fill direction, fill colour, rim direction, rim colour, sky,
#: ground, (exposure, shadow softness, -).
LIGHT_ROWS = 9
TONE_STEPS = 4096
_TONE_RANGE = 8.0
#: Hair with a higher frequency of holes is fuzz without combed strands.
_FUZZ = 250.0

_F = np.float32


def tone_curve() -> np.ndarray:
    """ACES-like filmic curve and sRGB gamma as a table over linear light from 0 to `_TONE_RANGE`, `[TONE_STEPS]`."""
    x = np.linspace(0, _TONE_RANGE, TONE_STEPS) ** 1.0
    mapped = x * (2.51 * x + 0.03) / (x * (2.43 * x + 0.59) + 0.14)
    return (np.clip(mapped, 0, 1) ** (1 / 2.2)).astype(np.float32)


@nb.njit(cache=True, fastmath=True, nogil=True)
def _faded(lattice, x, y, cells):
    """`noise2`, tending to its mean as more than about one cell falls on a sample (`cells` per sample)."""
    strength = _F(1) - step(_F(0.5), _F(1.6), cells)
    if strength <= 0:
        return _F(0.5)
    return _F(0.5) + (noise2(lattice, x, y) - _F(0.5)) * strength


@nb.njit(cache=True, fastmath=True, nogil=True)
def _texture(picture, u, v, channel_out):
    """Bilinear lookup in `picture [S, S, 4]` (linear light) at u, v in [0, 1], row 0 where v is 1."""
    size = picture.shape[0]
    x = min(max(u * size - _F(0.5), _F(0)), _F(size - 1.001))
    y = min(max((_F(1) - v) * size - _F(0.5), _F(0)), _F(size - 1.001))
    ix = int(x)
    iy = int(y)
    fx = x - ix
    fy = y - iy
    for c in range(4):
        top = picture[iy, ix, c] * (_F(1) - fx) + picture[iy, ix + 1, c] * fx
        low = picture[iy + 1, ix, c] * (_F(1) - fx) + picture[iy + 1, ix + 1, c] * fx
        channel_out[c] = top * (_F(1) - fy) + low * fy


@nb.njit(cache=True, fastmath=True, nogil=True)
def _shadow(shadow_map, shadow_view, shadow_scale, position, bias):
    """Share of the key light reaching a world position: four bilinear taps into the map of distances."""
    size = shadow_map.shape[0]
    half = _F(size * 0.5)
    sx = shadow_view[0, 0] * position[0] + shadow_view[0, 1] * position[1] + shadow_view[0, 2] * position[2]
    sy = shadow_view[1, 0] * position[0] + shadow_view[1, 1] * position[1] + shadow_view[1, 2] * position[2]
    sz = shadow_view[2, 0] * position[0] + shadow_view[2, 1] * position[1] + shadow_view[2, 2] * position[2]
    x = half + shadow_scale * (sx + shadow_view[0, 3]) - _F(0.5)
    y = half - shadow_scale * (sy + shadow_view[1, 3]) - _F(0.5)
    z = -(sz + shadow_view[2, 3]) - bias
    if x < 2 or y < 2 or x > size - 4 or y > size - 4:
        return _F(1)
    ix = int(x)
    iy = int(y)
    fx = x - ix
    fy = y - iy
    lit = _F(0)  # a 3x3 box filter over the texels, blended at the fraction: 4x4 tests
    for j in range(-1, 3):
        wy = _F(1)
        if j == -1:
            wy = _F(1) - fy
        elif j == 2:
            wy = fy
        for i in range(-1, 3):
            wx = _F(1)
            if i == -1:
                wx = _F(1) - fx
            elif i == 2:
                wx = fx
            if shadow_map[iy + j, ix + i] >= z:
                lit += wx * wy
    return lit * _F(1 / 9)


@nb.njit(cache=True, fastmath=True, nogil=True)
def _power(base, exponent):
    return np.exp2(exponent * np.log2(max(base, _F(1e-6))))


@nb.njit(cache=True, fastmath=True, nogil=True)
def _shade(material, n, view, u, v, span, ao, aux, up, lit, light, lattice, face, whole, texel, surface, out):
    """Linear light leaving one sample, into `out [3]`; `surface [8]` and `texel [4]` are scratch.

    `span` is how much of the texture a sample covers, in units of u and v.
    """
    kind = int(material[0])
    shine = _F(0)
    sharp = _F(20)
    wrap_r = _F(0.1)
    wrap_g = _F(0.1)
    wrap_b = _F(0.1)
    glow = _F(0)
    occlusion = ao
    r, g, b = material[1], material[2], material[3]
    key = light[0]
    if kind == SKIN_FACE or kind == SKIN_BODY:
        _texture(face if kind == SKIN_FACE else whole, u, v, texel)
        r, g, b = texel[0], texel[1], texel[2]
        lit *= step(_F(0), _F(0.25), ao)
        wrap_r, wrap_g, wrap_b = _F(0.42), _F(0.22), _F(0.16)
        shine = material[7] * (_F(0.3) + texel[3])
        sharp = material[8]
        bounce = min(max(ao * _F(1.25), _F(0)), _F(1))  # light in creases has passed through flesh: redder
        r *= _F(1.25) - _F(0.25) * bounce
        g *= _F(0.80) + _F(0.20) * bounce
        b *= _F(0.72) + _F(0.28) * bounce
    elif kind == EYE:
        # aux: direction from the eye's centre at rest; parameters 7-9: the axis of sight at rest
        cosine = aux[0] * material[7] + aux[1] * material[8] + aux[2] * material[9]
        angle = np.arccos(min(max(cosine, _F(-1)), _F(1)))
        turn = np.arctan2(aux[1] - material[8], aux[0] - material[7])
        white = _F(1) - _F(0.25) * step(_F(0.7), _F(1.2), angle)
        red = _F(0.25) * step(_F(0.75), _F(1.15), angle)
        sr = _F(0.66) * white * (_F(1) - red) + _F(0.72) * red
        sg = _F(0.63) * white * (_F(1) - red) + _F(0.45) * red
        sb = _F(0.61) * white * (_F(1) - red) + _F(0.40) * red
        fibre = _F(0.75) + _F(0.5) * noise2(lattice, turn * _F(9) + _F(60), angle * _F(12))
        outer = step(_F(0.20), _F(0.475), angle)
        dark = fibre * (_F(1) - _F(0.65) * step(_F(0.40), _F(0.50), angle))
        iris = step(_F(0.47), _F(0.55), angle)
        pupil = step(_F(0.17), _F(0.23), angle)
        r = (material[4] + (r - material[4]) * outer) * dark * (_F(1) - iris) + sr * iris
        g = (material[5] + (g - material[5]) * outer) * dark * (_F(1) - iris) + sg * iris
        b = (material[6] + (b - material[6]) * outer) * dark * (_F(1) - iris) + sb * iris
        r = _F(0.010) + (r - _F(0.010)) * pupil
        g = _F(0.010) + (g - _F(0.010)) * pupil
        b = _F(0.011) + (b - _F(0.011)) * pupil
        # the upper lid's shade: by the direction on the eyeball, upright with the head
        height = n[0] * up[0] + n[1] * up[1] + n[2] * up[2]
        occlusion = _F(0.30) + _F(0.70) * step(_F(0.62), _F(-0.05), height)
        shine = _F(5) * occlusion
        sharp = _F(140)
        wrap_r, wrap_g, wrap_b = _F(0.3), _F(0.2), _F(0.2)
        lit = lit * _F(0.65) + _F(0.35)
        lit *= occlusion
    elif kind == TEETH:
        # aux 0: distance from the middle; thin dark gaps between teeth
        gap = abs(aux[0] * _F(11) + _F(0.5) - np.floor(aux[0] * _F(11) + _F(0.5)) - _F(0.5))
        shade = _F(1) - _F(0.22) * step(_F(0.36), _F(0.5), gap)
        r *= shade
        g *= shade
        b *= shade
        shine, sharp = _F(0.22), _F(50)
        wrap_r, wrap_g, wrap_b = _F(0.5), _F(0.5), _F(0.5)
        lit = (lit * _F(0.4) + _F(0.6)) * ao * _F(1.25)
    elif kind == TONGUE:
        shine, sharp = _F(0.25), _F(30)
        wrap_r, wrap_g, wrap_b = _F(0.4), _F(0.2), _F(0.2)
        lit = (lit * _F(0.5) + _F(0.5)) * ao * _F(1.4)
    elif kind == HAIR:
        fx, fy = (_F(90), _F(6)) if material[7] > _FUZZ else (material[7], material[8])
        strand = _faded(lattice, u * fx, v * fy, fx * span)
        fine = _faded(lattice, u * fx * _F(2.7) + _F(7), v * fy * _F(1.3) + _F(7), fx * span * _F(2.7))
        tint = _F(0.58) + _F(0.70) * (strand * _F(0.65) + fine * _F(0.35))
        mix = noise2(lattice, u * fx * _F(0.14) + _F(31), v * fy * _F(0.35))  # locks
        r += (material[4] - r) * mix
        g += (material[5] - g) * mix
        b += (material[6] - b) * mix
        if material[11] > 0:  # single strands have turned grey
            grey = _faded(lattice, u * fx * _F(4.1) + _F(11), v * fy * _F(0.8), fx * span * _F(4.1))
            grey = grey * _F(0.7) + fine * _F(0.3)
            grey = _F(0.5) * step(_F(0.5) - material[11], _F(1.5) - material[11], grey)
            r += (_F(0.16) - r) * grey
            g += (_F(0.155) - g) * grey
            b += (_F(0.15) - b) * grey
        r *= tint
        g *= tint
        b *= tint
        # Kajiya-Kay: the strand runs downwards along the surface
        along = n[1]
        tx, ty, tz = n[0] * along, along * n[1] - _F(1), n[2] * along
        scale = _F(1) / np.sqrt(tx * tx + ty * ty + tz * tz + _F(1e-6))
        hx, hy, hz = key[0] + view[0], key[1] + view[1], key[2] + view[2]
        across = (tx * hx + ty * hy + tz * hz) * scale / np.sqrt(hx * hx + hy * hy + hz * hz + _F(1e-6))
        across += (strand - _F(0.5)) * _F(0.35)
        facing = max(_F(0), (n[0] * key[0] + n[1] * key[1] + n[2] * key[2]) * _F(0.6) + _F(0.4))
        sheen = max(_F(0), _F(1) - across * across)
        glow = _power(sheen, _F(14)) * material[9] * facing * lit * _F(0.35)
        wrap_r, wrap_g, wrap_b = _F(0.35), _F(0.35), _F(0.35)
    elif kind == CLOTH:
        tint = _F(0.905) + _faded(lattice, u * _F(140), v * _F(140), _F(140) * span) * _F(0.10)
        tint += _faded(lattice, u * _F(430), v * _F(430), _F(430) * span) * _F(0.09)
        pattern = int(material[7])
        if pattern == 3:  # melange
            tint += (_faded(lattice, u * _F(260), v * _F(900), _F(500) * span) - _F(0.5)) * _F(0.22)
        if pattern == 1 or pattern == 2:
            rows = aux[1] * material[8]
            band = step(_F(0.45), _F(0.5), abs(rows - np.floor(rows) - _F(0.5)) * _F(2))
            mix = band * _F(0.85)
            r += (material[4] - r) * mix
            g += (material[5] - g) * mix
            b += (material[6] - b) * mix
        if pattern == 2:
            rows = aux[0] * material[8]
            band = step(_F(0.45), _F(0.5), abs(rows - np.floor(rows) - _F(0.5)) * _F(2))
            mix = band * _F(0.5)
            r += (material[4] * _F(0.8) - r) * mix
            g += (material[5] * _F(0.8) - g) * mix
            b += (material[6] * _F(0.8) - b) * mix
        r *= tint
        g *= tint
        b *= tint
        shine, sharp = _F(0.04), _F(12)
        wrap_r, wrap_g, wrap_b = _F(0.18), _F(0.18), _F(0.18)
    elif kind == PLAIN:
        shine, sharp = material[7], material[8]
    out[0], out[1], out[2] = r, g, b
    surface[0], surface[1] = shine, sharp
    surface[2], surface[3], surface[4] = wrap_r, wrap_g, wrap_b
    surface[5], surface[6], surface[7] = glow, occlusion, lit
    _illuminate(n, view, surface, kind, light, out)


@nb.njit(cache=True, fastmath=True, nogil=True)
def _illuminate(n, view, surface, kind, light, out):
    """Turns the albedo in `out [3]` into outgoing light: key, fill, rim and hemisphere."""
    shine, sharp, glow, ao, lit = surface[0], surface[1], surface[5], surface[6], surface[7]
    to_key = n[0] * light[0, 0] + n[1] * light[0, 1] + n[2] * light[0, 2]
    to_fill = n[0] * light[2, 0] + n[1] * light[2, 1] + n[2] * light[2, 2]
    to_rim = max(_F(0), n[0] * light[4, 0] + n[1] * light[4, 1] + n[2] * light[4, 2])
    fill = max(_F(0), (to_fill + _F(0.3)) * _F(1 / 1.3)) * ao
    sky = n[1] * _F(0.5) + _F(0.5)
    facing = max(_F(0), n[0] * view[0] + n[1] * view[1] + n[2] * view[2])
    edge = _F(1) - facing
    edge = edge * edge * edge * to_rim * _F(0.12) * ao
    hx, hy, hz = light[0, 0] + view[0], light[0, 1] + view[1], light[0, 2] + view[2]
    scale = _F(1) / np.sqrt(hx * hx + hy * hy + hz * hz + _F(1e-6))
    hn = max(_F(0), (n[0] * hx + n[1] * hy + n[2] * hz) * scale)
    hv = max(_F(0), (view[0] * hx + view[1] * hy + view[2] * hz) * scale)
    grazing = _F(1) - hv
    fresnel = _F(0.04) + _F(0.96) * grazing * grazing * grazing * grazing * grazing
    spot = _F(0)
    soft = _F(0)
    if shine > 0:
        spot = shine * _power(hn, sharp) * lit * (_F(0.25) + fresnel) * ao
        fx, fy, fz = light[2, 0] + view[0], light[2, 1] + view[1], light[2, 2] + view[2]
        scale = _F(1) / np.sqrt(fx * fx + fy * fy + fz * fz + _F(1e-6))
        fn = max(_F(0), (n[0] * fx + n[1] * fy + n[2] * fz) * scale)
        soft = shine * _F(0.5) * _power(fn, sharp) * _F(0.35) * ao
    red_shadow = np.sqrt(np.sqrt(lit)) * np.sqrt(lit) if kind <= SKIN_BODY else lit  # lit ** 0.75: shadows bleed red
    for c in range(3):
        wrap = surface[2 + c]
        diffuse = max(_F(0), (to_key + wrap) / ((_F(1) + wrap) * (_F(1) + wrap)))
        direct = light[1, c] * diffuse * (red_shadow if c == 0 else lit)
        ambient = (light[7, c] + (light[6, c] - light[7, c]) * sky) * ao
        albedo = out[c]
        total = albedo * (direct + light[3, c] * fill + ambient)
        total += light[1, c] * spot + light[3, c] * soft
        total += light[5, c] * (albedo * to_rim * ao * _F(0.6) + edge)
        total += (albedo * _F(1.6) + _F(0.06)) * glow * light[1, c]
        out[c] = total * light[8, 0]


@nb.njit(cache=True, fastmath=True, nogil=True)
def resolve(
    depth, owner, first, last, screen, points, normals, triangles, corners, uv, ao, aux, material_of, materials, up,
    eye, light, lattice, face, whole, shadow_map, shadow_view, shadow_scale, tone, out,
):  # fmt: skip
    """Shades one figure's samples and averages them into `out [H, W, 4]` (premultiplied sRGB in [0, 1], coverage).

    Two by two samples make a pixel. Where they lie on one surface the pixel is shaded once.
    `owner` numbers in [`first`, `last`) are this figure's triangles.
    """
    height, width = out.shape[:2]
    n = np.empty(3, np.float32)
    view = np.empty(3, np.float32)
    position = np.empty(3, np.float32)
    point = np.empty(3, np.float32)
    colour = np.empty(3, np.float32)
    texel = np.empty(4, np.float32)
    surface = np.empty(8, np.float32)
    scale = _F((TONE_STEPS - 1) / _TONE_RANGE)
    for py in range(height):
        for px in range(width):
            count = 0
            same = True
            kind = -1
            nearest = _F(1e9)
            farthest = _F(0)
            for s in range(4):
                t = owner[2 * py + (s >> 1), 2 * px + (s & 1)]
                if t < first or t >= last:
                    same = False
                    continue
                count += 1
                m = material_of[t - first]
                if int(materials[m, 0]) == HAIR:
                    m = np.int32(len(materials))  # all layers of hair are one surface
                if kind < 0:
                    kind = m
                same = same and kind == m
                z = depth[2 * py + (s >> 1), 2 * px + (s & 1)]
                nearest = min(nearest, z)
                farthest = max(farthest, z)
            if count == 0:
                continue
            same = same and farthest - nearest < (_F(0.5) if kind == len(materials) else _F(0.12))
            for s in range(4):
                sy = 2 * py + (s >> 1)
                sx = 2 * px + (s & 1)
                t = owner[sy, sx] - first
                if t < 0 or t >= last - first:
                    continue
                a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
                x0, y0 = screen[a, 0], screen[a, 1]
                x1, y1 = screen[b, 0], screen[b, 1]
                x2, y2 = screen[c, 0], screen[c, 1]
                inverse = _F(1) / ((x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0))
                qx = sx + _F(0.5) - x0
                qy = sy + _F(0.5) - y0
                if same:
                    qx = _F(2) * px + _F(1) - x0
                    qy = _F(2) * py + _F(1) - y0
                l1 = (qx * (y2 - y0) - (x2 - x0) * qy) * inverse
                l2 = ((x1 - x0) * qy - qx * (y1 - y0)) * inverse
                l1 = min(max(l1, _F(0)), _F(1))
                l2 = min(max(l2, _F(0)), _F(1) - l1)
                l0 = _F(1) - l1 - l2
                material = materials[material_of[t]]
                length = _F(0)
                distance = _F(0)
                facing = _F(0)
                for k in range(3):
                    n[k] = l0 * normals[a, k] + l1 * normals[b, k] + l2 * normals[c, k]
                    position[k] = l0 * points[a, k] + l1 * points[b, k] + l2 * points[c, k]
                    point[k] = l0 * aux[a, k] + l1 * aux[b, k] + l2 * aux[c, k]
                    view[k] = eye[k] - position[k]
                    length += n[k] * n[k]
                    distance += view[k] * view[k]
                    facing += n[k] * view[k]
                length = _F(1) / np.sqrt(length + _F(1e-12))
                distance = _F(1) / np.sqrt(distance)
                if inverse > 0:  # seen from behind
                    length = -length
                for k in range(3):
                    n[k] *= length
                    view[k] *= distance
                i, j, k3 = corners[t, 0], corners[t, 1], corners[t, 2]
                u = l0 * uv[i, 0] + l1 * uv[j, 0] + l2 * uv[k3, 0]
                v = l0 * uv[i, 1] + l1 * uv[j, 1] + l2 * uv[k3, 1]
                uv_area = (uv[j, 0] - uv[i, 0]) * (uv[k3, 1] - uv[i, 1]) - (uv[k3, 0] - uv[i, 0]) * (
                    uv[j, 1] - uv[i, 1]
                )
                span = np.sqrt(abs(uv_area * inverse))
                open_sky = l0 * ao[a] + l1 * ao[b] + l2 * ao[c]
                to_key = n[0] * light[0, 0] + n[1] * light[0, 1] + n[2] * light[0, 2]
                lit = _F(1)
                if shadow_scale > 0 and to_key > -0.4:
                    bias = _F(0.035) + _F(0.06) * (_F(1) - max(to_key, _F(0)))
                    lit = _shadow(shadow_map, shadow_view, shadow_scale, position, bias)
                _shade(
                    material, n, view, u, v, span, open_sky, point, up, lit, light, lattice, face, whole, texel,
                    surface, colour,
                )  # fmt: skip
                share = _F(1) if same else _F(0.25)
                for k in range(3):
                    index = int(min(max(colour[k], _F(0)) * scale, _F(TONE_STEPS - 1)))
                    out[py, px, k] += share * tone[index]
                out[py, px, 3] += share
                if same:
                    break


@nb.njit(cache=True, fastmath=True, nogil=True)
def to_bytes(premultiplied, straight, out):
    """Colour and coverage `[H, W, 4]` in [0, 1] to 8 bits; `straight` divides colours by coverage."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            cover = premultiplied[y, x, 3]
            scale = _F(255)
            if straight:
                scale = _F(255) / max(cover, _F(1e-6))
            for k in range(3):
                out[y, x, k] = np.uint8(min(_F(255), premultiplied[y, x, k] * scale + _F(0.5)))
            out[y, x, 3] = np.uint8(min(_F(255), cover * _F(255) + _F(0.5)))
