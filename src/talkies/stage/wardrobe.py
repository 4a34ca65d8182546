"""Clothes and glasses as geometry."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from talkies.stage.assets import AssetPack
from talkies.stage.body import BODY_VERTICES, Array, BaseBody, Index, load_body, vector
from talkies.stage.identity import PATTERNS, Identity
from talkies.stage.materials import CLOTH, PLAIN
from talkies.stage.parts import UNCUT, Part, from_body, material, vertex_normals

#: Distance of the home-made shirt from the skin.
_SHIRT_GAP = 0.09
#: Reference height of the lower ribs, and half the width of the trunk without arms.
_CHEST, _TRUNK = 4.3, 2.2
#: Pieces within this distance of the middle and above the ribs are collars and shirt fronts.
_COLLAR = 1.25
#: Skin this close to a garment (decimetres) is put this far beneath its hem, beside the hem, and elsewhere.
_TUCK_REACH = 0.2
_TUCK_DEPTHS = (0.02, 0.06, 0.10)


def outfit_parts(
    identity: Identity, body: BaseBody, shaped: Array, pack: AssetPack | None, lowest: float
) -> tuple[list[Part], NDArray[np.bool_]]:
    """Clothes above the reference height `lowest`, and which body vertices `[N]` they hide."""
    hidden = np.zeros(len(body.vertices), bool)
    name = garment_name(identity, pack)
    if not name or pack is None:
        return [_shirt(identity, body, shaped, lowest)], hidden
    mesh = pack.load("clothes", name)
    reference, vertices = mesh.fit(body.reference), mesh.fit(shaped)
    hidden[mesh.hides] = True
    tucked = _tuck(body, shaped, vertices, mesh.faces[:, :, 0])
    hidden[:BODY_VERTICES] |= hidden[_mirror()] & tucked  # some garments list only one side
    faces = mesh.faces[reference[mesh.faces[:, :, 0]][:, :, 1].max(1) > lowest]
    bone_index, bone_weight = mesh.bones(body)
    parts = []
    shirt = "elegantsuit" in name or identity.outfit.neckline > 0.6
    for order, piece in enumerate(_pieces(faces, reference, apart=shirt)):
        colours = identity.outfit.colours
        row = _cloth(identity, colours[min(order, 2)], colours[1 if order == 0 else 2], order == 0)
        used, inverse = np.unique(piece[:, :, 0], return_inverse=True)
        own = np.stack([inverse.reshape(-1, 3), piece[:, :, 1]], axis=-1).astype(np.int32)
        parts.append(
            Part(
                name="cloth",
                vertices=vertices[used],
                bone_index=bone_index[used],
                bone_weight=bone_weight[used],
                faces=own,
                uv=mesh.uv,
                material=row,
                aux=reference[used],
                base=np.full(len(used), -1, np.int32),
                two_sided=True,
            )
        )
    return parts, hidden


def garment_name(identity: Identity, pack: AssetPack | None) -> str:
    """The pack's garment that the person wears, or "" for a home-made shirt."""
    fitting = _fitting(identity, pack)
    return fitting[int(identity.outfit.garment * len(fitting))] if fitting else ""


#: What garments of the published pack are called; unknown ones are tops.
_NOUNS: dict[str, str] = {
    "": "T-shirt",
    "male_casualsuit01": "shirt", "male_casualsuit02": "sweater", "male_casualsuit03": "polo shirt",
    "male_casualsuit04": "sweater", "male_casualsuit05": "jacket", "male_casualsuit06": "T-shirt",
    "male_elegantsuit01": "suit", "male_worksuit01": "pair of overalls",
    "female_casualsuit01": "T-shirt", "female_casualsuit02": "top", "female_elegantsuit01": "blouse",
    "female_sportsuit01": "sports top",
}  # fmt: skip


def outfit_words(identity: Identity, pack: AssetPack | None) -> str:
    """What the person wears, with an article: "a striped red and white sweater"."""
    outfit = identity.outfit
    noun = _NOUNS.get(garment_name(identity, pack), "top")
    colour, second, _ = outfit.colour_names
    words = {
        "plain": f"{colour} {noun}",
        "melange": f"{colour} {noun}",
        "striped": f"striped {colour} and {second} {noun}",
        "checked": f"checked {colour} and {second} {noun}",
    }[outfit.pattern]
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _tuck(body: BaseBody, shaped: Array, cloth: Array, triangles: Index) -> NDArray[np.bool_]:
    """Moves skin that pokes through a garment beneath it; changes `shaped [N, 3]`, returns which `[BODY_VERTICES]`."""
    from scipy.spatial import cKDTree

    normals = vertex_normals(cloth, triangles)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    pairs, uses = np.unique(edges, axis=0, return_counts=True)
    hem = np.isin(np.arange(len(cloth)), pairs[uses == 1])
    beside = np.isin(np.arange(len(cloth)), pairs[hem[pairs].any(1)])
    depth = np.select([hem, beside], [_TUCK_DEPTHS[0], _TUCK_DEPTHS[1]], _TUCK_DEPTHS[2])
    candidates = np.unique(triangles)
    skin_normals = vertex_normals(shaped, body.faces["body"][:, :, 0])[:BODY_VERTICES]
    distance, nearest = cKDTree(cloth[candidates]).query(shaped[:BODY_VERTICES], distance_upper_bound=_TUCK_REACH)
    found = np.where(np.isfinite(distance))[0]
    normal = normals[candidates[nearest[found]]]
    height = ((shaped[found] - cloth[candidates[nearest[found]]]) * normal).sum(1)
    below = depth[candidates[nearest[found]]]
    poking = (height > -below) & ((normal * skin_normals[found]).sum(1) > 0.5)
    move = (height + below)[poking, None] * normal[poking]
    shaped[found[poking]] -= move.astype(np.float32)
    tucked = np.zeros(BODY_VERTICES, bool)
    tucked[found[poking]] = True
    return tucked


@lru_cache(maxsize=1)
def _mirror() -> Index:
    """For each vertex of the visible body the one on the other side."""
    from scipy.spatial import cKDTree

    place = load_body().reference[:BODY_VERTICES]
    return cKDTree(place).query(place * vector([-1, 1, 1]))[1].astype(np.int32)


def _fitting(identity: Identity, pack: AssetPack | None) -> list[str]:
    """Garments of the pack for this person; hats and shoes are left out."""
    if pack is None:
        return []
    return [name for name in pack.clothes if name.startswith(identity.sex)]


def _pieces(faces: Index, reference: Array, *, apart: bool) -> list[Index]:
    """A garment's separate pieces: what covers the chest first, then the largest.

    `apart` takes its shirt front and collar for a piece, the second.

    Args:
        faces: `[t, 3, 2]`. reference: `[n, 3]` the garment on the reference body. apart: See above.
    """
    islands = _connected(faces[:, :, 1])
    place = reference[faces[:, :, 0]].reshape(len(faces), -1, 3)
    pieces, fronts = [], []
    whole = _connected(faces[:, :, 0])
    labels = _by_size(whole)
    chest = np.bincount(whole[place[..., 1].min(1) > _CHEST], minlength=int(labels.max()) + 1)
    top = labels[int(np.argmax(chest[labels]))]  # trousers may have more triangles, and captions tell of the top
    for label in (top, *labels[labels != top]):
        chosen = whole == label
        central = np.zeros(len(faces), bool)
        for island in np.unique(islands[chosen]) if apart else ():
            part = chosen & (islands == island)
            if np.abs(place[part][..., 0]).max() < _COLLAR and place[part][..., 1].min() > _CHEST - 0.5:
                central |= part
        if central.all() or not (chosen & ~central).any():
            central[:] = False
        pieces.append(faces[chosen & ~central])
        if central.any():
            fronts.append(faces[central])
    return pieces[:1] + ([np.concatenate(fronts)] if fronts else []) + pieces[1:]


def _connected(triangles: Index) -> NDArray[np.int32]:
    """Which connected component each triangle `[t, 3]` belongs to, `[t]`."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    links = (np.concatenate([triangles[:, 0], triangles[:, 1]]), np.concatenate([triangles[:, 1], triangles[:, 2]]))
    count = int(triangles.max()) + 1
    labels = connected_components(coo_matrix((np.ones(len(links[0])), links), shape=(count, count)), False)[1]
    return np.asarray(labels[triangles[:, 0]], np.int32)


def _by_size(labels: NDArray[np.int32]) -> NDArray[np.int32]:
    names, sizes = np.unique(labels, return_counts=True)
    return names[np.argsort(-sizes, kind="stable")]


def _cloth(
    identity: Identity,
    colour: tuple[float, float, float],
    second: tuple[float, float, float],
    patterned: bool,
    depth: float = 0.0,
    neck: float = 0.0,
) -> Array:
    pattern = PATTERNS.index(identity.outfit.pattern) if patterned else 0
    bands = 2.6 * identity.outfit.pattern_scale
    return material(CLOTH, _muted(colour), _muted(second), (float(pattern), bands, depth, neck, 0.0, UNCUT))


def _muted(colour: tuple[float, float, float]) -> tuple[float, float, float]:
    """Dyed cloth is less vivid than paint."""
    grey = sum(colour) / 3
    red, green, blue = (c + (grey - c) * 0.14 for c in colour)
    return red, green, blue


def _shirt(identity: Identity, body: BaseBody, shaped: Array, lowest: float) -> Part:
    """A shirt from the body's tights helper, with a round to deep neckline."""
    outfit = identity.outfit
    neck = 6.60
    faces = body.faces["helper-tights"]
    place = body.reference[faces[:, :, 0]]
    keep = (place[:, :, 1].max(1) > lowest) & (place[:, :, 1].min(1) < neck + 0.9)
    if outfit.garment < 0.5:  # short sleeves
        keep &= np.abs(place.mean(1)[:, 0]) < 3.1
    normals = vertex_normals(shaped, body.faces["helper-tights"][:, :, 0])
    row = _cloth(identity, outfit.colours[0], outfit.colours[1], True, 0.05 + 0.45 * outfit.neckline**2, neck)
    puffed = (shaped + _SHIRT_GAP * normals).astype(np.float32)
    return replace(from_body(body, puffed, "cloth", faces[keep], row, cutout=True, two_sided=True), casts=False)


def belly_cloth(identity: Identity) -> Array:
    """Material of the trunk below the chest: a plain layer, for garments that end at the ribs."""
    return _cloth(identity, identity.outfit.colours[2], identity.outfit.colours[1], False)


def on_belly(body: BaseBody, faces: Index) -> NDArray[np.bool_]:
    """Which body triangles `[n]` lie on the trunk below the chest."""
    place = body.reference[faces[:, :, 0]]
    return np.asarray((place[:, :, 1].max(1) < _CHEST) & (np.abs(place[:, :, 0]).max(1) < _TRUNK))


def glasses_parts(identity: Identity, body: BaseBody, shaped: Array) -> list[Part]:
    """Frames on nose and ears: two rims, a bridge and two temples, rigid with the head."""
    if not identity.outfit.glasses:
        return []
    joints = body.joints(shaped)
    left, right = joints[body.bone("eye.L")], joints[body.bone("eye.R")]
    head = body.bone("head")
    skin = shaped[body.faces["body"][:, :, 0].ravel()]
    gap = float(left[0] - right[0])
    exponent, size = identity.outfit.glasses_shape
    a, b = 0.36 * gap * size, 0.29 * gap * size
    front = float(_brow_front(shaped, left, gap)) + 0.06
    rims = []
    for eye in (left, right):
        angle = np.linspace(0, 2 * np.pi, 29)[:-1]
        c, s = np.cos(angle), np.sin(angle)
        x = eye[0] + a * np.sign(c) * np.abs(c) ** (2 / exponent)
        y = eye[1] - 0.02 + b * np.sign(s) * np.abs(s) ** (2 / exponent)
        z = front - 0.10 * np.abs(c) * np.sign(eye[0] * c).clip(0, 1)
        rims.append(_tube(np.stack([x, y, z], 1), 0.016, closed=True))
    nose = np.array([[right[0] + a * 0.98, left[1] + 0.05, front], [0, left[1] + 0.09, front + 0.03],
                     [left[0] - a * 0.98, left[1] + 0.05, front]])  # fmt: skip
    pieces = [*rims, _tube(nose, 0.014, closed=False)]
    near = skin[(np.abs(skin[:, 1] - left[1]) < 0.15) & (skin[:, 2] < left[2] - 0.25) & (skin[:, 2] > left[2] - 0.6)]
    width = float(np.percentile(np.abs(near[:, 0]), 98)) + 0.015
    for side, eye in ((1, left), (-1, right)):
        path = np.array([
            [eye[0] + side * a, eye[1] + 0.08, front - 0.10], [side * width, eye[1] + 0.08, left[2] - 0.30],
            [side * (width + 0.01), eye[1] + 0.08, left[2] - 0.78],
        ])  # fmt: skip
        pieces.append(_tube(path, 0.016, closed=False))
    row = material(PLAIN, identity.outfit.glasses_colour, (1, 1, 1), (0.7, 60.0))
    parts = []
    for vertices, triangles in pieces:
        n = len(vertices)
        weight = np.zeros((n, 4), np.float32)
        weight[:, 0] = 1
        parts.append(
            Part(
                name="glasses",
                vertices=vertices,
                bone_index=np.full((n, 4), head, np.int32),
                bone_weight=weight,
                faces=np.stack([triangles, np.zeros_like(triangles)], -1),
                uv=np.zeros((1, 2), np.float32),
                material=row,
                aux=np.zeros((n, 3), np.float32),
                base=np.full(n, -1, np.int32),
                two_sided=True,
                occlusion=np.ones(n, np.float32),
            )
        )
    return parts


def _brow_front(shaped: Array, eye: Array, gap: float) -> float:
    """How far the face comes forward around the eyes (nose left out)."""
    body = shaped[:BODY_VERTICES]
    near = (np.abs(body[:, 1] - eye[1]) < 0.30 * gap) & (np.abs(np.abs(body[:, 0]) - eye[0]) < 0.36 * gap)
    near &= body[:, 2] > eye[2] - 0.5
    return float(np.percentile(body[near, 2], 97))


def _tube(path: NDArray[np.floating], radius: float, *, closed: bool, sides: int = 5) -> tuple[Array, Index]:
    """A tube along points `[p, 3]`: vertices and triangles, outside facing outwards."""
    count = len(path)
    ahead = np.roll(path, -1, 0) - path if closed else np.gradient(path, axis=0)
    behind = path - np.roll(path, 1, 0) if closed else ahead
    tangent = ahead + behind
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    first = np.cross(tangent, [0.0, 0.0, 1.0])
    first[np.linalg.norm(first, axis=1) < 1e-3] = (1.0, 0.0, 0.0)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(tangent, first)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = np.cos(angle)[None, :, None] * first[:, None] + np.sin(angle)[None, :, None] * second[:, None]
    vertices = (path[:, None] + radius * ring).reshape(-1, 3).astype(np.float32)
    triangles = []
    for i in range(count if closed else count - 1):
        j = (i + 1) % count
        for k in range(sides):
            m = (k + 1) % sides
            triangles += [
                (i * sides + k, i * sides + m, j * sides + k),
                (i * sides + m, j * sides + m, j * sides + k),
            ]
    return vertices, np.array(triangles, np.int32)
