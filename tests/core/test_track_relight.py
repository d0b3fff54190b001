"""The light that turning skin meets: against light that is known, and what it is for, a surface that turns in it."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import grid, look_at_sheet, sheet_level, sheet_template

from topo4d_blender.core.track.appearance import project
from topo4d_blender.core.track.flow import FlowStart
from topo4d_blender.core.track.relight import MOST, Relight, _harmonics
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.sight import vertex_normals
from topo4d_blender.core.track.solver import FrameSolver
from topo4d_blender.core.track.surface import build_surface, laplacian
from topo4d_blender.core.track.torch_flow import TorchFlow
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


def test_what_the_artist_said_not_to_look_at_has_no_say(turned):
    """Half of the sheet is ignored, and lit by something else."""
    _, level, now, *_ = turned
    rest = bulge(0)
    right = (rest[:, 0] > 0).astype(float)
    surface = build_surface(sheet_template(CELLS, CELLS, t4d_ignore=right))
    skin = np.random.default_rng(0).uniform(0.3, 0.45, len(rest))
    before = film(level, rest, skin * lit(rest))
    lamp = np.where(right, np.random.default_rng(4).uniform(1.1, 1.9, len(rest)), 1)
    other = film(level, now, skin * lit(now) * lamp)
    relight = Relight(surface, level, project(rest, surface.triangles, level), rest, before)
    apart = np.log(relight(now, other) / (lit(now) / lit(rest)))
    left = rest[:, 0] < -0.05
    assert np.abs(apart[:, left]).mean() < 0.005


class Waves:
    """A sheet of waves that turns in hard light while the cameras' gains change; views of two sizes."""

    views = ((90, 96), (84, 90)) * 3

    def __init__(self):
        self.cameras, level = look_at_sheet(self.views, zoom=0.9), sheet_level(self.views, zoom=0.9)
        self.rest, self.now = bulge(0), bulge(12)
        self.template = replace(sheet_template(CELLS, CELLS), vertices=self.rest)
        skin = np.random.default_rng(0).uniform(0.27, 0.33, len(self.rest))
        gains = np.random.default_rng(1).uniform(0.7, 1.2, (2, len(self.views)))
        flat = [film(level, v, skin * lit(v), g) for v, g in zip((self.rest, self.now), gains, strict=True)]
        count = range(len(self.views))
        self.plates = [[np.repeat(level.view(image, k)[..., None], 3, axis=2) for k in count] for image in flat]

    def solve(self, kind, earlier: tuple = (), **settings: float) -> np.ndarray:
        solver = kind(self.template, self.cameras, TrackSettings(**settings))
        images = [solver.pyramid(frame) for frame in self.plates]
        solver.remember(self.rest, images[0])
        return solver.solve(images[1], *[self.rest] * 3, before=images[0], earlier=earlier).vertices

    def error(self, vertices: np.ndarray) -> float:
        inner = (np.abs(self.rest[:, :2]) < 0.8).all(axis=1)
        return float(np.linalg.norm(vertices - self.now, axis=1)[inner].mean())


KINDS = pytest.mark.parametrize(
    "kind", [FrameSolver, functools.partial(TorchSolver, device="cpu")], ids=["numba", "torch"]
)


@pytest.fixture(scope="module")
def waves() -> Waves:
    return Waves()


@KINDS
def test_waves_that_turn_in_hard_light_are_followed(waves, kind, monkeypatch):
    """Where the sheet bends sharply, its shading moves otherwise than its skin."""
    relit = waves.error(waves.solve(kind))
    alike = np.ones((len(waves.views), len(waves.rest)), np.float32)
    monkeypatch.setattr(Relight, "__call__", lambda *_: alike)
    assert relit < 0.5 * waves.error(waves.solve(kind))


@KINDS
def test_the_prior_takes_what_was_shown_for_the_shape(waves, kind, monkeypatch):
    """Plates that say little: a frame that was shown before is known again, bend by bend."""
    bent = waves.rest + 0.08 * np.sin(7 * waves.rest[:, [1, 0, 1]])
    for flow in (FlowStart, TorchFlow):
        monkeypatch.setattr(flow, "__call__", lambda *_: (bent, waves.rest))
    stiff = {"stiffness": 1e20, "softest": 1e9, "stiffest": 1e9, "rest": 0.0}
    bends = laplacian(waves.rest, waves.template.edges)
    known, unknown = (np.linalg.norm(bends @ (waves.solve(kind, e, **stiff) - bent)) for e in ((bent,), ()))
    assert known < 0.5 * unknown
