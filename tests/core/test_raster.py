"""The rasteriser against a slow plain twin, and what visibility and bakes rely on: no cracks, no ghosts, no chance."""

import numba as nb
import numpy as np
import pytest

from topo4d_blender.core.raster import depth_buffer, rasterise, rasterise_views


def slow_rasterise(pixels, depth, triangles, width, height):
    """Every pixel centre against every triangle, in float64. Also the least barycentric weight, to judge ties."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    ids, zbuf = np.full((height, width), -1), np.full((height, width), np.inf)
    nearest_edge = np.full((height, width), np.inf)
    for t, triangle in enumerate(triangles):
        (x0, y0), (x1, y1), (x2, y2) = pixels[triangle].astype(np.float64)
        area = (x1 - x0) * (y2 - y0) - (y1 - y0) * (x2 - x0)
        if area == 0 or not (depth[triangle] > 0).all():
            continue
        w0 = ((x1 - x) * (y2 - y) - (y1 - y) * (x2 - x)) / area
        w1 = ((x2 - x) * (y0 - y) - (y2 - y) * (x0 - x)) / area
        w2 = ((x0 - x) * (y1 - y) - (y0 - y) * (x1 - x)) / area
        least = np.minimum(np.minimum(w0, w1), w2)
        nearest_edge = np.minimum(nearest_edge, np.abs(least))
        z = w0 * depth[triangle[0]] + w1 * depth[triangle[1]] + w2 * depth[triangle[2]]
        nearer = (least >= 0) & (z < zbuf)
        ids[nearer], zbuf[nearer] = t, z[nearer]
    return ids, zbuf, nearest_edge


def soup(seed, count=60, width=70, height=50):
    rng = np.random.default_rng(seed)
    centres = rng.uniform((-10, -10), (width + 10, height + 10), (count, 1, 2))
    pixels = (centres + rng.normal(0, 9, (count, 3, 2))).reshape(-1, 2).astype(np.float32)
    depth = rng.uniform(1, 3, 3 * count).astype(np.float32)
    return pixels, depth, np.arange(3 * count, dtype=np.int32).reshape(-1, 3)


def jittered_grid(columns, rows, width, height, seed=0):
    """A mesh that covers the image, its inner vertices moved at random, and the depth of a slanted plane."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(np.linspace(-2, width + 2, columns + 1), np.linspace(-2, height + 2, rows + 1))
    step = np.array([(width + 4) / columns, (height + 4) / rows])
    jitter = rng.uniform(-0.3, 0.3, (*x.shape, 2)) * step
    jitter[[0, -1]], jitter[:, [0, -1]] = 0, 0
    pixels = (np.stack([x, y], axis=2) + jitter).reshape(-1, 2).astype(np.float32)
    a = (np.arange(rows)[:, None] * (columns + 1) + np.arange(columns)).ravel()
    quads = np.stack([a, a + 1, a + columns + 2, a + columns + 1], axis=1)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]]).astype(np.int32)
    return pixels, (5 + 0.001 * pixels[:, 0] - 0.002 * pixels[:, 1]).astype(np.float32), triangles


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_slow_twin(seed):
    pixels, depth, triangles = soup(seed)
    ids, zbuf = rasterise(pixels, depth, triangles, 70, 50)
    slow_ids, slow_zbuf, nearest_edge = slow_rasterise(pixels, depth, triangles, 70, 50)
    clear = nearest_edge > 1e-4  # elsewhere rounding may decide either way
    assert clear.mean() > 0.95
    np.testing.assert_array_equal(ids[clear], slow_ids[clear])
    np.testing.assert_allclose(zbuf[clear], slow_zbuf[clear], rtol=1e-4)
    assert ids.dtype == np.int32 and zbuf.dtype == np.float32


@pytest.mark.parametrize("size", [(97, 61), (1200, 801)])
def test_neighbours_leave_no_crack_and_no_hole_at_vertices(size):
    pixels, depth, triangles = jittered_grid(23, 17, *size)
    ids, zbuf = rasterise(pixels, depth, triangles, *size)
    assert (ids >= 0).all()
    x, y = np.meshgrid(np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5)
    np.testing.assert_allclose(zbuf, 5 + 0.001 * x - 0.002 * y, atol=1e-4)


def test_pixel_centres_on_shared_edges_belong_to_a_triangle():
    pixels = np.array([[0.5, 0.5], [8.5, 0.5], [8.5, 8.5], [0.5, 8.5]], np.float32)  # edges and diagonal hit centres
    ids, _ = rasterise(pixels, np.ones(4), np.array([[0, 1, 2], [0, 2, 3]]), 10, 10)
    assert (ids[:9, :9] >= 0).all()
    assert (ids[9] == -1).all() and (ids[:, 9] == -1).all()


def test_the_nearer_triangle_wins_whatever_the_order():
    pixels = np.array([[0, 0], [20, 0], [0, 20]] * 2, np.float32)
    depth = np.array([2, 2, 2, 1, 1, 1], np.float32)
    for order in ([0, 1], [1, 0]):
        triangles = np.arange(6, dtype=np.int32).reshape(2, 3)[order]
        ids, zbuf = rasterise(pixels, depth, triangles, 12, 12)
        assert zbuf[3, 3] == 1 and triangles[ids[3, 3], 0] == 3


def test_equal_depths_keep_the_first_triangle():
    pixels = np.array([[0, 0], [20, 0], [0, 20]], np.float32)
    ids, _ = rasterise(pixels, np.ones(3), np.array([[0, 1, 2], [0, 1, 2]]), 8, 8)
    assert (ids == 0).all()


@pytest.mark.parametrize("bad", [-1.0, 0.0, np.nan])
def test_triangles_reaching_behind_the_camera_are_left_out(bad):
    pixels = np.array([[0, 0], [20, 0], [0, 20]], np.float32)
    ids, zbuf = rasterise(pixels, np.array([1.0, bad, 1.0]), np.array([[0, 1, 2]]), 8, 8)
    assert (ids == -1).all() and np.isinf(zbuf).all()


def test_degenerate_far_and_undefined_triangles_are_harmless():
    pixels = np.array(
        [[1, 1], [5, 5], [9, 9], [np.nan, 2], [np.inf, 3], [1e9, -1e9], [-1e9, -1e9], [0, 1e9]], np.float32
    )
    ids, _ = rasterise(pixels, np.ones(8), np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]]), 8, 8)
    assert (ids == -1).all()
    ids, _ = rasterise(pixels, np.ones(8), np.array([[5, 6, 7]]), 8, 8)
    assert (ids == 0).all()


def test_the_same_on_one_thread_and_on_all():
    pixels, depth, triangles = soup(9, 400)
    threads = nb.get_num_threads()
    results = []
    for count in (1, threads, threads):
        nb.set_num_threads(count)
        results.append(rasterise(pixels, depth, triangles, 70, 50))
    nb.set_num_threads(threads)
    for ids, zbuf in results[1:]:
        np.testing.assert_array_equal(ids, results[0][0])
        np.testing.assert_array_equal(zbuf, results[0][1])


def test_depth_buffer_is_the_depth_of_rasterise():
    pixels, depth, triangles = soup(3)
    np.testing.assert_array_equal(
        depth_buffer(pixels, depth, triangles, 70, 50), rasterise(pixels, depth, triangles, 70, 50)[1]
    )


def test_rasterise_views_of_many_views_are_those_of_each():
    sizes, views = np.array([[50, 70], [31, 40], [64, 64]]), [soup(seed) for seed in range(3)]
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))[:-1]])
    pixels, depth = np.stack([v[0] for v in views]), np.stack([v[1] for v in views])
    ids, flat = rasterise_views(pixels, depth, views[0][2], sizes, offsets)
    for k, (height, width) in enumerate(sizes):
        part = slice(offsets[k], offsets[k] + height * width)
        names, alone = rasterise(pixels[k], depth[k], views[0][2], width, height)
        np.testing.assert_array_equal(flat[part].reshape(height, width), alone)
        np.testing.assert_array_equal(ids[part].reshape(height, width), names)
