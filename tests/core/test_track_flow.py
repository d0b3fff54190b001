"""The start by optical flow: its equations against a plain twin, its motion against the truth of a filmed ball."""

import numpy as np
import pytest
import twins
from test_track_kernels import plane_picture
from track_scenes import Film, film_ball, look_at_sheet, sheet_level, sheet_template, solve

from topo4d_blender.core.track import kernels
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver

OUTLIER = 1.5


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Film:
    """A ball whose cheek and brow move up to 16 px between the two frames while it turns."""
    return film_ball(tmp_path_factory.mktemp("fast"), motion_mm=30.0, turn_deg=5.0)


def started(film: Film, before: list, now: list) -> tuple[np.ndarray, np.ndarray]:
    """The ball moved by flow from the first frame's place, and moved rigidly only."""
    solver = FrameSolver(film.template, film.cameras, TrackSettings())
    solver.remember(film.template.vertices, solver.pyramid(film.frames[0]))
    return solver.flow(film.template.vertices, solver.pyramid(before)[-1], solver.pyramid(now)[-1])


def test_flow_equations_agree_with_their_twin():
    rng = np.random.default_rng(0)
    level, cameras = sheet_level(), look_at_sheet()
    vertices, motion = rng.normal(0, 0.4, (20, 3)), rng.normal(0, 0.02, (20, 3))
    points = np.stack([vertices @ c.rotation.T + c.translation for c in cameras]).astype(np.float32)
    flow = rng.normal(0, 2, (*points.shape[:2], 2)).astype(np.float32)
    known = rng.random(points.shape[:2]) < 0.7
    diagonal, gradient = np.full((20, 6), 9.0), np.full((20, 3), 9.0)
    kernels.flow_equations(
        points, flow, known, level.rotations, level.intrinsics, motion, OUTLIER, diagonal, gradient
    )  # fmt: skip
    slow_diagonal, slow_gradient = np.zeros((20, 3, 3)), np.zeros((20, 3))
    for k, camera in enumerate(cameras):
        for v in np.flatnonzero(known[k]):
            step = 1e-6 * np.eye(3)
            ahead, behind = (camera.project(vertices[v] + s * step)[0] for s in (1, -1))
            jacobian = (ahead - behind).T / 2e-6  # by differences of the camera itself
            left = jacobian @ motion[v] - flow[k, v]
            weight = 1 / (1 + left @ left / OUTLIER**2) ** 2
            slow_diagonal[v] += weight * jacobian.T @ jacobian
            slow_gradient[v] += weight * jacobian.T @ left
    np.testing.assert_allclose(twins.symmetric(diagonal), slow_diagonal, atol=1e-4 * np.abs(slow_diagonal).max())
    np.testing.assert_allclose(gradient, slow_gradient, atol=1e-4 * np.abs(slow_gradient).max())


def test_flow_follows_a_fast_motion_to_within_a_pixel(film):
    moved, rigid = started(film, film.frames[0], film.frames[1])
    still = film.error_px(film.template.vertices, 1)
    assert still.max() > 8
    assert film.error_px(moved, 1).mean() < 0.2 * still.mean() and film.error_px(moved, 1).max() < 0.35 * still.max()
    edges = film.template.edges
    lengths = [np.linalg.norm(v[edges[:, 0]] - v[edges[:, 1]], axis=1) for v in (rigid, film.template.vertices)]
    np.testing.assert_allclose(*lengths, rtol=1e-9)


def test_a_fast_frame_is_found_with_flow_and_not_without(tmp_path):
    film = film_ball(tmp_path, motion_mm=30.0, turn_deg=15.0)
    with_flow, without = (film.error_px(solve(film, 1, flow=flow).vertices, 1) for flow in (True, False))
    assert with_flow.max() < 0.8 and with_flow.mean() < 0.2
    assert without.mean() > 5 * with_flow.mean()


def test_cameras_without_a_plate_are_left_out(film):
    before, now = list(film.frames[0]), list(film.frames[1])
    before[0], now[3] = None, None
    moved, _ = started(film, before, now)
    assert film.error_px(moved, 1).mean() < 0.2 * film.error_px(film.template.vertices, 1).mean()


def test_without_any_plate_nothing_moves(film):
    moved, rigid = started(film, [None] * 5, film.frames[1])
    np.testing.assert_array_equal(moved, film.template.vertices)
    np.testing.assert_array_equal(rigid, film.template.vertices)


def test_flow_that_lies_is_outvoted(film):
    """One camera's plate is another frame's, rolled by ten pixels: it says what no other says."""
    now = list(film.frames[1])
    now[2] = np.roll(now[2], 10, axis=0)
    moved, _ = started(film, film.frames[0], now)
    honest, _ = started(film, film.frames[0], film.frames[1])
    assert np.median(np.linalg.norm(moved - honest, axis=1)[film.seen]) < 0.4 * film.pixel


def test_a_mesh_of_forty_thousand_vertices_is_followed():
    """More than OpenCV takes in a row: 32,766."""
    sizes = ((64, 56),) * 3
    level, template = sheet_level(sizes, 0.7), sheet_template(199, 199)
    solver = FrameSolver(template, look_at_sheet(sizes, 0.7), TrackSettings())
    shift = np.array([0.05, -0.03, 0.0])
    frames = [
        solver.pyramid([np.repeat(level.view(flat, k)[..., None], 3, axis=2) for k in range(3)])
        for flat in (plane_picture(level, at) for at in (np.zeros(3), shift))
    ]
    solver.remember(template.vertices, frames[0])
    moved, _ = solver.flow(template.vertices, frames[0][-1], frames[1][-1])
    inner = (np.abs(template.vertices[:, :2]) < 0.7).all(axis=1)
    assert np.linalg.norm((moved - template.vertices)[inner].mean(axis=0) - shift) < 0.2 * np.linalg.norm(shift)
