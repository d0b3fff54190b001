"""The light that turning skin meets: against light that is known, and what it is for, a surface that turns in it."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import grid, look_at_sheet, sheet_level, sheet_template

from topo4d_blender.core.track.appearance import project
from topo4d_blender.core.track.relight import MOST, Relight, _harmonics
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.sight import vertex_normals
from topo4d_blender.core.track.solver import FrameSolver
from topo4d_blender.core.track.surface import build_surface
from topo4d_blender.core.track.torch_solver import TorchSolver

VIEWS = ((90, 96),) * 5
CELLS = 24
LAMPS = np.array([0.0, 0.35, -0.3, 0.5, 0.1, -0.05, 0.04, 0.08, -0.06])  # of the logarithm, by harmonic
GAINS = (1.0, 1.15, 0.9, 1.0, 1.05)


def bulge(turn: float) -> np.ndarray:
    """A sheet bent into waves, as lips are, turned by `turn` degrees and shifted."""
    vertices = grid(CELLS, CELLS)[0]
    x, y = vertices[:, :2].T
    vertices[:, 2] = 0.12 * np.cos(4 * x) * np.cos(5 * y)
    rotation = Rotation.from_euler("xy", [turn, -0.7 * turn], degrees=True).as_matrix()
    return vertices @ rotation.T + [0.02 * (turn > 0), 0, 0]


def film(level, vertices: np.ndarray, brightness: np.ndarray, gains=GAINS) -> np.ndarray:
    """Pictures [P] of the mesh in which vertex v is `brightness` [V] bright, between vertices by perspective."""
    triangles = grid(CELLS, CELLS)[1].astype(np.int32)
    seen = project(vertices, triangles, level)
    image = np.full(level.pixels, 0.1, np.float32)
    for k in range(len(level.sizes)):
        ids = level.view(seen.ids, k)
        row, column = np.nonzero(ids >= 0)
        corners = triangles[ids[row, column]]
        flat = np.concatenate([seen.pixels[k, corners].transpose(0, 2, 1), np.ones((len(row), 1, 3))], axis=1)
        centres = np.stack([column + 0.5, row + 0.5, np.ones(len(row))], axis=1)
        weights = np.linalg.solve(flat, centres[..., None])[..., 0] / seen.vertex_depth[k, corners]
        weights /= weights.sum(axis=1, keepdims=True)
        level.view(image, k)[row, column] = gains[k] * (weights * brightness[corners]).sum(axis=1)
    return image


def lit(vertices: np.ndarray) -> np.ndarray:
    return np.exp(_harmonics(vertex_normals(vertices, grid(CELLS, CELLS)[1])) @ LAMPS)


@pytest.fixture(scope="module")
def turned():
    """A relight at the reference, a frame's vertices, its pictures, and the factors that are true."""
    level, surface = sheet_level(VIEWS, zoom=0.9), build_surface(sheet_template(CELLS, CELLS))
    skin = np.random.default_rng(0).uniform(0.3, 0.45, (CELLS + 1) ** 2)
    rest, now = bulge(0), bulge(12)
    gains = np.random.default_rng(1).uniform(0.85, 1.2, 5)
    before = film(level, rest, skin * lit(rest))
    relight = Relight(surface, level, project(rest, surface.triangles, level), rest, before)
    image = film(level, now, skin * lit(now), np.array(GAINS) * gains)
    return relight, level, now, image, gains[:, None] * (lit(now) / lit(rest))


def test_light_that_is_a_function_of_the_normal_is_found(turned):
    relight, level, now, image, true = turned
    found = relight(now, image)
    off, gain_alone = np.log(found / true), np.log(true / np.median(true, axis=1, keepdims=True))
    assert np.abs(off).mean() < 0.1 * np.abs(gain_alone).mean()
    assert np.abs(off).max() < 0.25 * np.abs(gain_alone).max()


def test_what_is_not_skin_does_not_mislead(turned):
    """A hand before a seventh of the picture, in some cameras black, in some bright."""
    relight, level, now, image, true = turned
    covered = image.copy()
    for k, bright in ((0, 0.05), (1, 0.9), (3, 0.25)):
        level.view(covered, k)[:, 40:54] = bright
    assert np.abs(np.log(relight(now, covered) / true)).mean() < 0.02


def test_a_missing_plate_and_one_that_shows_nothing_are_left_as_they_are(turned):
    relight, level, now, image, true = turned
    gone = image.copy()
    level.view(gone, 2)[:], level.view(gone, 4)[:] = np.nan, 1.0
    found = relight(now, gone)
    assert (found[[2, 4]] == 1).all()
    np.testing.assert_allclose(found[[0, 1, 3]], relight(now, image)[[0, 1, 3]])


def test_no_skin_gets_brighter_without_bounds(turned):
    """A plate that has nothing to do with the face."""
    relight, level, now, image, _ = turned
    noise = np.random.default_rng(2).uniform(0.03, 0.97, image.shape).astype(np.float32)
    found = relight(now, noise)
    assert np.isfinite(found).all() and (np.abs(np.log(found)) <= MOST + 1e-5).all()


@pytest.mark.parametrize("kind", [FrameSolver, functools.partial(TorchSolver, device="cpu")], ids=["numba", "torch"])
def test_waves_that_turn_in_hard_light_are_followed(kind):
    """Where the sheet bends sharply, its shading moves otherwise than its skin."""
    level, cameras = sheet_level(VIEWS, zoom=0.9), look_at_sheet(VIEWS, zoom=0.9)
    rest, now = bulge(0), bulge(12)
    template = replace(sheet_template(CELLS, CELLS), vertices=rest)
    skin = np.random.default_rng(0).uniform(0.27, 0.33, len(rest))
    flat = [film(level, v, skin * lit(v)) for v in (rest, now)]
    plates = [[np.repeat(level.view(image, k)[..., None], 3, axis=2) for k in range(5)] for image in flat]

    def error(relit: bool) -> float:
        solver = kind(template, cameras, TrackSettings())
        images = [solver.pyramid(frame) for frame in plates]
        solver.remember(rest, images[0])
        if not relit:
            name = "relight" if hasattr(solver, "relight") else "_relight"
            setattr(solver, name, lambda vertices, image: np.ones((5, len(vertices)), np.float32))
        found = solver.solve(images[1], *[rest] * 3, before=images[0]).vertices
        return float(np.linalg.norm(found - now, axis=1)[(np.abs(rest[:, :2]) < 0.8).all(axis=1)].mean())

    assert error(True) < 0.5 * error(False)
