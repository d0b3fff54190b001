"""The paper's tracker on a filmed ball, with few iterations: nearer the truth than before, in any unit, to the bit."""

import json
from dataclasses import replace

import numba
import numpy as np
import pytest
import torch
from synthetic import make_capture
from track_scenes import Film, read_film

from topo4d_blender.core.errors import Cancelled, RequestError
from topo4d_blender.core.template import Template
from topo4d_blender.core.track.methods import make_solver
from topo4d_blender.core.track.paper import PaperSolver
from topo4d_blender.core.track.paper_settings import PaperSettings, paper_unit

FEW = PaperSettings(first_frame_iterations=200, iterations=80, position_rate=3e-4)
FEWER = replace(FEW, first_frame_iterations=12, iterations=8)


def film_ball(folder, frames: int = 2, unit_mm: float = 1000.0, vertices: int = 900) -> Film:
    make_capture(folder, frames=frames, cameras=4, size=(72, 96), vertices=vertices, motion_mm=8.0, turn_deg=2.0,
                 unit_mm=unit_mm)  # fmt: skip
    return read_film(folder)


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> Film:
    return film_ball(tmp_path_factory.mktemp("ball"))


def begin(film: Film, settings: PaperSettings = FEW, plates=None, template: Template | None = None) -> PaperSolver:
    solver = PaperSolver(template or film.template, film.cameras, settings)
    assert 0.4 < solver.remember(film.template.vertices, plates or film.frames[0]) < 0.8  # the back is never seen
    return solver


def solve(solver: PaperSolver, film: Film, plates=None):
    start = film.template.vertices
    return solver.solve(plates or film.frames[1], start, start, start)


@pytest.fixture(scope="module")
def solver(film) -> PaperSolver:
    return begin(film)


def test_a_frame_is_nearer_the_truth_than_the_one_before(film, solver):
    solution = solve(solver, film)
    before, after = film.error_px(film.template.vertices, 1), film.error_px(solution.vertices, 1)
    assert after.mean() < 0.8 * before.mean() and after.mean() < 1.2
    assert solution.iterations == FEW.iterations and 0.85 < solution.seen <= 1
    assert (solution.residual_px > 0).all() and (solution.residual_px < 3).all()


def test_the_appearance_is_that_of_the_reference_frame(film, solver):
    rested = solve(solver, film, film.frames[0])
    assert film.error_px(rested.vertices, 0).mean() < 0.5 * film.error_px(film.template.vertices, 1).mean()
    assert (rested.residual_px < 2).all()


def test_the_same_bits_again_and_on_any_number_of_threads(film):
    before = numba.get_num_threads(), torch.get_num_threads()
    found = []
    try:
        for threads in sorted({1, min(2, numba.config.NUMBA_NUM_THREADS)}):
            numba.set_num_threads(threads)
            torch.set_num_threads(threads)
            solver = begin(film, FEWER)
            found += [solve(solver, film).vertices, solve(solver, film).vertices]
    finally:
        numba.set_num_threads(before[0])
        torch.set_num_threads(before[1])
    assert all(np.array_equal(found[0], other) for other in found[1:])
    other = solve(begin(film, replace(FEWER, seed=1)), film).vertices
    assert not np.array_equal(found[0], other)


def test_any_unit_tracks_alike(film, tmp_path):
    small = film_ball(tmp_path, unit_mm=150.0)
    found = [solve(begin(f, replace(FEWER, iterations=30)), f).vertices * f.unit_mm for f in (film, small)]
    moved = np.linalg.norm(found[0] - film.template.vertices * film.unit_mm, axis=1)
    apart = np.linalg.norm(found[0] - found[1], axis=1)
    assert moved.mean() > 0.2 and apart.mean() < 0.05 * moved.mean()  # rounding, grown by Adam's steps


def test_the_unit_is_the_papers_for_the_papers_head():
    corners = np.array([[x, y, z] for x in (0, 1.320) for y in (0, 1.563) for z in (0, 1.147)])
    loose = np.concatenate([corners, [[50.0, 0, 0]]])
    triangles = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 0]])
    assert paper_unit(loose, triangles) == pytest.approx(1, abs=1e-3)


def test_a_cameras_gain_is_learnt_and_kept(film):
    """One camera's plates are brighter by a tenth in both frames; its gain grows above the others'."""
    brighter = [[p * 1.1 if k == 2 else p for k, p in enumerate(frame)] for frame in film.frames]
    solver = begin(film, replace(FEW, first_frame_iterations=100, iterations=1, gain_rate=1e-2), brighter[0])
    solve(solver, film, brighter[1])
    gains = torch.exp(solver._appearance.log_gains).mean(dim=1)
    assert gains[2] > gains[[0, 1, 3]].max() + 0.02
    points = solver._tensor(solver._scene.inside(film.template.vertices))
    with_gain = solver._appearance.picture(points, solver._appearance.quats, solver._scene, 2, 0.01)
    reference = torch.as_tensor(brighter[0][2])
    solver._appearance.log_gains[2] = 0
    without = solver._appearance.picture(points, solver._appearance.quats, solver._scene, 2, 0.01)
    assert (with_gain - reference).abs().mean() < (without - reference).abs().mean()


def test_missing_plates_are_done_without(film):
    solver = begin(film, FEWER, [*film.frames[0][:3], None])
    one_less = solve(solver, film, [None, *film.frames[1][1:]])
    assert np.isnan(one_less.residual_px[[0, 3]]).all() and np.isfinite(one_less.residual_px[[1, 2]]).all()
    assert one_less.iterations == FEWER.iterations and np.isfinite(one_less.vertices).all()
    none = solver.solve([None] * 4, *3 * [film.template.vertices])
    assert none.iterations == 0 and none.seen == 0
    assert np.allclose(none.vertices, film.template.vertices, atol=1e-6)


def test_what_the_template_ignores_is_not_looked_at(film):
    weights = (film.template.vertices[:, 0] > 0).astype(float)
    ignoring = replace(film.template, roles={"t4d_ignore": weights})
    plain, half = begin(film, FEWER)._scene, begin(film, FEWER, template=ignoring)._scene
    points = plain.inside(film.template.vertices)
    for k in range(4):
        ids = half.draw(points, k)[0]
        hidden = (ids >= 0) & weights[film.template.triangles].max(axis=1).astype(bool)[ids]
        assert hidden.any()
        assert np.array_equal(half.looked_at(points, k), plain.looked_at(points, k) & ~hidden)


def test_it_can_be_stopped_while_the_reference_is_fitted(film):
    calls = []

    def check():
        calls.append(1)
        if len(calls) == 3:
            raise Cancelled("Stopped.")

    solver = begin(film, FEWER)
    start = film.template.vertices
    with pytest.raises(Cancelled):
        solver.solve(film.frames[1], start, start, start, check)
    assert np.array_equal(solve(solver, film).vertices, solve(begin(film, FEWER), film).vertices)


@pytest.mark.parametrize(
    "wrong, word",
    [({"iteration": 3}, "no setting named iteration"), ({"iterations": 2.5}, "whole number"), ({"seed": "a"}, "seed"),
     ({"position_rate": -1}, "at least 0"), ({"near": True}, "near"), ({"margin": float("nan")}, "margin")],
)  # fmt: skip
def test_settings_that_cannot_be_are_refused(wrong, word):
    with pytest.raises(RequestError, match=word):
        PaperSettings.from_dict(wrong)


def test_settings_come_from_json(film):
    text = json.dumps({"iterations": 5.0, "seed": 3, "rotation": 1})
    assert PaperSettings.from_dict(json.loads(text)) == PaperSettings(iterations=5, seed=3, rotation=1.0)
    solver, prediction = make_solver("splat", film.template, film.cameras, {"iterations": 7})
    assert solver.settings.iterations == 7 and prediction == 0
