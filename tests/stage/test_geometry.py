"""The compiled kernels against plain numpy."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from talkies.stage import geometry, materials, shading
from talkies.stage.figure import euler

F32 = np.float32


def random_triangles(rng: np.random.Generator, count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    screen = np.concatenate([rng.uniform(-4, size + 4, (3 * count, 2)), rng.uniform(5, 9, (3 * count, 1))], 1)
    return screen.astype(F32), np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def plain_owner(screen: np.ndarray, triangles: np.ndarray, size: int, two_sided: bool) -> np.ndarray:
    """The nearest triangle at every sample centre, by barycentric coordinates in double precision."""
    y, x = np.mgrid[0:size, 0:size] + 0.5
    depth, owner = np.full((size, size), np.inf), np.full((size, size), -1)
    for number, corners in enumerate(triangles):
        (ax, ay, az), (bx, by, bz), (cx, cy, cz) = screen[corners].astype(np.float64)
        area = (bx - ax) * (cy - ay) - (cx - ax) * (by - ay)
        if area >= 0 and not two_sided:
            continue
        l1 = ((x - ax) * (cy - ay) - (cx - ax) * (y - ay)) / area
        l2 = ((bx - ax) * (y - ay) - (x - ax) * (by - ay)) / area
        z = (1 - l1 - l2) * az + l1 * bz + l2 * cz
        hit = (l1 >= 0) & (l2 >= 0) & (l1 + l2 <= 1) & (z < depth)
        depth[hit], owner[hit] = z[hit], number
    return owner


@given(seed=st.integers(0, 10_000), two_sided=st.booleans())
@settings(max_examples=25, deadline=None)
def test_rasterise_finds_the_nearest_triangle(seed: int, two_sided: bool) -> None:
    size = 24
    screen, triangles = random_triangles(np.random.default_rng(seed), 12, size)
    depth, owner = np.full((size, size), 1e9, F32), np.full((size, size), -1, np.int32)
    flags = np.full(len(triangles), two_sided, np.uint8)
    geometry.rasterise(screen, triangles, flags, 0, depth, owner)
    wanted = plain_owner(screen, triangles, size, two_sided)
    assert (owner == wanted).mean() > 0.99  # samples on an edge may fall to either side


def test_depth_only_agrees_with_two_sided_rasterising() -> None:
    screen, triangles = random_triangles(np.random.default_rng(3), 20, 32)
    one, two = np.full((32, 32), 1e9, F32), np.full((32, 32), 1e9, F32)
    geometry.rasterise(screen, triangles, np.ones(20, np.uint8), 0, one, np.empty((32, 32), np.int32))
    geometry.rasterise_depth(screen, triangles, two)
    assert np.isclose(one, two, rtol=1e-4).mean() > 0.99


def test_a_closed_fan_has_no_cracks() -> None:
    angle = np.linspace(0, 2 * np.pi, 40)[:-1]
    rim = np.stack([32 + 30 * np.cos(angle), 32 - 30 * np.sin(angle), np.full_like(angle, 5)], 1)
    screen = np.concatenate([[[32.3, 31.8, 5.0]], rim]).astype(F32)
    triangles = np.array([(0, 1 + k, 1 + (k + 1) % 39) for k in range(39)], np.int32)
    owner = np.full((64, 64), -1, np.int32)
    geometry.rasterise(screen, triangles, np.zeros(39, np.uint8), 0, np.full((64, 64), 1e9, F32), owner)
    y, x = np.mgrid[0:64, 0:64] + 0.5
    assert (owner[(x - 32) ** 2 + (y - 32) ** 2 < 29**2] >= 0).all()


def test_units_are_added_with_their_weights() -> None:
    rng = np.random.default_rng(0)
    rest = rng.standard_normal((30, 3)).astype(F32)
    dense = np.zeros((52, 30, 3), F32)
    start, vertex, offset = [0], [], []
    for unit in range(52):
        chosen = rng.choice(30, int(rng.integers(0, 6)), replace=False)
        dense[unit, chosen] = rng.standard_normal((len(chosen), 3))
        vertex.extend(chosen)
        offset.extend(dense[unit, chosen])
        start.append(len(vertex))
    weights = rng.uniform(0, 1, 52).astype(F32)
    out = np.empty_like(rest)
    arrays = np.array(start, np.int32), np.array(vertex, np.int32), np.array(offset, F32)
    geometry.apply_units(rest, weights, *arrays, out)
    np.testing.assert_allclose(out, rest + np.einsum("u,uvk->vk", weights, dense), atol=1e-5)


def test_bones_turn_about_their_heads_and_carry_their_children() -> None:
    joints = np.array([[0, 0, 0], [0, 1, 0], [0, 2, 0]], F32)
    parents = np.array([-1, 0, 1], np.int32)
    turns = np.stack([np.eye(3, dtype=F32), euler(0, 0, 90), np.eye(3, dtype=F32)])
    out = np.empty((3, 3, 4), F32)
    geometry.chain_bones(joints, parents, turns, out)
    moved = out[2, :, :3] @ np.array([0, 3, 0], F32) + out[2, :, 3]
    np.testing.assert_allclose(moved, [-2, 1, 0], atol=1e-6)  # a quarter turn to the left about (0, 1, 0)
    np.testing.assert_allclose(out[1, :, :3] @ joints[1] + out[1, :, 3], joints[1], atol=1e-6)


def test_skinning_blends_transforms() -> None:
    rng = np.random.default_rng(1)
    points, normals = rng.standard_normal((2, 10, 3)).astype(F32)
    index = rng.integers(0, 5, (10, 4)).astype(np.int32)
    weight = rng.dirichlet(np.ones(4), 10).astype(F32)
    bones = rng.standard_normal((5, 3, 4)).astype(F32)
    out, out_normals = np.empty_like(points), np.empty_like(points)
    geometry.skin(points, normals, index, weight, bones, out, out_normals)
    blended = np.einsum("vk,vkij->vij", weight, bones[index])
    np.testing.assert_allclose(out, np.einsum("vij,vj->vi", blended[..., :3], points) + blended[..., 3], atol=1e-4)
    np.testing.assert_allclose(out_normals, np.einsum("vij,vj->vi", blended[..., :3], normals), atol=1e-4)


@given(x=st.floats(-50, 50), y=st.floats(-50, 50))
@settings(deadline=None)
def test_noise_stays_in_range_and_is_continuous(x: float, y: float) -> None:
    lattice = materials.noise_lattice()
    value = materials.noise2(lattice, F32(x), F32(y))
    assert 0 <= value <= 1
    assert abs(value - materials.noise2(lattice, F32(x + 0.01), F32(y))) < 0.05


def test_tone_curve_rises_from_black_to_white() -> None:
    curve = shading.tone_curve()
    assert curve[0] == 0
    assert (np.diff(curve) >= 0).all()
    assert curve[-1] > 0.95
