"""Optional packs of MakeHuman hair and clothes: meshes bound to three vertices of the base body each (`.mhclo`).

A pack is a folder with `hair/NAME/NAME.{mhclo,obj}` and `clothes/NAME/NAME.{mhclo,obj}`, as published (CC0) in the
repository makehumancommunity/makehuman-assets. Without a pack the stage builds plainer hair and clothes itself.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from talkies.domain.errors import InputError
from talkies.stage.body import Array, BaseBody, Index, cache_folder, read_obj, save_arrays, strongest

MAX_MESH_BYTES = 32 * 2**20
_AXES = {"x_scale": 0, "y_scale": 1, "z_scale": 2}


@dataclass(frozen=True)
class FittedMesh:
    """A mesh that follows any body: every vertex is a blend of three body vertices plus an offset.

    Attributes:
        anchors: `[n, 3]` body vertices. blend: `[n, 3]` their shares. offset: `[n, 3]` added, scaled per axis.
        scale_vertices: `[3, 2]` body vertices whose distance along each axis scales the offset, -1 where unscaled.
        scale_length: `[3]` that distance on the template.
        uv: `[u, 2]`. faces: `[t, 3, 2]` of (vertex, uv).
        hides: Body vertices hidden beneath.
    """

    anchors: Index
    blend: Array
    offset: Array
    scale_vertices: Index
    scale_length: Array
    uv: Array
    faces: Index
    hides: Index

    def fit(self, body: Array) -> Array:
        """Positions `[n, 3]` on a shaped body `[N, 3]`."""
        scale = np.ones(3, np.float32)
        for axis in range(3):
            first, second = self.scale_vertices[axis]
            if first >= 0:
                scale[axis] = abs(body[first, axis] - body[second, axis]) / self.scale_length[axis]
        fitted = (body[self.anchors] * self.blend[..., None]).sum(1) + self.offset * scale
        return fitted.astype(np.float32)

    def bones(self, body: BaseBody) -> tuple[Index, Array]:
        """Skinning of every vertex: the blended weights of its anchors, `[n, 4]` twice."""
        dense = np.zeros((len(self.anchors), len(body.bones)), np.float32)
        rows = np.arange(len(self.anchors))
        for corner in range(3):
            anchor = self.anchors[:, corner]
            for k in range(body.bone_index.shape[1]):
                share = self.blend[:, corner] * body.bone_weight[anchor, k]
                np.add.at(dense, (rows, body.bone_index[anchor, k]), share)
        return strongest(np.clip(dense, 0, None) + 1e-9)


@dataclass(frozen=True)
class AssetPack:
    """Names found in a pack folder.

    Attributes:
        root: The folder. hair: Names of hair styles. clothes: Names of garments.
    """

    root: Path
    hair: tuple[str, ...]
    clothes: tuple[str, ...]

    @classmethod
    def open(cls, root: Path) -> AssetPack:
        """Looks at a folder.

        Raises:
            InputError: The folder has neither hair nor clothes in the expected layout.
        """
        found = {
            kind: tuple(sorted(p.stem for p in (root / kind).glob("*/*.mhclo") if p.with_suffix(".obj").exists()))
            for kind in ("hair", "clothes")
        }
        if not any(found.values()):
            raise InputError(
                f"No hair/NAME/NAME.mhclo or clothes/NAME/NAME.mhclo under {root}.",
                "Give the folder of a MakeHuman asset pack, or leave --assets out.",
            )
        return cls(root, found["hair"], found["clothes"])

    def load(self, kind: str, name: str) -> FittedMesh:
        """One mesh of the pack; parsed once and cached."""
        return _load(next((self.root / kind).glob(f"*/{name}.mhclo")))


@lru_cache(maxsize=32)
def _load(path: Path) -> FittedMesh:
    obj = path.with_suffix(".obj")
    if max(path.stat().st_size, obj.stat().st_size) > MAX_MESH_BYTES:
        raise InputError(f"{path} is larger than {MAX_MESH_BYTES >> 20} MiB.", "Leave it out of the asset pack.")
    digest = hashlib.sha256(path.read_bytes() + obj.read_bytes()).hexdigest()[:16]
    cached = cache_folder() / f"mesh-{digest}.npz"
    if cached.exists():
        with np.load(cached, allow_pickle=False) as stored:
            return FittedMesh(**{name: stored[name] for name in stored.files})
    mesh = _parse(path, obj)
    save_arrays(cached, dict(vars(mesh)))
    return mesh


def _parse(path: Path, obj: Path) -> FittedMesh:
    scale_vertices = np.full((3, 2), -1, np.int32)
    scale_length = np.ones(3, np.float32)
    bindings: list[list[float]] = []
    hidden: list[int] = []
    section = ""
    for line in path.read_text(errors="replace").splitlines():
        words = line.split()
        if not words or words[0] == "#":
            continue
        if words[0] in _AXES:
            axis = _AXES[words[0]]
            scale_vertices[axis] = int(words[1]), int(words[2])
            scale_length[axis] = float(words[3])
        elif words[0] in ("verts", "delete_verts"):
            section = words[0]
        elif words[0].isdigit() and section == "delete_verts":
            hidden += _spans(words)
        elif words[0].isdigit() and section == "verts":
            row = [float(word) for word in words]
            bindings.append(row[:9] if len(row) >= 9 else [row[0]] * 3 + [1.0, 0, 0] + [0.0] * 3)
    vertices, uv, faces = read_obj(obj)
    if len(bindings) != len(vertices):
        raise InputError(f"{path} binds {len(bindings)} vertices, its mesh has {len(vertices)}.", "Remove the asset.")
    table = np.array(bindings, np.float32)
    return FittedMesh(
        anchors=table[:, :3].astype(np.int32),
        blend=table[:, 3:6].copy(),
        offset=table[:, 6:9].copy(),
        scale_vertices=scale_vertices,
        scale_length=scale_length,
        uv=uv,
        faces=np.concatenate(list(faces.values())),
        hides=np.array(sorted(set(hidden)), np.int32),
    )


def _spans(words: list[str]) -> list[int]:
    """Indices of a line such as `12 - 15 20`."""
    numbers: list[int] = []
    k = 0
    while k < len(words):
        if k + 2 < len(words) and words[k + 1] == "-":
            numbers += range(int(words[k]), int(words[k + 2]) + 1)
            k += 3
        else:
            numbers.append(int(words[k]))
            k += 1
    return numbers
