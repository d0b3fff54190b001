"""Plates that do not quite fit are shifted until they do; plates that fit stay."""

from dataclasses import replace

import bake_scenes as scenes
import numpy as np
import pytest
from bake_scenes import Board

from topo4d_blender.core.texture.frame import Canvas, bake_frame, solve_frame
from topo4d_blender.core.texture.painter import open_painter
from topo4d_blender.core.texture.plan import Choice


def pores(u, v):
    """Waves of eight plate pixels that look alike nowhere near."""
    waves = np.sin(100 * u + 5 * np.sin(9 * v)) * np.cos(100 * v + 4 * np.sin(11 * u))
    return 128 + 60 * waves[..., None] * np.ones(3)


BOARD = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), pores)


def solve(cameras, plates, resolution=256):
    template = scenes.template_of([BOARD])
    canvas = Canvas.of(template, resolution)
    given = [(k, np.rint(p).clip(0, 255).astype(np.uint8), None) for k, p in enumerate(plates)]
    return solve_frame(canvas, template.vertices, cameras, given, lambda: None), template, canvas, given


def off_by(cameras, pixels):
    return [replace(c, cx=c.cx + dx, cy=c.cy + dy) for c, (dx, dy) in zip(cameras, pixels, strict=True)]


def test_plates_that_fit_stay():
    cameras = scenes.rig(5)
    solved, *_ = solve(cameras, [scenes.film(c, [BOARD]) for c in cameras])
    assert np.abs(solved.shifts).max() < 0.3 and np.sqrt((solved.shifts**2).mean()) < 0.06


def test_a_calibration_that_is_off_is_found_and_pores_stay_sharp():
    cameras = scenes.rig(5)
    plates = [scenes.film(c, [BOARD]) for c in cameras]
    off = np.array([[0.9, 0.3], [-0.8, 0.5], [0.2, -0.9], [-0.6, -0.6], [0.3, 0.7]])
    off -= off.mean(axis=0)  # what all have in common moves the map instead
    said = off_by(cameras, off)
    solved, template, canvas, given = solve(said, plates)
    inner = (np.abs(template.vertices[:, :2]) < 0.35).all(axis=1)
    found = np.median(solved.shifts[:, inner], axis=1)
    np.testing.assert_allclose(found - found.mean(axis=0), -off, atol=0.12)
    texture, seen = bake_frame(canvas, template.vertices, said, given)
    truth, owner = scenes.truth([BOARD], 256)
    inner = (owner == 0) & seen
    error = np.abs(texture - truth)[inner].mean()
    assert error < 6  # one pixel off is 24
    assert texture[inner].std() > 0.9 * truth[inner].std()


def test_what_the_mesh_lacks_moves_nothing():
    """Teeth between lips: cameras see something else than the surface, each in another place."""
    cameras = scenes.rig(7)
    teeth = Board((-0.1, -0.06, 0.1, 0.06), 0.06, (0.0, 0.0, 1.0, 1.0), scenes.smooth)
    solved, *_ = solve(cameras, [scenes.film(c, [BOARD, teeth]) for c in cameras])
    lengths = np.linalg.norm(solved.shifts, axis=2)[solved.scores.T > 0]
    assert np.sqrt((lengths**2).mean()) < 0.038 and lengths.max() < 0.25


def test_a_rim_before_other_detail_moves_nothing():
    """A board before another one: what is left of each picture ends in another place in every camera."""
    cameras = scenes.rig(7)
    front = Board((-0.15, -0.15, 0.15, 0.15), 0.3, (0.7, 0.7, 0.95, 0.95), pores)
    boards = [BOARD, front]
    template = scenes.template_of(boards)
    given = [(k, np.rint(scenes.film(c, boards)).clip(0, 255).astype(np.uint8), None) for k, c in enumerate(cameras)]
    solved = solve_frame(Canvas.of(template, 256), template.vertices, cameras, given, lambda: None)
    lengths = np.linalg.norm(solved.shifts, axis=2)[solved.scores.T > 0]
    assert np.sqrt((lengths**2).mean()) < 0.03 and lengths.max() < 0.15


def test_noise_moves_nothing_far():
    """Where nothing can be told apart from noise, a plate stays where its calibration puts it."""
    rng = np.random.default_rng(0)
    cameras = scenes.rig(5)
    blank = Board(BOARD.box, 0.0, BOARD.island, scenes.plain(120, 120, 120))
    plates = [scenes.film(c, [blank]) + rng.normal(0, 6, (100, 100, 3)) for c in cameras]
    solved, *_ = solve(cameras, plates)
    assert np.sqrt((solved.shifts**2).mean()) < 0.25


def test_a_lone_camera_is_not_compared():
    cameras = scenes.rig(1, spread_deg=0)
    solved, *_ = solve(cameras, [scenes.film(c, [BOARD]) for c in cameras])
    assert not solved.shifts.any() and solved.choice.views == 3


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_camera_that_sees_a_strip_narrower_than_a_shrunk_pixel_spoils_nothing(device):
    if device != "cpu":
        pytest.importorskip("torch")
    template, cameras = scenes.template_of([BOARD], cells=4), scenes.rig(3, size=600, spread_deg=10)
    cameras.append(replace(cameras[0], name="strip", cx=cameras[0].cx - 530))
    given = [(k, np.rint(scenes.film(c, [BOARD])).clip(0, 255).astype(np.uint8), None) for k, c in enumerate(cameras)]
    solved = open_painter(device).solve(Canvas.of(template, 64), template.vertices, cameras, given, lambda: None)
    assert 3 < solved.views.boxes[3, 2] < 10 and solved.views.present[3]  # ten of its pixels are one to compare
    assert np.abs(solved.shifts).max() < 1


@pytest.mark.parametrize(("noise", "views", "power"), [(0.0, 3, 4.0), (0.1, 5, 2.85), (0.5, 9, 1.33), (9.0, 16, 1.0)])
def test_noisy_plates_are_blended_from_more_views(noise, views, power):
    choice = Choice.of(1.0, noise)
    assert choice.views == views and choice.power == pytest.approx(power, abs=0.01)
