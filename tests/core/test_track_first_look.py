"""A template that no camera sees is refused with its size in words, and nothing of the refusal stays in a good take."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.track import track_take
from topo4d_blender.core.track.in_view import framed_size, size_in_words


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (1.0, []),
        (2.0, []),
        (1000.0, ["1,000 times too large", "in millimetres", "capture in metres"]),
        (39.37, ["39.37 times too large", "in inches"]),
        (100.0, ["100 times too large", "in centimetres"]),
        (0.001, ["times too small"]),
    ],
)
def test_the_size_of_a_template_in_another_unit_is_said(ball, factor, words):
    said = size_in_words(factor * ball.template.vertices, ball.cameras, 1000.0)
    assert bool(said) == bool(words) and all(word in said for word in words), said


def test_a_capture_in_millimetres_says_so_of_a_template_in_metres(ball):
    cameras = tuple(_in_millimetres(camera) for camera in ball.cameras)
    assert "in metres, and the capture in millimetres" in size_in_words(ball.template.vertices, cameras, 1.0)
    assert size_in_words(1000 * ball.template.vertices, cameras, 1.0) == ""


def _in_millimetres(camera):
    matrix = camera.world_to_camera.copy()
    matrix[:3, 3] *= 1000
    return replace(camera, world_to_camera=matrix)


def test_what_the_cameras_frame_is_measured_at_the_ball(ball):
    camera = ball.cameras[0]
    depth = float(np.median(camera.project(ball.template.vertices)[1]))
    assert framed_size(ball.cameras) == pytest.approx(depth * camera.height / camera.fy, rel=0.1)


def test_one_camera_knows_no_place(ball):
    assert framed_size(ball.cameras[:1]) is None
    assert size_in_words(1000 * ball.template.vertices, ball.cameras[:1], 1000.0) == ""


def test_a_refusal_names_the_size_and_its_picture_goes_when_the_take_starts_well(ball, ball_folder, tmp_path):
    capture = open_capture(ball_folder)
    request = TakeRequest(str(capture.source), capture.frames, capture.unit_mm)
    far = replace(ball.template, vertices=1000 * ball.template.vertices)
    with pytest.raises(RequestError, match="1,000 times too large: is it in millimetres"):
        track_take(Take.create(tmp_path / "take", request, far), capture)
    assert (tmp_path / "take" / "not_in_view.png").exists()
    track_take(Take.create(tmp_path / "take", request, ball.template), capture)
    assert not list((tmp_path / "take").glob("*.png"))
