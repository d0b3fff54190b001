"""The start by optical flow on torch's devices against the numba one: its equations, then a filmed ball's motion."""

import numpy as np
import pytest
import torch
from torch_devices import DEVICES
from track_scenes import Film, film_ball, look_at_sheet, sheet_level, sheet_template

from topo4d_blender.core.track import kernels, system
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver
from topo4d_blender.core.track.surface import build_surface
from topo4d_blender.core.track.torch_flow import TorchFlow
from topo4d_blender.core.track.torch_solver import TorchSolver
from topo4d_blender.core.track.torch_system import TorchSystem

OUTLIER = 1.5


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Film:
    """A ball whose cheek and brow move up to 16 px between the two frames while it turns."""
    return film_ball(tmp_path_factory.mktemp("fast"), motion_mm=30.0, turn_deg=5.0)


@pytest.mark.parametrize("device", DEVICES)
def test_the_equations_are_the_cpus(device):
    rng = np.random.default_rng(0)
    sheet = sheet_template(16, 15)
    surface, level, count = build_surface(sheet), sheet_level(), len(sheet.vertices)
    motion = rng.normal(0, 0.02, (count, 3))
    points = [sheet.vertices @ c.rotation.T + c.translation for c in look_at_sheet()]
    points = np.stack(points).astype(np.float32)
    points[:, 5, 2] = -1.0  # behind every camera
    flow = rng.normal(0, 2, (*points.shape[:2], 2)).astype(np.float32)
    known = rng.random(points.shape[:2]) < 0.7
    flow[~known] = np.nan
    diagonal, gradient = np.zeros((count, 6)), np.zeros((count, 3))
    kernels.flow_equations(
        points, flow, known, level.rotations, level.intrinsics, motion, OUTLIER, diagonal, gradient
    )  # fmt: skip
    ours = TorchSystem(surface, sheet.vertices, torch.device(device))
    ours._sides_sum += 1.0  # of a step before
    start = TorchFlow(surface, level, ours)
    start._assemble(*start.equations(points, flow, known), torch.as_tensor(motion, device=device), OUTLIER)
    for found, expected in ((ours.diagonal, diagonal[:, [0, 1, 2, 1, 3, 4, 2, 4, 5]]), (ours.gradient, gradient)):
        expected = expected.reshape(found.shape)
        np.testing.assert_allclose(found.cpu().numpy(), expected, atol=1e-5 * np.abs(expected).max())
    np.testing.assert_allclose(
        ours.times(torch.ones(count, 3, dtype=torch.float64, device=device)).cpu(), ours.diagonal.sum(2).cpu()
    )


@pytest.mark.parametrize("device", DEVICES)
def test_a_fast_motion_is_started_from_as_by_numba(film, device, monkeypatch):
    monkeypatch.setattr(system, "TOLERANCE", 1e-3)
    starts = []
    for solver in (
        FrameSolver(film.template, film.cameras, TrackSettings()),
        TorchSolver(film.template, film.cameras, TrackSettings(), device),
    ):
        before, now = (solver.pyramid(plates) for plates in film.frames[:2])
        solver.remember(film.template.vertices, before)
        finest = [images.finest if isinstance(solver, TorchSolver) else images[-1] for images in (before, now)]
        start = solver._flow if isinstance(solver, TorchSolver) else solver.flow
        starts.append(start(film.template.vertices, *finest))
    apart = [np.linalg.norm(a - b, axis=1) / film.pixel for a, b in zip(*starts, strict=True)]
    moved, rigid = (values[film.seen] for values in apart)
    assert moved.mean() < 0.02 and moved.max() < 0.2
    assert rigid.max() < 0.01
    assert film.error_px(film.template.vertices, 1).max() > 8  # that much was to be found


@pytest.mark.parametrize("device", DEVICES)
def test_without_plates_nothing_moves(film, device):
    solver = TorchSolver(film.template, film.cameras, TrackSettings(), device)
    before, now = solver.pyramid(film.frames[0]), solver.pyramid([None] * len(film.cameras))
    solver.remember(film.template.vertices, before)
    for vertices in solver.start(film.template.vertices, before, now):
        np.testing.assert_allclose(vertices, film.template.vertices, atol=1e-12)
