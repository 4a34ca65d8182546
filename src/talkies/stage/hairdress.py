"""Hair as geometry: meshes of an asset pack where there is one, otherwise made here; fuzz is always shells."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from talkies.stage.assets import AssetPack
from talkies.stage.body import BODY_VERTICES, Array, BaseBody, vector
from talkies.stage.haircraft import CUTS, crafted_hair
from talkies.stage.identity import Identity
from talkies.stage.materials import HAIR
from talkies.stage.parts import UNCUT, Part, from_body, material, vertex_normals
from talkies.stage.skin import hairline, smoothstep

#: Mesh of the pack per style, and the height (reference body) at which it is cut, if at all.
_PACK_STYLES: dict[str, tuple[str, float]] = {
    "crop": ("short01", UNCUT),
    "fringe": ("short02", UNCUT),
    "swept back": ("short04", UNCUT),
    "bob": ("long01", 6.95),
    "shoulder-length": ("long01", 6.3),
    "long": ("long01", UNCUT),
    "ponytail": ("ponytail01", UNCUT),
    "braid": ("braid01", UNCUT),
}
#: Shells per style without a mesh: thickness, unevenness, extra height on top, thinning outwards, noise frequency.
_SHELL_STYLES: dict[str, tuple[float, float, float, float, float]] = {
    "buzz cut": (0.05, 0.0, 0.2, 0.75, 700.0),
    "short curls": (0.24, 0.18, 0.6, 0.85, 360.0),
    "afro": (0.50, 0.06, 0.25, 0.85, 420.0),
}
SHELLS = 10
#: Shells thicker than this are a mane.
_FULL = 0.2
#: Hair this close to the skin is lifted this far above it, decimetres.
_LIFT_REACH, _LIFT = 0.22, 0.05


def hair_parts(identity: Identity, body: BaseBody, shaped: Array, pack: AssetPack | None) -> list[Part]:
    """All hair of the head; none for bald people."""
    style = identity.hair.style
    mesh, cut = _PACK_STYLES.get(style, ("", UNCUT))
    if pack is not None and mesh in pack.hair:
        return [_pack_hair(identity, body, shaped, pack, mesh, cut)]
    if style in CUTS:
        low, high = _colours(identity)
        return crafted_hair(identity, body, shaped, (vector(low), vector(high)))
    return _shells(identity, body, shaped, *_SHELL_STYLES[style]) if style in _SHELL_STYLES else []


def _colours(identity: Identity) -> tuple[tuple[float, float, float], tuple[float, float, float]]:
    red, green, blue = identity.hair.colour
    return (red * 0.85, green * 0.85, blue * 0.85), (red * 1.3 + 0.015, green * 1.3 + 0.012, blue * 1.3 + 0.01)


def _pack_hair(identity: Identity, body: BaseBody, shaped: Array, pack: AssetPack, name: str, cut: float) -> Part:
    mesh = pack.load("hair", name)
    hair = identity.hair
    if cut > UNCUT:
        cut += 0.5 * (hair.length - 0.5)
    reference = mesh.fit(body.reference)
    vertices = mesh.fit(shaped)
    head = shaped[body.joint_vertices[body.bone("head")]].mean(0)
    # fuller or flatter about the head, never into it
    vertices = vertices + (vertices - head) * np.float32(max(0.0, hair.volume - 1.0)) * smoothstep(
        7.2, 8.2, reference[:, 1]
    ).reshape(-1, 1)
    vertices = _lifted(body, shaped, vertices.astype(np.float32))
    faces = mesh.faces
    keep = reference[faces[:, :, 0]][:, :, 1].max(1) > cut
    faces = faces[keep]
    bone_index, bone_weight = mesh.bones(body)
    if hair.parting:  # the other side: bodies are symmetric, so the mesh may simply be mirrored
        mirror = np.array([-1, 1, 1], np.float32)
        vertices, reference, faces = vertices * mirror, reference * mirror, faces[:, ::-1]
        bone_index = body.mirrored_bones()[bone_index]
    low, high = _colours(identity)
    strands = 60 + 80 * hair.curl
    row = material(HAIR, low, high, (strands, 5.0 + 5 * hair.curl, 1.0, 0.0, hair.greying, cut))
    return Part(
        name="hair",
        vertices=vertices.astype(np.float32),
        bone_index=bone_index,
        bone_weight=bone_weight,
        faces=faces,
        uv=mesh.uv,
        material=row,
        aux=reference,
        base=np.full(len(vertices), -1, np.int32),
        cutout=cut > UNCUT,
        two_sided=True,
    )


def _lifted(body: BaseBody, shaped: Array, hair: Array) -> Array:
    """Hair `[n, 3]` with what cuts into the skin lifted just above it."""
    from scipy.spatial import cKDTree

    normals = vertex_normals(shaped, body.faces["body"][:, :, 0])[:BODY_VERTICES]
    distance, nearest = cKDTree(shaped[:BODY_VERTICES]).query(hair, distance_upper_bound=_LIFT_REACH)
    found = np.where(np.isfinite(distance))[0]
    normal = normals[nearest[found]]
    height = ((hair[found] - shaped[nearest[found]]) * normal).sum(1)
    hair = hair.copy()
    hair[found] += np.maximum(_LIFT - height, 0)[:, None] * normal
    return hair


def _shells(
    identity: Identity,
    body: BaseBody,
    shaped: Array,
    thickness: float,
    unevenness: float,
    top: float,
    thinning: float,
    frequency: float,
) -> list[Part]:
    """Layers over the scalp, each with more holes than the one below: short, curly or frizzy hair."""
    hair = identity.hair
    rng = np.random.default_rng([0xA1, identity.seed])
    receding = hair.hairline if thickness < _FULL else min(hair.hairline, 0.3)  # a mane does not crown a bare top
    cover = hairline(body.reference, receding)
    faces = body.faces["body"]
    faces = faces[cover[faces[:, :, 0]].min(1) > 0.02]
    normals = vertex_normals(shaped, body.faces["body"][:, :, 0])
    waves, phases = rng.standard_normal((6, 3)) * 4.0, rng.uniform(0, 6, 6)
    lumps = 1 + unevenness * np.sin(body.reference @ waves.T + phases).sum(1) / 3
    height = 1 + top * smoothstep(8.6, 9.2, body.reference[:, 1])
    reach = thickness * (0.75 + 0.5 * hair.length) * cover * lumps * height
    low, high = _colours(identity)
    back = thickness > _FULL  # the far side of a mane shows through its edge
    parts: list[Part] = []
    for layer in reversed(range(SHELLS)):  # outermost first: what it hides is never asked for holes
        f = layer / (SHELLS - 1)
        lift = (0.015 + reach * f)[:, None] * normals + np.array([0, -0.06, 0.03]) * thickness * 3 * f * f
        shade = 0.55 + 0.6 * f
        row = material(
            HAIR,
            (low[0] * shade, low[1] * shade, low[2] * shade),
            (high[0] * shade, high[1] * shade, high[2] * shade),
            (frequency, frequency, 0.5, f * thinning + 0.001, hair.greying, UNCUT),
        )
        part = from_body(
            body, (shaped + lift).astype(np.float32), "hair", faces, row, cutout=True, two_sided=back and layer % 2 == 1
        )
        parts.append(replace(part, casts=layer % 3 == 0))
    return parts
