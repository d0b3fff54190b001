"""Whether a template lies where the head is: a wrong one is warned of before any frame is solved, the right one not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from track_scenes import look_at_sheet, sheet_template

from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.evaluate import evaluate_take
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.raster import sample
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.take.flagged import flagged
from topo4d_blender.core.track import track_take
from topo4d_blender.core.track.placement import Fit, in_words, measure_fit
from topo4d_blender.core.track.sight import SmallViews

MM = 1 / 1000  # the ball's unit is the metre


def fit_of(ball, vertices, plates=None, cameras=None):
    views = SmallViews(ball.template, cameras or ball.cameras)
    return measure_fit(views, vertices, ball.template.triangles, plates or ball.frames[0])


def scaled(ball, factor):
    vertices = ball.template.vertices
    centre = (vertices.max(axis=0) + vertices.min(axis=0)) / 2
    return centre + factor * (vertices - centre)


def another_head(ball):
    """The ball with other bumps, as large and in the same place."""
    x, y, z = (ball.template.vertices / np.abs(ball.template.vertices).max()).T
    return ball.template.vertices * (1 + 0.25 * np.sin(4 * x + 2 * y) * np.cos(5 * y - 3 * z))[:, None]


def test_the_right_template_fits(ball):
    fit = fit_of(ball, ball.template.vertices)
    assert fit.fits and fit.best == fit.given > 0.7, fit


@pytest.mark.parametrize("factor", [1.3, 1.1, 0.9, 0.7])
def test_a_template_of_another_size_does_not_fit_and_the_right_size_is_found(ball, factor):
    fit = fit_of(ball, scaled(ball, factor))
    assert not fit.fits and fit.fits_elsewhere
    assert abs(fit.scale * factor - 1) < 0.12, fit


@pytest.mark.parametrize("way", [(20, 0, 0), (0, -20, 0), (0, 0, 20), (0, 0, -20)])
def test_a_template_beside_the_head_does_not_fit_and_the_way_back_is_found(ball, way):
    way = np.array(way, float) * MM
    fit = fit_of(ball, ball.template.vertices + way)
    assert not fit.fits and fit.fits_elsewhere
    if fit.scale == 1:
        assert fit.shift @ way < 0


def test_another_head_does_not_fit(ball):
    fit = fit_of(ball, another_head(ball))
    assert not fit.fits and not fit.has_the_shape


def test_gains_noise_a_dark_camera_and_a_rough_calibration_are_forgiven(ball):
    rng = np.random.default_rng(0)
    plates = [gain * plate for gain, plate in zip((0.7, 1.3, 1.0, 0.01, 0.9), ball.frames[0], strict=True)]
    plates = [(plate + rng.normal(0, 0.02, plate.shape)).astype(np.float32) for plate in plates]
    cameras = tuple(replace(c, cx=c.cx + rng.normal(0, 0.3), cy=c.cy + rng.normal(0, 0.3)) for c in ball.cameras)
    assert fit_of(ball, ball.template.vertices, plates, cameras).fits


def test_a_flat_template_that_moves_along_itself_still_fits():
    """Moved along itself a sheet is still on the surface: that it agrees there as well must not count against it."""
    cameras = look_at_sheet(((120, 90), (130, 100), (110, 120)))
    template = sheet_template(24, 24)
    flat = 0.9 * template.vertices * [1, -1, 1]  # so it faces the cameras
    rng = np.random.default_rng(3)
    picture = np.kron(rng.uniform(0.2, 0.8, (40, 40, 3)), np.ones((5, 5, 1))).astype(np.float32)
    plates = [_plate_of_sheet(camera, picture) for camera in cameras]
    views = SmallViews(template, cameras)
    for vertices, fits in ((flat, True), (flat + [0, 0, 0.3], False)):
        assert measure_fit(views, vertices, template.triangles, plates).fits == fits


def _plate_of_sheet(camera, picture):
    """`picture` on the plane z = 0, over [-1.25, 1.25], as a camera sees it."""
    y, x = np.mgrid[: camera.height, : camera.width] + 0.5
    rays = np.stack([(x - camera.cx) / camera.fx, (y - camera.cy) / camera.fy, np.ones_like(x)], -1) @ camera.rotation
    points = camera.centre - rays * (camera.centre[2] / rays[..., 2:])
    pixels = (points[..., :2].reshape(-1, 2) / 2.5 + 0.5) * picture.shape[0]
    return sample(picture, pixels).reshape(camera.height, camera.width, 3)


@pytest.mark.parametrize("noise", [0.0, 0.01])
def test_plates_that_show_nothing_tell_nothing(ball, noise):
    rng = np.random.default_rng(2)
    plates = [np.clip(0.5 + rng.normal(0, noise, p.shape), 0, 1).astype(np.float32) for p in ball.frames[0]]
    for vertices in (ball.template.vertices, scaled(ball, 1.3)):
        fit = fit_of(ball, vertices, plates)
        assert not fit.tells, fit


def test_what_two_cameras_do_not_see_is_not_judged(ball):
    plates = [ball.frames[0][0], None, None, None, None]
    assert fit_of(ball, scaled(ball, 1.3), plates) is None


def test_the_words_say_how_bad_it_is_and_what_would_be_better():
    fit = Fit(0.03, 0.05, 0.1, 0.81, 0.89, np.zeros(3), (0.03, 0.2, 0.02))
    assert "3 %" in in_words(fit, 1.0) and "81 % if it were about 0.89 times as large" in in_words(fit, 1.0)
    other = replace(fit, best=fit.given, shaped=(0.12, 0.32, 0.01))
    assert not other.has_the_shape and "32 % instead of 12 %: another head" in in_words(other, 1.0)
    moved = replace(fit, scale=1.0, shift=np.array([0, -0.02, 0]))
    assert "-20 mm along y" in in_words(moved, 1000.0)


class _Told(Progress):
    def __init__(self):
        self.told = []

    def warning(self, sentence):
        self.told.append(("warning", sentence))

    def frame(self, frame, path, metrics):
        self.told.append(("frame", frame))


def _track(ball, ball_folder, take_folder, vertices):
    capture = open_capture(ball_folder)
    request = TakeRequest(str(capture.source), capture.frames, capture.unit_mm)
    take = Take.create(take_folder, request, replace(ball.template, vertices=vertices), resume=True)
    told = _Told()
    track_take(take, capture, told)
    return told.told


def test_a_take_says_so_before_it_solves_a_frame_and_shows_it(ball, ball_folder, tmp_path):
    told = _track(ball, ball_folder, tmp_path / "take", scaled(ball, 1.1))
    picture = tmp_path / "take" / "fit_000001.png"
    kind, sentence = told[0]
    assert kind == "warning" and "does not seem to fit frame 1" in sentence and str(picture) in sentence
    assert [kind for kind, _ in told].count("warning") == 1 and ("frame", 2) in told
    metrics = Take.open(tmp_path / "take").metrics()
    assert metrics[1]["flags"] == ["does_not_fit"] and "does_not_fit" not in metrics[2]["flags"]
    assert "Frame 1: the mesh given here does not seem to lie on the head" in flagged(metrics)
    said = evaluate_take(Take.open(tmp_path / "take"), ball_folder / "truth.npz")["warnings"]
    assert any("given in frame 1 does not seem to lie on the head" in sentence for sentence in said)
    with Image.open(picture) as shown:
        assert shown.width > shown.height and np.ptp(np.asarray(shown.convert("L"))) > 100


@pytest.mark.parametrize("size", [0.3, 0.5, 1.8, 2.54])
def test_a_template_of_a_size_that_is_nowhere_near_is_not_taken_silently(ball, ball_folder, tmp_path, size):
    kind, sentence = _track(ball, ball_folder, tmp_path / "take", scaled(ball, size))[0]
    assert kind == "warning" and ("whether the template fits" in sentence or "not seem to fit" in sentence), sentence
    assert str(tmp_path / "take" / "fit_000001.png") in sentence and (tmp_path / "take" / "fit_000001.png").exists()


def test_a_take_with_the_right_template_says_nothing_and_leaves_no_picture(ball, ball_folder, tmp_path):
    (tmp_path / "take").mkdir()
    told = _track(ball, ball_folder, tmp_path / "take", ball.template.vertices)
    assert [kind for kind, _ in told] == ["frame", "frame"]
    assert not list((tmp_path / "take").glob("*.png"))
    assert Take.open(tmp_path / "take").metrics()[1]["flags"] == []
