"""Detail shared by the cameras: against its slow twin, against the truth, and what it is for, noise that stays."""

import functools

import cv2
import numpy as np
import pytest
import twins
from test_track_kernels import plane_picture
from track_scenes import grid, look_at_sheet, sheet_level, sheet_template

from topo4d_blender.core.track import solver, torch_solver
from topo4d_blender.core.track.appearance import project, reach
from topo4d_blender.core.track.detail import FACING, LIGHT, OWN, WIDTH, share_detail
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver
from topo4d_blender.core.track.surface import build_surface
from topo4d_blender.core.track.torch_solver import TorchSolver

SEVEN = ((64, 56),) * 7
NOISE = 0.03


def test_shared_detail_agrees_with_its_twin():
    """Views of different sizes, a patch that hides the sheet, skin seen askance, and a camera without a plate."""
    rng = np.random.default_rng(3)
    level = sheet_level(((40, 30), (31, 38), (34, 34), (28, 36)), zoom=0.9)
    template = sheet_template(7, 6)
    vertices = template.vertices + rng.normal(0, 0.12, template.vertices.shape)
    surface = build_surface(template)
    image = rng.uniform(0.4, 0.8, level.pixels).astype(np.float32)
    for k, gain in enumerate((1.0, 0.4, 1.0, 0.12)):  # the last is too dark for the first, not for the second
        level.view(image, k)[:] *= gain
    level.view(image, 2)[:] = np.nan
    shared = share_detail(surface, level, vertices, image)
    seen = project(vertices, surface.triangles, level)
    slow, doubt, others = twins.share_detail(
        surface.triangles, vertices, level, seen.ids, seen.depth, image, reach(surface, level, seen.vertex_depth),
        WIDTH, OWN, FACING, LIGHT,
    )  # fmt: skip
    clear = (doubt > 1e-3) & (level.camera_of != 2)
    assert clear.mean() > 0.6 and (others[clear] >= 2).mean() > 0.1 and (others[clear & (seen.ids >= 0)] == 0).any()
    np.testing.assert_allclose(shared[clear], slow[clear], atol=2e-3)
    assert np.isnan(level.view(shared, 2)).all()
    beside = (seen.ids < 0) & (level.camera_of != 2)
    np.testing.assert_array_equal(shared[beside], image[beside])


@pytest.mark.parametrize(("cells", "inside_out"), [(6, False), (6, True), (100, False)])  # edges of 6 and 0.4 px
def test_each_camera_keeps_its_share_of_its_own_noise(cells, inside_out):
    """Every other camera counts by how finely it sees the sheet, at most as 1: what is left of the noise tells."""
    level = sheet_level(SEVEN, zoom=0.7)
    vertices, surface = grid(cells, cells)[0], build_surface(sheet_template(cells, cells))
    if inside_out:
        surface.triangles[:] = surface.triangles[:, ::-1].copy()
    clean = plane_picture(level, np.zeros(3))
    noise = np.random.default_rng(0).normal(0, NOISE, level.pixels).astype(np.float32)
    shared = share_detail(surface, level, vertices, clean + noise) - share_detail(surface, level, vertices, clean)
    ids = project(vertices, surface.triangles, level).ids
    facing = np.abs(level.centres[:, 2]) / 4
    for k in range(7):
        expected = OWN / (OWN - 1 + (np.minimum(1, facing / facing[k]) ** 2).sum())
        inner = cv2.erode((level.view(ids, k) >= 0).astype(np.uint8), np.ones((13, 13))) > 0
        before, after = (level.view(values, k)[inner] for values in (noise, shared))
        assert inner.sum() > 150
        share = (after * before).mean() / (before**2).mean()
        assert share == pytest.approx(expected, abs=0.06)
        assert after.std() < 0.65 * before.std()


def test_a_plate_that_shows_no_skin_has_no_say():
    """A flash and a closed shutter in the reference are as if those cameras had no plate."""
    level, (vertices, _) = sheet_level(SEVEN, zoom=0.7), grid(6, 6)
    surface = build_surface(sheet_template(6, 6))
    image = plane_picture(level, np.zeros(3))
    blank, missing = image.copy(), image.copy()
    for k, value in ((2, 1.0), (5, 0.0)):
        level.view(blank, k)[:] = value
        level.view(missing, k)[:] = np.nan
    shared = share_detail(surface, level, vertices, blank)
    without = np.isnan(missing)
    np.testing.assert_array_equal(shared[~without], share_detail(surface, level, vertices, missing)[~without])
    np.testing.assert_array_equal(shared[without], blank[without])


@pytest.mark.parametrize("kind", [FrameSolver, functools.partial(TorchSolver, device="cpu")], ids=["numba", "torch"])
@pytest.mark.parametrize("shared", [True, False])
def test_noise_that_stays_does_not_hold_the_surface_back(shared, kind, monkeypatch):
    """A sheet moves by 0.4 px under noise that stays; each camera's own slopes see it move by a good part less."""
    if not shared:
        for module in (solver, torch_solver):
            monkeypatch.setattr(module, "share_detail", lambda surface, level, vertices, image: image)
    cameras, level, template = look_at_sheet(SEVEN, 0.7), sheet_level(SEVEN, 0.7), sheet_template(8, 8)
    pixel = 4 / cameras[0].fx
    shift = 0.4 * pixel * np.array([0.8, 0.6, 0.0])
    moved = []
    for seed in range(3):
        noise = np.random.default_rng(seed).normal(0, NOISE, level.pixels).astype(np.float32)
        plates = [
            [np.repeat(level.view(flat, k)[..., None], 3, axis=2) for k in range(7)]
            for flat in (np.clip(0.2 + 0.6 * (plane_picture(level, at) + noise), 0, 1) for at in (np.zeros(3), shift))
        ]
        tracker = kind(template, cameras, TrackSettings())
        images = [tracker.pyramid(frame) for frame in plates]
        tracker.remember(template.vertices, images[0])
        found = tracker.solve(images[1], *[template.vertices] * 3, before=images[0]).vertices - template.vertices
        inner = (np.abs(template.vertices[:, :2]) < 0.7).all(axis=1)
        moved.append((found[inner] @ shift).mean() / (shift @ shift))
    share = np.mean(moved)
    assert share > 0.8 if shared else share < 0.7
