"""Draws figures: pictures with coverage, who is where, and the truth measured on the way."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from talkies.stage import geometry, materials, shading
from talkies.stage.body import Array
from talkies.stage.camera import Camera, look_at
from talkies.stage.figure import Figure, Pose
from talkies.stage.landmarks import landmarks
from talkies.stage.light import Light
from talkies.stage.performance import Performance

#: Samples per pixel and side.
SUPERSAMPLING = 2
_SHADOW_MAP = 320
#: Half the width of the square the shadow map covers around a head, decimetres.
_SHADOW_REACH = 3.6


@dataclass(frozen=True)
class Placement:
    """Where a figure stands: `position` of its neutral head joint (decimetres) and `yaw` of its body (degrees)."""

    position: tuple[float, float, float] = (0.0, 0.0, 0.0)
    yaw: float = 0.0


@dataclass(frozen=True)
class Truth:
    """What is exactly known about one person in every frame. Pixels: x right, y down, (0, 0) the top left corner.

    Attributes:
        lip_opening: `[F]` gap between the lips at the middle, pixels. lip_width: `[F]` distance of the corners, pixels.
        eye_opening: `[F, 2]` gap between the lids, left and right eye, pixels.
        mouth_box: `[F, 4]` x0, y0, x1, y1 of the lips. face_box: `[F, 4]` chin to forehead, ear to ear.
        head_pose: `[F, 3]` yaw, pitch, roll towards the camera, degrees, signs as in `Performance.head`.
        points: `[F, 8, 2]` left eye, right eye, nose tip, mouth corners left and right, upper and lower lip, chin.
    """

    lip_opening: Array
    lip_width: Array
    eye_opening: Array
    mouth_box: Array
    face_box: Array
    head_pose: Array
    points: Array

    def arrays(self) -> dict[str, Array]:
        return dict(vars(self))


@dataclass(frozen=True)
class Actor:
    """One person in a scene: looks, motion and place."""

    figure: Figure
    performance: Performance
    placement: Placement = Placement()


@dataclass(frozen=True)
class _Shadow:
    """Distances from the key light: `depth [S, S]`, `view [3, 4]` into it, texels per decimetre (0: no shadows)."""

    depth: Array
    view: Array
    scale: np.float32


_NO_SHADOW = _Shadow(np.zeros((1, 1), np.float32), np.zeros((3, 4), np.float32), np.float32(0))


class Renderer:
    """Draws any number of figures into frames of one size, reusing its buffers. Not for use by several threads.

    Args:
        width: Pixels. height: Pixels.
    """

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        shape = (height * SUPERSAMPLING, width * SUPERSAMPLING)
        self._depth = np.empty(shape, np.float32)
        self._owner = np.empty(shape, np.int32)
        self._premultiplied = np.empty((height, width, 4), np.float32)

    def draw(
        self, actors: list[tuple[Figure, Pose]], camera: Camera, light: Light, premultiplied: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """One frame.

        Args:
            actors: Figures and their poses. camera: From where. light: In which light.
            premultiplied: Colours multiplied by coverage, ready for compositing.

        Returns:
            `[H, W, 4]` uint8 RGBA; and `[H, W]` uint8, 0 for background, k + 1 where the k-th person covers the pixel.
        """
        self._depth.fill(1e9)
        self._owner.fill(-1)
        view = camera.view()
        focal = np.float32(camera.focal(self.height) * SUPERSAMPLING)
        screens, firsts = [], []
        first = 0
        for figure, pose in actors:
            screen = np.empty_like(pose.points)
            geometry.project(pose.points, view, focal, np.float32(self.width), np.float32(self.height), screen)
            self._rasterise(figure, screen, first)
            screens.append(screen)
            firsts.append(first)
            first += len(figure.triangles)
        table = light.table()
        shadow = self._cast_shadows(actors, table) if light.shadows else _NO_SHADOW
        self._premultiplied.fill(0)
        for k, (figure, pose) in enumerate(actors):
            self._shade(figure, pose, screens[k], firsts[k], camera, table, shadow)
        out = np.empty((self.height, self.width, 4), np.uint8)
        shading.to_bytes(self._premultiplied, not premultiplied, out)
        return out, self._people(np.array([*firsts, first]))

    def _rasterise(self, figure: Figure, screen: Array, first: int) -> None:
        solid = figure.solid
        geometry.rasterise(screen, figure.triangles[:solid], figure.two_sided[:solid], first, self._depth, self._owner)
        materials.rasterise_cutout(
            screen, figure.triangles[solid:], figure.corners[solid:], figure.uv, figure.aux, figure.two_sided[solid:],
            figure.material_of[solid:], figure.materials, _lattice(), first + solid, self._depth, self._owner,
        )  # fmt: skip

    def _cast_shadows(self, actors: list[tuple[Figure, Pose]], table: Array) -> _Shadow:
        """One map of distances from the key light, around everyone's head and shoulders."""
        heads = np.stack([_head_position(figure, pose) for figure, pose in actors]).astype(np.float64)
        centre = heads.mean(0) + np.array([0, -0.6, 0.3])
        reach = _SHADOW_REACH + float(np.linalg.norm(heads - heads.mean(0), axis=1).max())
        size = round(_SHADOW_MAP * min(2.0, (reach / _SHADOW_REACH) ** 0.75) / 32) * 32
        depth = np.full((size, size), 1e9, np.float32)
        view = look_at(centre + table[0].astype(np.float64) * 20, centre)
        scale = np.float32(size / 2 / reach)
        for figure, pose in actors:
            flat = np.empty_like(pose.points)
            geometry.project_flat(pose.points, view, scale, np.float32(size / 2), flat)
            geometry.rasterise_depth(flat, figure.shade_triangles, depth)
        return _Shadow(depth, view, scale)

    def _shade(
        self, figure: Figure, pose: Pose, screen: Array, first: int, camera: Camera, table: Array, shadow: _Shadow
    ) -> None:
        distance = float(np.linalg.norm(np.asarray(camera.position) - _head_position(figure, pose)))
        pixels_per_unit = camera.focal(self.height) / distance
        shading.resolve(
            self._depth, self._owner, first, first + len(figure.triangles), screen, pose.points, pose.normals,
            figure.triangles, figure.corners, figure.uv, figure.occlusion, figure.aux, figure.material_of,
            figure.materials, pose.up, np.asarray(camera.position, np.float32), table, _lattice(),
            _level(figure.face_texture, pixels_per_unit, 0.30), _level(figure.body_texture, pixels_per_unit, 0.13),
            shadow.depth, shadow.view, shadow.scale, _tone(), self._premultiplied,
        )  # fmt: skip

    def _people(self, bounds: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Who covers each pixel, by the sample at its lower right (cheap, and unbiased on edges)."""
        owner = self._owner[1::2, 1::2]
        return np.searchsorted(bounds, owner, side="right").astype(np.uint8)


def render(
    figure: Figure, performance: Performance, camera: Camera, light: Light, size: tuple[int, int],
    placement: Placement = Placement(), premultiplied: bool = False,
) -> tuple[NDArray[np.uint8], Truth, Array]:  # fmt: skip
    """A whole performance of one person on a transparent ground.

    Args:
        figure: Who. performance: What they do. camera: From where. light: In which light.
        size: Height and width in pixels.
        placement: Where the person is. premultiplied: Colours multiplied by coverage.

    Returns:
        `[F, H, W, 4]` uint8 RGBA; the truth of every frame; and where the face's vertices (`landmarks().face`) are,
        `[F, V, 3]` float32: pixel x, pixel y, distance from the camera in decimetres.
    """
    height, width = size
    renderer = Renderer(width, height)
    view, focal = camera.view(), np.float32(camera.focal(height))
    vertices = figure.vertex_of[landmarks().face]
    frames = np.empty((len(performance), height, width, 4), np.uint8)
    mesh = np.empty((len(performance), len(vertices), 3), np.float32)
    truths = []
    for frame in range(len(performance)):
        pose = figure.pose(performance, frame, placement.position, placement.yaw)
        frames[frame], _ = renderer.draw([(figure, pose)], camera, light, premultiplied)
        truths.append(measure(figure, pose, camera, size))
        geometry.project(pose.points[vertices], view, focal, np.float32(width / 2), np.float32(height / 2), mesh[frame])
    return frames, stack_truth(truths), mesh


def measure(figure: Figure, pose: Pose, camera: Camera, size: tuple[int, int]) -> dict[str, Array]:
    """One frame's truth; keys as in `Truth`."""
    height, width = size
    names, starts, everything = _all_marks()
    points = pose.points[figure.vertex_of[everything]]
    screen = np.empty_like(points)
    centre_x, centre_y = np.float32(width / 2), np.float32(height / 2)
    geometry.project(points, camera.view(), np.float32(camera.focal(height)), centre_x, centre_y, screen)
    place = {name: screen[starts[k] : starts[k + 1], :2] for k, name in enumerate(names)}
    up = _up_on_screen(pose, camera)
    corners = place["mouth_corners"]
    eyes = [_gap(place[f"upper_lid_{side}"], place[f"lower_lid_{side}"], up) for side in ("left", "right")]
    middles = ("upper_lid_left", "upper_lid_right", "nose", "", "", "upper_lip", "lower_lip", "chin")
    spots = np.stack([place[name].mean(0) if name else corners[k - 3] for k, name in enumerate(middles)])
    return {
        "lip_opening": np.array(_gap(place["upper_lip"], place["lower_lip"], up), np.float32),
        "lip_width": np.array(np.linalg.norm(corners[0] - corners[1]), np.float32),
        "eye_opening": np.array(eyes, np.float32),
        "mouth_box": _box(place["lips"]),
        "face_box": _box(place["face"]),
        "head_pose": _head_pose(pose, camera),
        "points": spots.astype(np.float32),
    }


def _gap(upper: Array, lower: Array, up: Array) -> float:
    """How far the lowest of `upper [n, 2]` is above the highest of `lower [m, 2]`, at least 0."""
    return max(0.0, float((upper @ up).min() - (lower @ up).max()))


def _box(place: Array) -> Array:
    return np.concatenate([place.min(0), place.max(0)])


@lru_cache(maxsize=1)
def _all_marks() -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[np.int32]]:
    """Names of all landmarks, where each begins, and their body vertices one after another."""
    groups = landmarks().groups()
    starts = np.cumsum([0] + [len(group) for group in groups.values()])
    return tuple(groups), starts, np.concatenate(list(groups.values()))


def stack_truth(frames: list[dict[str, Array]]) -> Truth:
    """Frames' measurements as one record."""
    return Truth(**{name: np.stack([frame[name] for frame in frames]).astype(np.float32) for name in frames[0]})


def _head_position(figure: Figure, pose: Pose) -> Array:
    """Where the head joint is, `[3]`."""
    return np.asarray(pose.head[:, :3] @ figure.joints[_head_bone()] + pose.head[:, 3], np.float32)


def _up_on_screen(pose: Pose, camera: Camera) -> Array:
    """The head's upward direction in the picture, `[2]`, unit length (y down)."""
    direction = camera.view()[:, :3] @ pose.up
    flat = np.array([direction[0], -direction[1]], np.float32)
    return flat / np.float32(np.linalg.norm(flat) + 1e-6)


def _head_pose(pose: Pose, camera: Camera) -> Array:
    """Yaw, pitch and roll of the head seen from the camera, degrees."""
    turn = camera.view()[:, :3] @ pose.head[:, :3]
    forward, up = turn[:, 2], turn[:, 1]
    yaw = np.arctan2(forward[0], forward[2])
    pitch = np.arcsin(np.clip(forward[1], -1, 1))
    roll = np.arctan2(up[0], up[1])
    return np.degrees(np.array([yaw, pitch, roll])).astype(np.float32)


def _level(pyramid: tuple[Array, ...], samples_per_unit: float, units_per_texture: float) -> Array:
    """The texture level with about one texel per sample."""
    wanted = samples_per_unit / units_per_texture
    for level in reversed(pyramid):
        if level.shape[0] >= wanted:
            return level
    return pyramid[0]


@lru_cache(maxsize=1)
def _lattice() -> Array:
    return materials.noise_lattice()


@lru_cache(maxsize=1)
def _tone() -> Array:
    return shading.tone_curve()


@lru_cache(maxsize=1)
def _head_bone() -> int:
    from talkies.stage.body import load_body

    return load_body().bone("head")
