"""The dense Gaussian Mesh: where its points lie, how many there are, and that it is one surface with one UV map."""

import numpy as np
import pytest

from topo4d_blender.core.splat.densify import densify
from topo4d_blender.core.template import Template


def make_template(vertices, faces, uv=None) -> Template:
    starts = np.concatenate([[0], np.cumsum([len(f) for f in faces])]).astype(np.int32)
    loops = np.concatenate(faces).astype(np.int32)
    return Template(np.array(vertices, float), loops, starts, None if uv is None else np.array(uv, np.float32))


def cube() -> Template:
    """A closed mesh of 6 quads, each with the whole UV tile: every edge is a seam."""
    corners = [[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)]
    faces = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    return make_template(corners, faces, [[0, 0], [1, 0], [1, 1], [0, 1]] * 6)


def mixed() -> Template:
    """A quad, a triangle and a pentagon side by side, and a vertex of no face."""
    vertices = [[0, 0, 0], [2, 0, 0], [2, 2, 0], [0, 2, 0], [4, 1, 1], [-1, 0, 0], [-2, 1, 0], [-1, 2, 0], [9, 9, 9]]
    uv = [[v[0] / 8 + 0.25, v[1] / 8] for v in vertices]
    faces = [[0, 1, 2, 3], [1, 4, 2], [0, 3, 7, 6, 5]]
    return make_template(vertices, faces, [uv[v] for f in faces for v in f])


@pytest.mark.parametrize("template", [cube(), mixed()], ids=["cube", "mixed"])
def test_one_point_a_vertex_at_density_one(template):
    dense = densify(template, 1)
    assert np.array_equal(dense.at_points(template.vertices), template.vertices)
    drawn = {tuple(sorted(t)) for t in dense.triangles().tolist()}
    assert drawn == {tuple(sorted(t)) for t in template.triangles.tolist()}


@pytest.mark.parametrize("density", [2, 3, 7])
def test_a_closed_mesh_of_quads_has_density_squared_points_a_quad(density):
    dense = densify(cube(), density)
    assert len(dense.corners) == 6 * density**2 + 2  # Euler: two vertices more than quads
    assert len(dense.triangles()) == 6 * 2 * density**2


def test_points_are_shared_between_neighbours_and_nowhere_double():
    for template in (cube(), mixed()):
        dense = densify(template, 5)
        points = dense.at_points(template.vertices)
        assert len(np.unique(points.round(9), axis=0)) == len(points)
        named = np.unique(dense.triangles())
        assert set(range(len(points))) - set(named.tolist()) <= {8}  # the loose vertex alone


def test_a_quad_is_bilinear():
    template = make_template([[0, 0, 0], [3, 0, 0], [4, 2, 1], [0, 1, 0]], [[0, 1, 2, 3]])
    dense = densify(template, 4)
    a, b, c, d = template.vertices
    for point, (i, j) in zip(dense.patches[0].points[0], np.ndindex(5, 5), strict=True):
        u, v = j / 4, i / 4
        truth = (1 - u) * (1 - v) * a + u * (1 - v) * b + u * v * c + (1 - u) * v * d
        assert np.allclose(dense.at_points(template.vertices)[point], truth, atol=1e-6)


def test_triangles_and_fans_lie_in_their_planes_and_keep_their_area():
    template = mixed()
    dense = densify(template, 6)
    a, b, c = np.moveaxis(dense.at_points(template.vertices)[dense.triangles()], 1, 0)
    dense_area = np.cross(b - a, c - a)
    a, b, c = np.moveaxis(template.vertices[template.triangles], 1, 0)
    area = np.cross(b - a, c - a)
    assert np.allclose(dense_area.sum(axis=0), area.sum(axis=0), atol=1e-5)
    lengths = np.linalg.norm(dense_area, axis=1).sum(), np.linalg.norm(area, axis=1).sum()
    assert lengths[0] == pytest.approx(lengths[1], rel=1e-6)  # so none is folded over


def test_a_quad_that_is_not_convex_becomes_triangles():
    template = make_template([[0, 0, 0], [2, 0, 0], [0.4, 0.4, 0], [0, 2, 0]], [[0, 1, 2, 3]])
    dense = densify(template, 3)
    a, b, c = np.moveaxis(dense.at_points(template.vertices)[dense.triangles()], 1, 0)
    assert len(dense.patches[0].loops) == 0
    assert (np.cross(b - a, c - a)[:, 2] > 0).all()


def test_uv_follows_the_surface():
    template = mixed()  # its UV is linear in x and y
    dense = densify(template, 4)
    points = dense.at_points(template.vertices)
    truth = points[:, :2] / 8 + [0.25, 0]
    assert np.allclose(dense.uv[:8], truth[:8], atol=1e-6) and np.isnan(dense.uv[8]).all()
    assert np.allclose(dense.uv[9:], truth[9:], atol=1e-6)
    assert np.allclose(dense.triangle_uv(), truth[dense.triangles()], atol=1e-6)


def test_uv_is_whole_on_both_sides_of_a_seam():
    corners = densify(cube(), 3).triangle_uv().astype(float)
    a, b, c = np.moveaxis(corners, 1, 0)
    twice_area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert np.allclose(twice_area, 1 / 9)  # every cell of every face: none stretched across the map


def test_normals_are_interpolated_and_unit():
    template = cube()
    outward = template.vertices - 0.5
    dense = densify(template, 4)
    normals = dense.normals(outward / np.linalg.norm(outward, axis=1, keepdims=True))
    truth = dense.at_points(outward)
    assert np.allclose(normals, truth / np.linalg.norm(truth, axis=1, keepdims=True), atol=1e-6)


def test_a_template_without_uv_has_none():
    dense = densify(make_template([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 1, 2]]), 2)
    assert dense.uv is None
    with pytest.raises(ValueError, match="no UV"):
        dense.triangle_uv()
    with pytest.raises(ValueError, match="density"):
        densify(cube(), 0)
