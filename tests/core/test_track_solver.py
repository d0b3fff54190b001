"""Whole frames on the filmed ball: truth kept and found, whatever the background, the light, the gains and the unit."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from track_scenes import BACKGROUND, Film, coverage, film_ball, solve

from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.errors import Cancelled, RequestError
from topo4d_blender.core.raster import rasterise
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.track import appearance, kernels, relight, track_take
from topo4d_blender.core.track.rigid import rigid_step
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver, Solution, to_the_limit

SIDES = {"left": np.s_[:, :48], "right": np.s_[:, 48:], "around": np.s_[:]}
LAST = 2  # the frame that the tests solve: up to 3 px from the first


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ball")


@pytest.fixture(scope="module")
def film(folder) -> Film:
    return film_ball(folder, frames=3)


@pytest.fixture(scope="module")
def solved(film) -> Solution:
    return solve(film, LAST)


def difference_px(film: Film, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.linalg.norm(a - b, axis=1)[film.seen] / film.pixel


def test_a_frame_is_found(film, solved):
    assert film.error_px(film.template.vertices, LAST).max() > 2.5
    assert film.error_px(solved.vertices, LAST).mean() < 0.08
    assert film.error_px(solved.vertices, LAST).max() < 0.4
    assert solved.seen > 0.9 and (solved.residual_px < 0.15).all()


def test_the_reference_frame_is_found_to_be_itself(film):
    again = solve(film, 0)
    assert film.error_px(again.vertices, 0).max() < 1e-3
    assert again.seen > 0.95 and (again.residual_px < 1e-3).all()


def test_cancelling_ends_a_frame_before_its_next_step(film):
    solver = FrameSolver(film.template, film.cameras, TrackSettings())
    images = solver.pyramid(film.frames[0])
    solver.remember(film.template.vertices, images)
    calls = []

    def check() -> None:
        calls.append(0)
        if len(calls) == 3:
            raise Cancelled

    with pytest.raises(Cancelled):
        solver.solve(images, *[film.template.vertices] * 3, check)
    assert len(calls) == 3


# ---- the common mask


def before(film: Film, frame: int, side: str, bright: float, smooth: bool = True) -> list[np.ndarray]:
    """The plates of `frame` with another background on one side; `smooth`: it mixes into the silhouette's pixels."""
    plates = []
    for camera, plate in zip(film.cameras, film.frames[frame], strict=True):
        background = np.full_like(plate, BACKGROUND)
        background[SIDES[side]] = bright
        if smooth:
            share = coverage(camera, film.truth[frame], film.template.triangles)
            plates.append((plate + (1 - share) * (background - BACKGROUND)).astype(np.float32))
        else:
            ids = rasterise(
                *camera.project(film.truth[frame]), film.template.triangles, camera.width, camera.height
            )[0]  # fmt: skip
            plates.append(np.where(ids[..., None] >= 0, plate, background))
    return plates


@pytest.fixture
def without_mask(monkeypatch):
    """Plates are compared also where nothing is known: what a tracker does that blurs whole pictures."""
    masked = kernels.compare

    def compare(*arguments) -> None:
        masked(*arguments)
        plate, reference, detail, (stack, known) = *arguments[9:12], arguments[-2:]
        out = stack[:, 2] == 0
        stack[out] = np.stack([plate - reference, detail + (plate - reference) / 2, np.ones_like(plate)], axis=1)[out]
        known[:] = True

    monkeypatch.setattr(kernels, "compare", compare)


def rigid_pull_px(film: Film, side: str) -> dict[bool, float]:
    """How far the plates pull the head off the truth while half the background changes: {plates reduced: px}."""
    solver = FrameSolver(film.template, film.cameras, TrackSettings())
    vertices = film.template.vertices
    solver.remember(vertices, solver.pyramid(before(film, 0, side, BACKGROUND, smooth=False)))
    pull = {}
    images = solver.pyramid(before(film, 0, side, 1.0, smooth=False))
    for level, memory, image in zip(solver.levels, solver.memory, images, strict=True):
        memory.look(vertices)
        reading = memory.read(vertices, image, 1.0)
        solver.system.assemble(reading.hessian, reading.gradient)
        rotation, shift = rigid_step(solver.system, vertices)
        step = difference_px(film, vertices @ rotation.T + shift, vertices).mean()
        reduced = bool(level.sizes[0, 1] < film.cameras[0].width)
        pull[reduced] = max(step, pull.get(reduced, 0.0))
    return pull


@pytest.mark.parametrize("side", SIDES)
def test_at_the_truth_a_changed_background_does_not_pull(film, side):
    pull = rigid_pull_px(film, side)
    assert pull[False] < 1e-4
    assert pull[True] < 0.25  # a reduced plate has mixed the background into the silhouette before the mask is known


@pytest.mark.parametrize("side", ["left", "right"])
def test_without_the_mask_it_pulls(film, side, without_mask):
    pull = rigid_pull_px(film, side)
    assert pull[False] > 0.2 and pull[True] > 1


@pytest.mark.parametrize("side", SIDES)
def test_a_changed_background_leaves_the_solution(film, solved, side):
    still = solve(film, 0, plates=before(film, 0, side, 1.0))
    assert film.error_px(still.vertices, 0).max() < 0.2 and film.error_px(still.vertices, 0).mean() < 0.02
    moved = solve(film, LAST, plates=before(film, LAST, side, 1.0))
    assert difference_px(film, moved.vertices, solved.vertices).mean() < 0.02


def test_without_the_mask_it_moves_the_solution(film, without_mask):
    still = solve(film, 0, plates=before(film, 0, "right", 1.0))
    assert film.error_px(still.vertices, 0).max() > 0.3 and film.error_px(still.vertices, 0).mean() > 0.03


# ---- light


def test_gains_of_cameras_cancel(film, solved):
    gains = np.array([0.7, 0.85, 1.0, 0.9, 0.6], np.float32)
    dimmed = [[plate * gain for plate, gain in zip(film.frames[f], gains, strict=True)] for f in (0, LAST)]
    again = solve(film, reference=dimmed[0], plates=dimmed[1])
    assert difference_px(film, again.vertices, solved.vertices).max() < 0.1
    assert film.error_px(again.vertices, LAST).max() < 0.4


def relit(film: Film, amount: float) -> list[np.ndarray]:
    """The last frame under light that changed by `amount` and otherwise in every camera, slowly over the picture."""
    ramp = np.linspace(-1.5, 1.5, film.cameras[0].width)
    lit = [p * (1 + amount * np.sin(ramp + i))[:, None] for i, p in enumerate(film.frames[LAST])]
    return [plate.astype(np.float32) for plate in lit]


def test_slow_shading_leaves_the_solution(film, solved):
    again = solve(film, plates=relit(film, 0.1))
    assert difference_px(film, again.vertices, solved.vertices).mean() < 0.05
    assert film.error_px(again.vertices, LAST).max() < 0.4


def test_it_would_not_were_it_not_subtracted(film, solved, monkeypatch):
    monkeypatch.setattr(appearance, "_subtract_shading", lambda stack, sigma: None)
    alike = np.ones((len(film.cameras), len(film.template.vertices)), np.float32)
    monkeypatch.setattr(relight.Relight, "__call__", lambda *_: alike)  # which sees such light too
    again = solve(film, plates=relit(film, 0.1))
    assert difference_px(film, again.vertices, solved.vertices).mean() > 0.1


# ---- roles and missing plates


def around_nose(film: Film, radius_mm: float) -> np.ndarray:
    """Vertices within `radius_mm` of the foremost.  # [V] bool."""
    vertices = film.template.vertices * film.unit_mm
    return np.linalg.norm(vertices - vertices[np.argmax(vertices[:, 2])], axis=1) < radius_mm


def smeared(film: Film) -> list[np.ndarray]:
    """The last frame with what lies around the nose shifted by 4 px, as something the template lacks would move."""
    inside = around_nose(film, 30)[film.template.triangles].all(axis=1)
    plates = []
    for camera, plate in zip(film.cameras, film.frames[LAST], strict=True):
        pixels, depth = camera.project(film.truth[LAST])
        ids = rasterise(pixels, depth, film.template.triangles, camera.width, camera.height)[0]
        plates.append(np.where(((ids >= 0) & inside[ids])[..., None], np.roll(plate, 4, axis=1), plate))
    return plates


def test_t4d_ignore_never_looks_there(film, solved):
    ignored = around_nose(film, 45)
    template = replace(film.template, roles={"t4d_ignore": ignored.astype(np.float32)})
    clean, dirty = (solve(film, template=template, plates=plates) for plates in (film.frames[LAST], smeared(film)))
    unmasked = solve(film, plates=smeared(film))
    assert difference_px(film, clean.vertices, dirty.vertices).max() < 0.02
    assert difference_px(film, unmasked.vertices, solved.vertices).max() > 0.2
    inner = around_nose(film, 30)[film.seen]  # carried by what is around
    still = film.error_px(film.template.vertices, LAST)[inner]
    assert film.error_px(clean.vertices, LAST)[inner].mean() < 0.5 * still.mean()
    assert film.error_px(clean.vertices, LAST)[~ignored[film.seen]].mean() < 0.12


def test_t4d_stiff_bends_less(film, solved):
    stiff = solve(
        film, LAST, template=replace(film.template, roles={"t4d_stiff": np.ones(len(film.template.vertices))})
    )
    bending = FrameSolver(film.template, film.cameras, TrackSettings()).surface.bending

    def bent(solution: Solution) -> float:
        d = solution.vertices - film.template.vertices
        return float((d * (bending @ d)).sum())

    assert bent(stiff) < 0.6 * bent(solved)


@pytest.mark.parametrize("camera", range(5))
def test_a_missing_plate_costs_little(film, camera):
    plates = list(film.frames[LAST])
    plates[camera] = None
    solution = solve(film, plates=plates)
    assert film.error_px(solution.vertices, LAST).mean() < 0.1 and film.error_px(solution.vertices, LAST).max() < 0.6
    assert np.flatnonzero(np.isnan(solution.residual_px)).tolist() == [camera]


def test_a_plate_missing_in_the_reference_is_a_camera_that_is_never_used(film):
    reference = [None, *film.frames[0][1:]]
    solution = solve(film, LAST, reference=reference)
    assert film.error_px(solution.vertices, LAST).mean() < 0.1 and np.isnan(solution.residual_px[0])


def test_a_frame_without_plates_keeps_what_was_predicted(film):
    solution = solve(film, plates=[None] * 5)
    assert difference_px(film, solution.vertices, film.template.vertices).max() < 1e-3
    assert solution.seen == 0 and np.isnan(solution.residual_px).all()


@pytest.mark.parametrize("factor", [-1.0, 1e-3, 1000.0])  # behind the cameras' backs, and two wrong units
def test_a_template_that_is_not_in_view_is_refused_with_a_picture(film, folder, tmp_path, factor):
    vertices = factor * film.template.vertices + ([0, 0, 5] if factor < 0 else 0)
    capture = open_capture(folder)
    request = TakeRequest(str(capture.source), capture.frames, capture.unit_mm)
    take = Take.create(tmp_path / "take", request, replace(film.template, vertices=vertices))
    with pytest.raises(RequestError, match=r"sees the template in frame 1.*not_in_view\.png"):
        track_take(take, capture)
    assert (take.folder / "not_in_view.png").stat().st_size > 1000 and not take.solved_frames()


# ---- units and threads


@pytest.mark.parametrize("unit_mm", [1.0, 10.0, 150.0])
def test_the_unit_does_not_matter(film, solved, tmp_path, unit_mm):
    other = film_ball(tmp_path, frames=3, unit_mm=unit_mm)
    for a, b in zip(film.frames[LAST], other.frames[LAST], strict=True):
        assert np.abs(a - b).max() < 2 / 255  # rounding may turn a level
    again = solve(other, LAST)
    scaled = again.vertices * unit_mm / film.unit_mm
    assert difference_px(film, scaled, solved.vertices).max() < 0.03
    np.testing.assert_allclose(again.residual_px, solved.residual_px, rtol=0.02)
    assert again.iterations == solved.iterations


CHILD = """
import sys
import numba
from pathlib import Path
from track_scenes import read_film, solve
assert numba.get_num_threads() == int(sys.argv[2])
sys.stdout.write(solve(read_film(Path(sys.argv[1])), 2).vertices.tobytes().hex())
"""


def test_the_same_bits_on_one_thread_and_on_two(film, folder):
    here = Path(__file__).parent
    path = os.pathsep.join([str(here), str(here.parents[1])])
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD, str(folder), threads],
            env={**os.environ, "NUMBA_NUM_THREADS": threads, "PYTHONPATH": path},
            stdout=subprocess.PIPE,
        )
        for threads in ("1", "2")
    ]
    one, two = (child.communicate()[0] for child in children)
    assert len(one) == 2 * 8 * film.template.vertices.size and one == two


def test_steps_that_shrink_by_a_ratio_end_where_their_series_does():
    first = np.random.default_rng(0).normal(size=(20, 3))
    np.testing.assert_allclose(to_the_limit(0.6 * first, first), 0.6 * first / 0.4)  # 0.6 + 0.36 + ... = 1.5
    np.testing.assert_allclose(to_the_limit(-0.5 * first, first), -0.5 * first)  # there and back: as it is
    np.testing.assert_allclose(to_the_limit(0.95 * first, first), 0.95 * first / 0.3)
    np.testing.assert_array_equal(to_the_limit(0 * first, 0 * first), 0 * first)
