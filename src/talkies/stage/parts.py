"""The pieces a figure is put together from, before they are joined into one set of arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from talkies.stage.body import Array, BaseBody, Index
from talkies.stage.materials import MATERIAL_COLUMNS

Colour = tuple[float, float, float]
#: Cut height that cuts nothing.
UNCUT = -1e6


def material(
    kind: int, colour: Colour = (1, 1, 1), second: Colour = (1, 1, 1), params: tuple[float, ...] = ()
) -> Array:
    """One row of the material table; colours are given in sRGB and stored in linear light."""
    row = np.zeros(MATERIAL_COLUMNS, np.float32)
    row[0] = kind
    row[1:4] = linear(colour)
    row[4:7] = linear(second)
    row[7 : 7 + len(params)] = params
    if len(params) < MATERIAL_COLUMNS - 7:
        row[MATERIAL_COLUMNS - 1] = UNCUT
    return row


def linear(colour: Colour | Array) -> Array:
    """sRGB to linear light, as a plain power of 2.2 like the rest of the shading."""
    return (np.clip(np.asarray(colour, np.float32), 0, None) ** np.float32(2.2)).astype(np.float32)


@dataclass(frozen=True)
class Part:
    """Triangles of one material.

    Attributes:
        name: What it is ("skin", "hair", ...).
        vertices: `[n, 3]` rest positions on this person.
        bone_index: `[n, 4]`. bone_weight: `[n, 4]`.
        faces: `[t, 3, 2]` of (vertex, uv). uv: `[u, 2]`.
        material: Row of the material table.
        aux: `[n, 3]` what the material needs: reference position, direction in the eye, ...
        base: `[n]` the body vertex whose face units each vertex follows, -1 for none.
        cutout: The material has holes. two_sided: Drawn from behind too. casts: Throws shade.
        occlusion: `[n]` given openness, or None to have it computed.
        live: Its normals change with the face.
    """

    name: str
    vertices: Array
    bone_index: Index
    bone_weight: Array
    faces: Index
    uv: Array
    material: Array
    aux: Array
    base: Index
    cutout: bool = False
    two_sided: bool = False
    casts: bool = True
    occlusion: Array | None = None
    live: bool = False


def from_body(
    body: BaseBody,
    shaped: Array,
    name: str,
    faces: Index,
    row: Array,
    *,
    aux: Array | None = None,
    cutout: bool = False,
    two_sided: bool = False,
    casts: bool = True,
    live: bool = False,
) -> Part:
    """A part made of body (or helper) triangles; only the vertices in use are kept.

    `aux [N, 3]` defaults to the reference positions.
    """
    used, inverse = np.unique(faces[:, :, 0], return_inverse=True)
    own = np.stack([inverse.reshape(-1, 3), faces[:, :, 1]], axis=-1).astype(np.int32)
    source = body.reference if aux is None else aux
    return Part(
        name=name,
        vertices=shaped[used],
        bone_index=body.bone_index[used],
        bone_weight=body.bone_weight[used],
        faces=own,
        uv=body.uv,
        material=row,
        aux=source[used].astype(np.float32),
        base=used.astype(np.int32),
        cutout=cutout,
        two_sided=two_sided,
        casts=casts,
        live=live,
    )


def vertex_normals(vertices: Array, triangles: Index) -> Array:
    """Area-weighted unit normals `[n, 3]`."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    facet = np.cross(b - a, c - a)
    normals = np.zeros_like(vertices)
    for k in range(3):
        np.add.at(normals, triangles[:, k], facet)
    return (normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-12)).astype(np.float32)
