"""Compiled geometry: face units, skinning, normals, and turning triangles into samples."""
# Kernels are compiled by numba from plain loops; their arrays are float32 or int32 unless said otherwise.
# mypy cannot see through the decorator, so their signatures are given in the docstrings.
# mypy: disable-error-code="no-untyped-def"
# ruff: noqa: PLR1730

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, fastmath=True, nogil=True)
def apply_units(rest, weights, start, vertex, offset, out):
    """`out [V, 3]` = `rest` moved by face units of `weights [52]` (sparse: `start [53]`, `vertex`, `offset`)."""
    out[:] = rest
    for unit in range(weights.shape[0]):
        w = weights[unit]
        if abs(w) < 1e-4:
            continue
        for k in range(start[unit], start[unit + 1]):
            v = vertex[k]
            out[v, 0] += w * offset[k, 0]
            out[v, 1] += w * offset[k, 1]
            out[v, 2] += w * offset[k, 2]


@nb.njit(cache=True, fastmath=True, nogil=True)
def chain_bones(joints, parents, turns, out):
    """World transforms `out [B, 3, 4]` of bones turned by `turns [B, 3, 3]` about their heads `joints [B, 3]`."""
    for b in range(parents.shape[0]):
        p = parents[b]
        for i in range(3):
            for j in range(3):
                if p < 0:
                    out[b, i, j] = turns[b, i, j]
                else:
                    s = np.float32(0)
                    for k in range(3):
                        s += out[p, i, k] * turns[b, k, j]
                    out[b, i, j] = s
        for i in range(3):
            # x -> R_parent (turn (x - joint) + joint) + t_parent
            moved = out[p, i, 3] if p >= 0 else np.float32(0)
            for j in range(3):
                local = joints[b, j]
                for k in range(3):
                    local -= turns[b, j, k] * joints[b, k]
                moved += (out[p, i, j] if p >= 0 else np.float32(i == j)) * local
            out[b, i, 3] = moved


@nb.njit(cache=True, fastmath=True, nogil=True)
def skin(points, normals, bone_index, bone_weight, bones, out, out_normals):
    """Linear blend skinning of `points` and `normals [V, 3]` by transforms `bones [B, 3, 4]`."""
    for v in range(points.shape[0]):
        m = np.zeros((3, 4), np.float32)
        for k in range(bone_index.shape[1]):
            w = bone_weight[v, k]
            if w < 1e-5:
                continue
            b = bone_index[v, k]
            for i in range(3):
                for j in range(4):
                    m[i, j] += w * bones[b, i, j]
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        a, c, e = normals[v, 0], normals[v, 1], normals[v, 2]
        for i in range(3):
            out[v, i] = m[i, 0] * x + m[i, 1] * y + m[i, 2] * z + m[i, 3]
            out_normals[v, i] = m[i, 0] * a + m[i, 1] * c + m[i, 2] * e


@nb.njit(cache=True, fastmath=True, nogil=True)
def face_normals(points, triangles, moved, out):
    """Overwrites `out [V, 3]` with area-weighted unit normals where `moved [V]` uint8 is set."""
    for v in range(points.shape[0]):
        if moved[v]:
            out[v, 0] = 0
            out[v, 1] = 0
            out[v, 2] = 0
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x1 = points[b, 0] - points[a, 0]
        y1 = points[b, 1] - points[a, 1]
        z1 = points[b, 2] - points[a, 2]
        x2 = points[c, 0] - points[a, 0]
        y2 = points[c, 1] - points[a, 1]
        z2 = points[c, 2] - points[a, 2]
        nx = y1 * z2 - z1 * y2
        ny = z1 * x2 - x1 * z2
        nz = x1 * y2 - y1 * x2
        for v in (a, b, c):
            if moved[v]:
                out[v, 0] += nx
                out[v, 1] += ny
                out[v, 2] += nz
    for v in range(points.shape[0]):
        if moved[v]:
            length = np.sqrt(out[v, 0] ** 2 + out[v, 1] ** 2 + out[v, 2] ** 2) + np.float32(1e-12)
            out[v, 0] /= length
            out[v, 1] /= length
            out[v, 2] /= length


@nb.njit(cache=True, fastmath=True, nogil=True)
def project(points, view, focal, centre_x, centre_y, out):
    """Perspective: `out [V, 3]` = pixel x (right), pixel y (down), distance along the view axis.

    `view [3, 4]` maps world to camera (x right, y up, z towards the viewer); `focal` is in pixels.
    """
    for v in range(points.shape[0]):
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        cx = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]
        cy = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]
        depth = -(view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3])
        depth = max(depth, np.float32(0.1))
        out[v, 0] = centre_x + focal * cx / depth
        out[v, 1] = centre_y - focal * cy / depth
        out[v, 2] = depth


@nb.njit(cache=True, fastmath=True, nogil=True)
def project_flat(points, view, scale, half, out):
    """Parallel projection onto a square map of `2 * half` pixels; same layout as `project`."""
    for v in range(points.shape[0]):
        x, y, z = points[v, 0], points[v, 1], points[v, 2]
        cx = view[0, 0] * x + view[0, 1] * y + view[0, 2] * z + view[0, 3]
        cy = view[1, 0] * x + view[1, 1] * y + view[1, 2] * z + view[1, 3]
        cz = view[2, 0] * x + view[2, 1] * y + view[2, 2] * z + view[2, 3]
        out[v, 0] = half + scale * cx
        out[v, 1] = half - scale * cy
        out[v, 2] = -cz


@nb.njit(cache=True, fastmath=True, nogil=True)
def rasterise(screen, triangles, two_sided, first, depth, owner):
    """Fills `depth [H, W]` and `owner [H, W]` (triangle number + `first`) with the nearest triangles.

    `two_sided [T]` uint8: triangles drawn from behind as well.
    """
    height, width = depth.shape
    edge = np.float32(-1e-4)  # a hair beyond the edge, so that rounding leaves no cracks between neighbours
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = screen[a, 0], screen[a, 1]
        x1, y1 = screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if area > -1e-9 and (two_sided[t] == 0 or area < 1e-9):
            continue  # seen from behind (y points down, so fronts turn negative), or a sliver
        low_x = max(0, int(np.ceil(min(x0, x1, x2) - 0.5)))
        high_x = min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        low_y = max(0, int(np.ceil(min(y0, y1, y2) - 0.5)))
        high_y = min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        if low_x > high_x or low_y > high_y:
            continue
        inverse = np.float32(1) / area
        z0 = screen[a, 2]
        z1 = screen[b, 2] - z0
        z2 = screen[c, 2] - z0
        step1 = (y2 - y0) * inverse
        step2 = -(y1 - y0) * inverse
        for y in range(low_y, high_y + 1):
            px = low_x + np.float32(0.5) - x0
            py = y + np.float32(0.5) - y0
            l1 = (px * (y2 - y0) - (x2 - x0) * py) * inverse
            l2 = ((x1 - x0) * py - px * (y1 - y0)) * inverse
            for x in range(low_x, high_x + 1):
                if l1 >= edge and l2 >= edge and l1 + l2 <= 1 - edge:
                    z = z0 + l1 * z1 + l2 * z2
                    if z < depth[y, x]:
                        depth[y, x] = z
                        owner[y, x] = first + t
                l1 += step1
                l2 += step2


@nb.njit(cache=True, fastmath=True, nogil=True)
def rasterise_depth(screen, triangles, depth):
    """Only the nearest distance, both sides: shadow maps and ambient occlusion."""
    height, width = depth.shape
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        x0, y0 = screen[a, 0], screen[a, 1]
        x1, y1 = screen[b, 0], screen[b, 1]
        x2, y2 = screen[c, 0], screen[c, 1]
        area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
        if abs(area) < 1e-9:
            continue
        low_x = max(0, int(np.ceil(min(x0, x1, x2) - 0.5)))
        high_x = min(width - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        low_y = max(0, int(np.ceil(min(y0, y1, y2) - 0.5)))
        high_y = min(height - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        inverse = np.float32(1) / area
        z0 = screen[a, 2]
        z1 = screen[b, 2] - z0
        z2 = screen[c, 2] - z0
        step1 = (y2 - y0) * inverse
        step2 = -(y1 - y0) * inverse
        for y in range(low_y, high_y + 1):
            px = low_x + np.float32(0.5) - x0
            py = y + np.float32(0.5) - y0
            l1 = (px * (y2 - y0) - (x2 - x0) * py) * inverse
            l2 = ((x1 - x0) * py - px * (y1 - y0)) * inverse
            for x in range(low_x, high_x + 1):
                if l1 >= 0 and l2 >= 0 and l1 + l2 <= 1:
                    z = z0 + l1 * z1 + l2 * z2
                    if z < depth[y, x]:
                        depth[y, x] = z
                l1 += step1
                l2 += step2


@nb.njit(cache=True, fastmath=True, nogil=True)
def gather_visibility(points, normals, screen, depth, direction, bias, seen, total):
    """Adds one direction's visibility of every vertex to `seen [V]` and its cosine weight to `total [V]`."""
    height, width = depth.shape
    for v in range(points.shape[0]):
        cosine = normals[v, 0] * direction[0] + normals[v, 1] * direction[1] + normals[v, 2] * direction[2]
        if cosine <= 0:
            continue
        x = min(width - 1, max(0, int(screen[v, 0])))
        y = min(height - 1, max(0, int(screen[v, 1])))
        total[v] += cosine
        if screen[v, 2] < depth[y, x] + bias:
            seen[v] += cosine
