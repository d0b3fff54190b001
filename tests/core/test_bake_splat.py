"""Textures by fitted Gaussians: equations against a slow twin, colours against a direct solver, maps against truth."""

import bake_scenes as scenes
import numpy as np
import pytest
import scipy.sparse as sp
from bake_scenes import Board
from PIL import Image

from topo4d_blender.core import jobs
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.texture import bake, bake_take, patches, splat
from topo4d_blender.core.texture.frame import Canvas, paint, solve_frame
from topo4d_blender.core.texture.patches import make_patch, point_sizes, split_faces
from topo4d_blender.core.texture.splat_rows import _PIXEL, Rows, camera_rows

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)
BLUE = Board((-0.12, -0.12, 0.12, 0.12), 0.3, (0.75, 0.75, 0.95, 0.95), scenes.plain(20, 40, 250))
FINE = Board(
    WALL.box, 0.0, WALL.island, lambda u, v: 128 + 60 * (np.sin(100 * u) * np.cos(100 * v))[..., None] * np.ones(3)
)  # eight plate pixels a wave


def solved_scene(boards, cameras, resolution, plates=None):
    template = scenes.template_of(boards)
    canvas = Canvas.of(template, resolution)
    plates = plates or [scenes.film(c, boards) for c in cameras]
    given = [(k, np.rint(p).clip(0, 255).astype(np.uint8), None) for k, p in enumerate(plates)]
    return template, canvas, solve_frame(canvas, template.vertices, cameras, given, lambda: None)


@pytest.fixture
def dense(monkeypatch):
    """Choose how finely edges are cut, as a large map would."""
    return lambda density: monkeypatch.setattr(splat, "density_of", lambda _: density)


def seen_of(canvas, solved, boards):
    truth, owner = scenes.truth(boards, canvas.uv_map.resolution)
    return truth, owner, paint(canvas, solved)[1] > 0


# Patches


def test_the_papers_density():
    assert [splat.density_of(r) for r in (8192, 4096, 1024, 16)] == [30, 15, 4, 1]


def test_every_face_is_in_one_patch_and_every_patch_has_its_neighbours(monkeypatch):
    monkeypatch.setattr(patches, "FACES", 10)
    template = scenes.template_of([WALL, BLUE])
    parts = split_faces(template)
    assert max(map(len, parts)) <= 10 and sorted(np.concatenate(parts)) == list(range(288))
    quads = template.loops.reshape(-1, 4)
    for faces in parts[::7]:
        patch = make_patch(template, faces, 3)
        around = np.flatnonzero(np.isin(quads, quads[faces]).any(axis=1))
        assert set(patch.vertices) == set(quads[around].ravel())
        assert len(patch.cells) == 2 * 9 * len(faces)  # nine cells a quad, two triangles each
        assert set(patch.own) == {t for f in faces for t in (2 * f, 2 * f + 1)}
        uv = template.uv.reshape(-1, 4, 2)[faces]
        np.testing.assert_allclose(patch.cell_uv.reshape(-1, 2).min(axis=0), uv.reshape(-1, 2).min(axis=0), atol=1e-6)


def test_n_gons_and_triangles_make_patches():
    """A triangle, a quad and a pentagon in a row: any topology densifies."""
    from topo4d_blender.core.template import Template

    xy = np.array([[0, 0], [1, 0], [0, 1], [1, 1], [2, 0], [2, 1], [3, 0.0], [3, 1], [3.5, 0.5]], float) / 4
    faces = [[0, 1, 2], [1, 3, 2], [1, 4, 5, 3], [4, 6, 8, 7, 5]]
    loops = np.concatenate(faces).astype(np.int32)
    starts = np.concatenate([[0], np.cumsum([len(f) for f in faces])]).astype(np.int32)
    template = Template(np.column_stack([xy, np.zeros(9)]), loops, starts, xy[loops].astype(np.float32))
    patch = make_patch(template, np.arange(4), 4)
    corner = patch.cell_uv
    area = np.abs(np.cross(corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0])).sum() / 2
    assert area == pytest.approx((3 + 0.25) / 16) and set(patch.own) == set(range(7))


# Equations


def test_equations_are_those_of_the_slow_twin():
    cameras = scenes.rig(2, size=60)
    template, canvas, solved = solved_scene([WALL], cameras, 64)
    inner = [
        12 * row + column for row in range(4, 8) for column in range(4, 8)
    ]  # away from the rim, where no camera sees
    patch = make_patch(template, np.array(inner), 3)
    views, at = solved.views, patch.vertices
    vertices, scores = solved.vertices[at], solved.scores[at]
    points = patch.dense.at_points(vertices)
    sizes = point_sizes(points, patch.dense.triangles())
    flat = np.zeros((len(at), 3), np.float32)
    shift = np.column_stack([vertices[:, 0], 0.5 * vertices[:, 1]])  # px, differs from point to point
    for k, camera in enumerate(cameras):
        rows = camera_rows(
            views.projections[k], views.crop(k), views.codes_of(k), views.depth_range[k], views.tolerance, vertices,
            patch.triangles, scores[:, k], scores.max(axis=1), np.array([1.0, 2.0, 0.5]), flat + 7, shift,
            points, patch.dense.at_points(shift), sizes, patch.dense.corners,
        )  # fmt: skip
        slow = slow_weights(camera, points, sizes, points[:, :2] * [1, 0.5])
        plate = np.rint(scenes.film(camera, [WALL])).clip(0, 255)
        dense = rows.weights.toarray()
        assert len(dense) > 50
        np.testing.assert_allclose(dense.sum(axis=1), 1, atol=1e-5)
        # Each equation is that of one pixel: the one whose weights it has.
        own = np.unique(patch.cells)
        inner = dense[:, own].sum(axis=1) > 0.999  # further out, the outline may hide points
        assert inner.sum() > 50
        dense, colours = dense[inner], rows.colours[inner]
        pixel = np.array([np.abs(slow - row).max(axis=1).argmin() for row in dense])
        np.testing.assert_allclose(dense, slow[pixel], atol=1e-4)
        assert len(set(pixel)) == len(pixel)
        np.testing.assert_allclose(colours, plate.reshape(-1, 3)[pixel] * [1, 2, 0.5] + 7, atol=1e-3)
        assert (rows.trust > 0.05).all() and (rows.trust <= 1).all()


def slow_weights(camera, points, sizes, shifts):
    """Footprint of every point in every pixel [pixels, points], one by one, by finite differences of the camera."""
    pixels = np.stack(np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5), axis=-1).reshape(
        -1, 2
    )
    out = np.zeros((len(pixels), len(points)))
    for i, (p, s, shift) in enumerate(zip(points, sizes, shifts, strict=True)):
        centre = camera.project(p[None])[0][0]
        step = 1e-5
        jacobian = np.stack([(camera.project((p + step * e)[None])[0][0] - centre) / step for e in np.eye(3)], axis=1)
        inverse = np.linalg.inv(s**2 * jacobian @ jacobian.T + _PIXEL * np.eye(2))
        off = pixels - centre - shift
        weight = np.exp(-0.5 * np.einsum("pi,ij,pj->p", off, inverse, off))
        out[:, i] = np.where(weight >= 1 / 255, weight, 0)
    return out / np.maximum(out.sum(axis=1, keepdims=True), 1e-12)


def test_colours_are_those_of_a_direct_solver(monkeypatch):
    monkeypatch.setattr(splat, "_PRECISE", 1e-7)
    rng = np.random.default_rng(0)
    weights = sp.random(400, 40, 0.1, "csr", np.float32, rng)
    trust, colours = rng.random(400).astype(np.float32), rng.uniform(0, 255, (400, 3)).astype(np.float32)
    mean = rng.uniform(0, 255, (40, 3)).astype(np.float32)
    got = splat._least_squares(weights, colours, trust, mean, mean)
    a = weights.toarray().astype(float)
    normal = a.T @ (trust[:, None] * a)
    pull = splat._PULL * np.eye(40)
    direct = np.linalg.solve(normal + pull, a.T @ (trust[:, None] * colours) + pull @ mean)
    assert np.abs(got - direct).max() < 0.01


def test_colours_that_explain_the_plates_are_found_and_unseen_ones_keep_the_shared():
    rng = np.random.default_rng(1)
    weights = sp.csr_matrix(np.eye(30, dtype=np.float32)[rng.integers(0, 20, 300)])
    true = rng.uniform(0, 255, (30, 3)).astype(np.float32)
    rows = Rows(weights, weights @ true, np.ones(300, np.float32))
    fitted = splat.fit_colours([rows], np.full((30, 3), 99.0, np.float32))
    assert np.abs(fitted[:20] - true[:20]).max() < 1
    np.testing.assert_allclose(fitted[20:], 99, atol=0.01)
    np.testing.assert_array_equal(splat.fit_colours([], true), true)


# Maps


@pytest.mark.parametrize(("board", "density", "mean"), [(WALL, 2, 0.6), (WALL, 8, 0.6), (FINE, 8, 1.6)])
def test_texels_are_the_truth(dense, board, density, mean):
    dense(density)
    template, canvas, solved = solved_scene([board], scenes.rig(5), 256)
    truth, owner, seen = seen_of(canvas, solved, [board])
    texture = splat.paint_splat(template, canvas, solved).astype(float)
    inner = (owner == 0) & seen
    assert np.abs(texture - truth)[inner].mean() < mean
    assert 0.95 < texture[inner].std() / truth[inner].std() < 1.05
    assert texture.min() > 30  # nothing black anywhere


def test_no_texel_shows_a_surface_that_stands_before_it(dense):
    dense(4)
    boards = [WALL, BLUE]
    template, canvas, solved = solved_scene(boards, scenes.rig(5, spread_deg=35), 128)
    truth, owner, seen = seen_of(canvas, solved, boards)
    texture = splat.paint_splat(template, canvas, solved).astype(float)
    assert np.abs(texture - truth)[(owner == 0) & seen].max() < 25  # blue is more than 80 away from all of the wall
    assert np.abs(texture - truth)[(owner == 1) & seen].max() < 12
    hidden = texture[(owner == 0) & ~seen]
    assert len(hidden) and hidden[:, 2].max() < 200


def test_a_surface_close_behind_another_in_one_patch_takes_none_of_its_colour(dense):
    """Two sheets, half an edge apart: nothing of the front one may be learnt for the back one."""
    dense(4)
    front = Board((-0.2, -0.2, 0.2, 0.2), 0.045, (0.7, 0.7, 0.95, 0.95), scenes.plain(20, 40, 250))
    boards = [WALL, front]
    template, canvas, solved = solved_scene(boards, scenes.rig(3), 128)
    patch = make_patch(template, np.r_[60:90, 144:288], 4)  # the middle of the wall and all that stands before it
    colours = splat.solve_patch(patch, canvas, solved)
    points = patch.dense.at_points(solved.vertices[patch.vertices])
    middle = np.abs(points[:, :2]).max(axis=1) < 0.14
    hidden = middle & (points[:, 2] < 0.01)
    assert hidden.sum() > 50 and colours[hidden, 2].max() < 200 and colours[hidden, 0].min() > 50
    assert np.abs(colours[middle & (points[:, 2] > 0.04)] - (20, 40, 250)).max() < 3


def test_a_fold_under_the_surface_takes_none_of_its_colour(dense):
    """A quarter of an edge under a sheet, where slope within a pixel of a camera aslant is as much as that."""
    dense(6)
    front = Board((-0.21, -0.21, 0.21, 0.21), 0.02, (0.7, 0.7, 0.95, 0.95), scenes.plain(20, 40, 250))
    boards = [WALL, front]
    template, canvas, solved = solved_scene(boards, scenes.rig(5, spread_deg=50), 256)
    patch = make_patch(template, np.r_[40:110, 144:288], 6)
    colours = splat.solve_patch(patch, canvas, solved)
    points = patch.dense.at_points(solved.vertices[patch.vertices])
    under = (np.abs(points[:, :2]).max(axis=1) < 0.19) & (points[:, 2] < 0.01)
    assert under.sum() > 500 and (colours[under, 2] - colours[under, 0]).max() < 90  # on the sheet: 230


def test_a_camera_that_shows_something_else_is_outvoted(dense):
    dense(4)
    cameras = scenes.rig(7)
    plates = [scenes.film(c, [WALL]) for c in cameras]
    plates[2][40:60, 40:60] = 255
    template, canvas, solved = solved_scene([WALL], cameras, 128, plates)
    truth, owner, seen = seen_of(canvas, solved, [WALL])
    error = np.abs(splat.paint_splat(template, canvas, solved) - truth)[(owner == 0) & seen]
    assert error.mean() < 2.5


def test_patches_meet_without_a_seam(dense, monkeypatch):
    dense(6)
    template, canvas, solved = solved_scene([FINE], scenes.rig(3), 128)
    maps = []
    for faces in (9, 1000):
        monkeypatch.setattr(patches, "FACES", faces)
        maps.append(splat.paint_splat(template, canvas, solved, texels=np.uint16).astype(float) / 257)
    assert np.abs(maps[0] - maps[1]).mean() < 0.3 and np.abs(maps[0] - maps[1]).max() < 6


def test_same_bits_every_time_on_any_number_of_threads(dense, monkeypatch):
    dense(3)
    monkeypatch.setattr(patches, "FACES", 20)
    template, canvas, solved = solved_scene([WALL, BLUE], scenes.rig(3), 64)
    maps = []
    for threads in (1, 3, 3):
        monkeypatch.setattr(splat, "cores", lambda threads=threads: threads)
        maps.append(splat.paint_splat(template, canvas, solved))
    np.testing.assert_array_equal(maps[0], maps[1])
    np.testing.assert_array_equal(maps[1], maps[2])


def test_a_take_is_baked_by_splat_tile_by_tile(tmp_path):
    boards = [WALL, Board(BLUE.box, BLUE.z, (1.25, 0.25, 1.75, 0.75), scenes.plain(20, 40, 250))]
    take, capture = scenes.make_take(tmp_path, boards, scenes.rig(3), (1, 2))
    assert bake_take(take, capture, 64, (1,), method="splat", format="png16") == [1]
    with Image.open(take.folder / "texture/000001.1001.png") as first:
        assert np.asarray(first).std() > 10
    second = np.asarray(Image.open(take.maps.proxy(1, 1002)))
    assert np.abs(second[24:40, 24:40].astype(int) - (20, 40, 250)).max() < 6
    with pytest.raises(RequestError, match="method splat, not inverse"):
        bake_take(take, capture, 64, resume=True, format="png16")
    assert bake_take(take, capture, 64, resume=True, method="splat", format="png16") == [2]


def test_the_methods_of_both_rooms_are_the_same():
    assert bake.METHODS == jobs.BAKE_METHODS
