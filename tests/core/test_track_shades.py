"""Edges of cast shadows: found where all cameras see them, and what that is for, a shadow that moves over skin."""

import functools

import numpy as np
import pytest
from test_track_relight import CELLS, film
from track_scenes import grid, look_at_sheet, sheet_level, sheet_template

from topo4d_blender.core.track.appearance import project
from topo4d_blender.core.track.flow import FlowStart
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.shades import Shades
from topo4d_blender.core.track.solver import FrameSolver
from topo4d_blender.core.track.surface import build_surface
from topo4d_blender.core.track.torch_flow import TorchFlow
from topo4d_blender.core.track.torch_solver import TorchSolver

VIEWS = ((90, 96),) * 6
LEVEL = sheet_level(VIEWS, zoom=0.9)
SURFACE = build_surface(sheet_template(CELLS, CELLS))
REST = grid(CELLS, CELLS)[0]
SKIN = np.random.default_rng(0).uniform(0.3, 0.45, len(REST))
LIGHT = np.ones((len(VIEWS), len(REST)), np.float32)
CENTRES = REST[SURFACE.triangles].mean(axis=1)
INNER = (np.abs(CENTRES) < 0.7).all(axis=1)
GAINS = (1.0, 1.15, 0.9, 1.0, 1.05, 0.95)


def shadow(edge: float) -> np.ndarray:
    """Light on the sheet right of `edge` is half of what it is left of it."""
    return np.where(REST[:, 0] > edge, 0.5, 1.0)


def shades(surface=SURFACE) -> Shades:
    image = film(LEVEL, REST, SKIN, GAINS)
    return Shades(surface, LEVEL, project(REST, surface.triangles, LEVEL), REST, image)


def test_a_shadows_edge_is_looked_at_less():
    looks = shades()(REST, film(LEVEL, REST, SKIN * shadow(0.21), GAINS), LIGHT)
    beside = np.abs(CENTRES[:, 0] - 0.21)
    assert looks[INNER & (beside < 0.03)].max() < 0.5
    assert looks[INNER & (beside > 0.3)].min() > 0.95


def test_what_a_few_cameras_see_is_no_shadow():
    """A highlight lies where each camera sees it."""
    lit, plain = film(LEVEL, REST, SKIN * shadow(0.21), GAINS), film(LEVEL, REST, SKIN, GAINS)
    for k in range(2, 6):
        LEVEL.view(lit, k)[:] = LEVEL.view(plain, k)
    assert shades()(REST, lit, LIGHT)[INNER].min() > 0.95


def test_light_that_is_known_is_no_shadow():
    light = (LIGHT * shadow(0.21)).astype(np.float32)
    assert shades()(REST, film(LEVEL, REST, SKIN * shadow(0.21), GAINS), light)[INNER].min() > 0.8


def test_what_the_artist_said_not_to_look_at_has_no_say():
    """Half of the sheet is ignored, and flickers as hair does."""
    right = (REST[:, 0] > 0.5).astype(float)
    surface = build_surface(sheet_template(CELLS, CELLS, t4d_ignore=right))
    flicker = np.where(right, np.random.default_rng(4).uniform(0.6, 1.6, len(REST)), shadow(0.01))
    calm = shades(surface)(REST, film(LEVEL, REST, SKIN * shadow(0.01), GAINS), LIGHT)
    looks = shades(surface)(REST, film(LEVEL, REST, SKIN * flicker, GAINS), LIGHT)
    assert (looks[surface.looks == 0] == 0).all()
    left = INNER & (CENTRES[:, 0] < 0.3)  # what lies beside it shows some of it between pixels
    np.testing.assert_allclose(looks[left], calm[left], atol=0.02)
    assert calm[left].min() < 0.5 and calm[left & (CENTRES[:, 0] > 0.2)].min() > 0.9


def test_missing_plates_and_too_few_cameras_say_nothing():
    lit = film(LEVEL, REST, SKIN * shadow(0.21), GAINS)
    for k in range(2, 6):
        LEVEL.view(lit, k)[:] = np.nan
    np.testing.assert_array_equal(shades()(REST, lit, LIGHT), SURFACE.looks)


def test_what_a_camera_no_longer_faces_is_not_asked():
    """The sheet has turned its back on all cameras, and what they show there is something else."""
    back = REST * [-1, 1, -1]
    lit = film(LEVEL, REST, SKIN * shadow(0.21), GAINS)
    np.testing.assert_array_equal(shades()(back, lit, LIGHT), SURFACE.looks)


@pytest.mark.parametrize("kind", [FrameSolver, functools.partial(TorchSolver, device="cpu")], ids=["numba", "torch"])
def test_a_shadow_that_moves_does_not_take_the_skin_along(kind, monkeypatch):
    """Nothing moves but a shadow, and flow was not taken in by it."""
    for flow in (FlowStart, TorchFlow):
        monkeypatch.setattr(flow, "__call__", lambda *_: (REST, REST))
    cameras = look_at_sheet(VIEWS, zoom=0.9)
    skin = np.random.default_rng(0).uniform(0.2, 0.6, len(REST))
    flat = [film(LEVEL, REST, skin * shadow(edge), GAINS) for edge in (0.05, 0.3)]
    plates = [[np.repeat(LEVEL.view(image, k)[..., None], 3, axis=2) for k in range(6)] for image in flat]

    def error() -> float:
        solver = kind(sheet_template(CELLS, CELLS), cameras, TrackSettings())
        images = [solver.pyramid(frame) for frame in plates]
        solver.remember(REST, images[0])
        found = solver.solve(images[1], *[REST] * 3, before=images[0]).vertices
        near = (np.abs(REST[:, 0] - 0.17) < 0.3) & (np.abs(REST[:, 1]) < 0.7)
        return float(np.linalg.norm(found - REST, axis=1)[near].mean())

    less = error()
    monkeypatch.setattr(Shades, "__call__", lambda self, *_: self._surface.looks)
    assert less < 0.7 * error()
