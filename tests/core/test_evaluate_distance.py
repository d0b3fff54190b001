"""Point-to-surface distances against trimesh's exhaustive search, on meshes made to trip a kd-tree."""

import numpy as np
import pytest
import trimesh

from topo4d_blender.core.evaluate.distance import surface_distance


def reference(points, vertices, triangles):
    mesh = trimesh.Trimesh(vertices, triangles, process=False)
    return trimesh.proximity.closest_point_naive(mesh, points)[1]


@pytest.mark.parametrize("spread", [0.01, 0.3, 5.0])  # close to the surface, around it, far away
def test_agrees_with_exhaustive_search_on_a_sphere(spread):
    rng = np.random.default_rng(1)
    ball = trimesh.creation.icosphere(subdivisions=3)
    points = ball.vertices[rng.choice(len(ball.vertices), 120)] + rng.normal(0, spread, (120, 3))
    found = surface_distance(points, ball.vertices, ball.faces)
    np.testing.assert_allclose(found, reference(points, ball.vertices, ball.faces), atol=1e-12)


def test_large_slivers_among_small_triangles_are_not_missed():
    # The nearest triangle's centroid is far away while hundreds of small ones lie closer by.
    rng = np.random.default_rng(2)
    size = np.exp(rng.uniform(np.log(0.01), np.log(20.0), 400))
    vertices = (rng.uniform(-1, 1, (400, 1, 3)) + rng.normal(size=(400, 3, 3)) * size[:, None, None]).reshape(-1, 3)
    triangles = np.arange(1200).reshape(-1, 3)
    points = rng.uniform(-3, 3, (200, 3))
    found = surface_distance(points, vertices, triangles)
    np.testing.assert_allclose(found, reference(points, vertices, triangles), atol=1e-9)


def test_every_region_of_one_triangle():
    corners = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    points = np.array([[0.2, 0.2, 3], [-3, -4, 0], [4, -4, 0], [-4, 4, 0], [0.5, -2, 0], [-2, 0.5, 0], [1, 1, 0]])
    expected = [3, 5, 5, 5, 2, 2, np.sqrt(0.5)]
    np.testing.assert_allclose(surface_distance(points, corners, np.array([[0, 1, 2]])), expected, atol=1e-12)


@pytest.mark.parametrize("triangle", [[0, 0, 0], [0, 0, 1], [0, 1, 0], [0, 1, 1], [0, 1, 2], [1, 0, 2], [1, 2, 0]])
def test_triangles_without_area_are_points_and_segments(triangle):
    line = np.array([[0.0, 0, 0], [1, 0, 0], [3, 0, 0]])
    points = np.array([[-1.0, 0, 0], [0.5, 2, 0], [2.0, 0, 3], [5, 0, 0]])
    low, high = line[triangle, 0].min(), line[triangle, 0].max()
    beyond = points[:, 0] - np.clip(points[:, 0], low, high)
    expected = np.sqrt(beyond**2 + (points[:, 1:] ** 2).sum(1))
    np.testing.assert_allclose(surface_distance(points, line, np.array([triangle])), expected, atol=1e-12)
