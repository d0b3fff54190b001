"""How freely parts of a surface bend: the matrix against a plain twin, and what it is for, a surface that parts."""

import functools
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from test_track_relight import CELLS, film
from track_scenes import grid, look_at_sheet, sheet_level, sheet_template

from topo4d_blender.core.track.pliancy import FLAT, POWER, RINGS, SOFTEST, STIFFEST, Pliancy
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver
from topo4d_blender.core.track.surface import build_surface
from topo4d_blender.core.track.torch_solver import TorchSolver

STIFF = {"t4d_stiff": np.linspace(0, 0.01, (CELLS + 1) ** 2)}
SHEET = sheet_template(CELLS, CELLS, **STIFF)
SURFACE = build_surface(SHEET)
COUNT = SURFACE.vertex_count


def parted(height: float) -> np.ndarray:
    """The sheet, its right half shifted up by `height` within one row of cells."""
    vertices = grid(CELLS, CELLS)[0]
    vertices[:, 1] += height * np.clip((vertices[:, 0] + 0.02) / 0.08, 0, 1)
    return vertices


FLATTEST = (FLAT * SURFACE.edge_length) ** 2


def weights(moved: np.ndarray, base: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Of every vertex, by loops."""
    around = [{v} for v in range(COUNT)]
    for i, j in SURFACE.edges:
        around[i].add(j), around[j].add(i)
    bent = [float(((SURFACE.laplacian[v] @ (moved - base)) ** 2).sum()) for v in range(COUNT)]
    for _ in range(RINGS):
        bent = [np.mean([bent[w] for w in around[v]]) for v in range(COUNT)]
    usual = np.median([bent[v] for v in range(COUNT) if seen[v]])
    found = [
        min(max(((usual + FLATTEST) / (b + FLATTEST)) ** POWER, SOFTEST), STIFFEST) if s else 1.0
        for b, s in zip(bent, seen, strict=True)
    ]
    return np.array(found)


def test_the_matrix_is_that_of_weighed_bends():
    rng = np.random.default_rng(0)
    base, stiffness = parted(0), rng.uniform(0, 2, COUNT) * (rng.random(COUNT) < 0.8)
    moved = parted(0.1) + rng.normal(0, 1e-3, (COUNT, 3))
    found = Pliancy(SURFACE, stiffness)(moved, base)
    w = weights(moved, base, stiffness > 0.05)
    expected = SURFACE.laplacian.T @ sp.diags(SURFACE.stiffness * w) @ SURFACE.laplacian
    np.testing.assert_allclose(found.toarray(), expected.toarray(), atol=1e-10 * SURFACE.bending.max())
    assert (found.indices == SURFACE.bending.indices).all() and (found.indptr == SURFACE.bending.indptr).all()
    assert w.min() < 0.5 and w.max() > 1.2  # both happen here


def test_what_does_not_bend_keeps_its_stiffness():
    """Nor does rounding decide how stiff it is."""
    rounding = np.random.default_rng(0).normal(0, 1e-12, (COUNT, 3))
    for moved in (parted(0), parted(0) + rounding):
        still = Pliancy(SURFACE, np.ones(COUNT))(moved, parted(0))
        np.testing.assert_allclose(still.data, SURFACE.bending.data, atol=1e-9 * SURFACE.bending.max())
    unseen = Pliancy(SURFACE, np.zeros(COUNT))(parted(0.1), parted(0))
    np.testing.assert_array_equal(unseen.data, SURFACE.bending.data)


@pytest.mark.parametrize("kind", [FrameSolver, functools.partial(TorchSolver, device="cpu")], ids=["numba", "torch"])
def test_a_surface_that_parts_is_followed_past_the_priors_stiffness(kind, monkeypatch):
    views = ((90, 96),) * 6
    cameras, level = look_at_sheet(views, zoom=0.9), sheet_level(views, zoom=0.9)
    rng = np.random.default_rng(0)
    skin, rest, now = rng.uniform(0.2, 0.6, COUNT), parted(0), parted(0.12)
    noise = [rng.normal(0, 0.02, level.pixels) for _ in range(2)]
    flat = [film(level, v, skin, (1,) * 6) + n for v, n in zip((rest, now), noise, strict=True)]
    flat = [np.clip(image, 0, 1).astype(np.float32) for image in flat]
    plates = [[np.repeat(level.view(image, k)[..., None], 3, axis=2) for k in range(6)] for image in flat]

    def error() -> float:
        solver = kind(replace(SHEET, roles={}), cameras, TrackSettings())
        images = [solver.pyramid(frame) for frame in plates]
        solver.remember(rest, images[0])
        found = solver.solve(images[1], *[rest] * 3, before=images[0]).vertices
        near = (np.abs(rest[:, 0]) < 0.2) & (np.abs(rest[:, 1]) < 0.7)
        return float(np.linalg.norm(found - now, axis=1)[near].mean())

    supple = error()
    monkeypatch.setattr(Pliancy, "__call__", lambda self, *_: self._surface.bending)
    assert supple < 0.9 * error()


@pytest.mark.parametrize("kind", [FrameSolver, functools.partial(TorchSolver, device="cpu")], ids=["numba", "torch"])
def test_a_frames_bending_is_gone_with_the_frame(ball, kind):
    """A frame without flow, after one that flow started, has the bits that a fresh solver finds."""

    def solver() -> tuple:
        made = kind(ball.template, ball.cameras, TrackSettings())
        before, now = (made.pyramid(plates) for plates in ball.frames[:2])
        made.remember(ball.template.vertices, before)
        return made, before, now

    still = [ball.template.vertices] * 3
    used, before, now = solver()
    used.solve(now, *still, before=before)
    fresh, _, again = solver()
    np.testing.assert_array_equal(used.solve(now, *still).vertices, fresh.solve(again, *still).vertices)
