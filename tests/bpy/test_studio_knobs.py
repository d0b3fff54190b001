"""What makes a film hard: drifting light, cameras that differ and fail, calibrations that err, what the mesh lacks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topo4d_blender.core.capture import open_capture, read_plate
from topo4d_blender.core.capture.read_capture_json import read_capture_json
from topo4d_blender.core.template import Template, read_template
from topo4d_blender.studio.look import Light, Look
from topo4d_blender.studio.rig import Fault, Rig, Sensor, camera_gains, disturb_calibration, place_cameras

POINTS = np.random.default_rng(0).uniform(-0.1, 0.1, (400, 3))
QUIET = Sensor(gain=0.0, read_noise=0.0, shot_noise=0.0, jpeg_quality=100)
FLAT = Look(skin=False, samples=1, background=0.0)


def linear(picture: np.ndarray) -> np.ndarray:
    share = picture / 255.0
    return np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)


def sheet(side: int, size: float, z: float = 0.0) -> Template:
    """A flat grid of side x side squares that looks along +z."""
    x, y = np.meshgrid(np.linspace(-size, size, side + 1), np.linspace(-size, size, side + 1))
    vertices = np.stack([x.ravel(), y.ravel(), np.full(x.size, z)], axis=1)
    corner = (np.arange(side)[:, None] * (side + 1) + np.arange(side)).ravel()
    loops = (corner[:, None] + np.array([0, 1, side + 2, side + 1])).ravel().astype(np.int32)
    uv = (vertices[loops, :2] / (2 * size) + 0.5).astype(np.float32)
    return Template(vertices, loops, np.arange(0, len(loops) + 1, 4, dtype=np.int32), uv)


def film(out, frames=1, **options):
    pytest.importorskip("bpy")
    from topo4d_blender.studio.film import film_sequence

    template = sheet(8, 0.1)
    shapes = np.repeat(template.vertices[None], frames, axis=0)
    options = {"rig": Rig(3, 48, 64, arc=40.0), "sensor": QUIET, "look": FLAT} | options
    film_sequence(shapes, template, options.pop("texture", np.full((8, 8, 3), 188, np.uint8)), out, **options)
    return open_capture(out)


def test_cameras_of_several_sizes_keep_the_subject_in_view():
    cameras = place_cameras(Rig(6, 90, 120, scales=(1.0, 0.5, 0.8)), POINTS, 1000.0)
    assert [(c.width, c.height) for c in cameras[:3]] == [(90, 120), (45, 60), (72, 96)]
    for camera, whole in zip(cameras, place_cameras(Rig(6, 90, 120), POINTS, 1000.0), strict=True):
        pixels = camera.project(POINTS)[0]
        assert (pixels > 0).all() and (pixels < (camera.width, camera.height)).all()
        assert np.allclose(pixels / camera.width, whole.project(POINTS)[0] / whole.width)


@pytest.mark.parametrize("pixels", [0.2, 1.0])
def test_a_calibration_errs_by_as_many_pixels_as_asked(pixels):
    cameras = place_cameras(Rig(8, 300, 400), POINTS, 1000.0)
    wrong = disturb_calibration(cameras, POINTS, pixels, seed=3)
    for camera, other in zip(cameras, wrong, strict=True):
        moved = other.project(POINTS)[0] - camera.project(POINTS)[0]
        assert np.sqrt((moved**2).sum(axis=1).mean()) == pytest.approx(pixels, rel=0.15)
        assert np.allclose(other.rotation @ other.rotation.T, np.eye(3))
    again = disturb_calibration(cameras, POINTS, pixels, seed=3)
    assert all((a.world_to_camera == b.world_to_camera).all() for a, b in zip(wrong, again, strict=True))


def test_gains_are_gray_and_still_unless_asked_otherwise():
    still = camera_gains(Sensor(gain=0.1, seed=4), 5, frame=1)
    assert (still == still[:, :1]).all() and (np.abs(still - 1.0) <= 0.1).all() and np.ptp(still) > 0.01
    assert (still == camera_gains(Sensor(gain=0.1, seed=4), 5, frame=30)).all()
    balanced = camera_gains(Sensor(gain=0.1, balance=0.05, seed=4), 5, frame=1)
    assert (balanced[:, 1] == still[:, 1]).all() and np.abs(balanced / still - 1.0)[:, [0, 2]].min() > 0.0
    drifting = np.stack([camera_gains(Sensor(gain=0.1, drift=0.05, seed=4), 5, frame) for frame in range(60)])
    assert np.abs(drifting / still - 1.0).max() <= 0.05 + 1e-9
    assert np.ptp(drifting, axis=0).min() > 0.05


@pytest.mark.bpy
def test_faults_spoil_their_camera_in_their_frames_and_nothing_else(tmp_path):
    texture = np.random.default_rng(1).integers(60, 200, (64, 64, 3)).astype(np.uint8)
    faults = (Fault(0, 2, 2, blur=2.0), Fault(1, 2, 3, dropped=True), Fault(2, 1, 1, hidden=0.5))
    whole = film(tmp_path / "whole", 3, texture=texture)
    spoilt = film(tmp_path / "spoilt", 3, texture=texture, sensor=replace(QUIET, faults=faults))
    assert spoilt.frames == (1, 2, 3) and any("cam01" in warning for warning in spoilt.warnings)
    for frame in (1, 2, 3):
        for index in range(3):
            name = f"cam{index:02d}"
            if (frame, index) in ((2, 1), (3, 1)):
                assert name not in spoilt.images[frame]
                continue
            one, two = (read_plate(capture.images[frame][name]).astype(float) for capture in (whole, spoilt))
            if (frame, index) == (2, 0):
                assert np.abs(np.diff(two, axis=1)).mean() < 0.5 * np.abs(np.diff(one, axis=1)).mean()
                assert linear(two).mean() == pytest.approx(linear(one).mean(), rel=0.02)
            elif (frame, index) == (1, 2):
                assert np.ptp(two[:, :24]) == 0 and (one[:, 24:] == two[:, 24:]).all()
            else:
                assert (one == two).all()


@pytest.mark.bpy
@pytest.mark.parametrize(
    "look",
    [
        Look(lights=(), ambient=0.5, samples=1, drift=0.2, drift_period=8.0),
        Look(lights=(Light((0.0, 0.0, 1.0), 12.0, 0.1),), ambient=0.0, gloss=0.0, samples=64, drift=0.2),
    ],
    ids=["ambient", "a lamp"],
)
def test_light_drifts_by_as_much_as_the_look_says(tmp_path, look):
    """Pictures are linear in the light, so two frames' linear values differ by the ratio of the lights."""
    capture = film(tmp_path / "film", 3, look=replace(look, background=0.0), rig=Rig(1, 48, 64))
    plates = [linear(read_plate(capture.images[frame]["cam00"]))[24:40, 18:30].mean(axis=(0, 1)) for frame in (1, 2, 3)]
    looks = [look.at(frame) for frame in (1, 2, 3)]
    power = [np.multiply(at.lights[0].colour, at.lights[0].watts) if at.lights else at.ambient for at in looks]
    assert np.ptp([np.mean(p) for p in power]) / np.mean(power) > 0.05
    for one, other in ((0, 1), (1, 2)):
        assert np.allclose(plates[one] / plates[other], np.divide(power[one], power[other]), rtol=0.02)


@pytest.mark.bpy
def test_a_prop_is_filmed_and_hides_but_is_no_part_of_the_template(tmp_path):
    from topo4d_blender.studio.film import Prop

    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    card = sheet(1, 0.05, z=0.04)  # farther before the sheet than its edges are long
    card = replace(card, vertices=card.vertices + np.array([-0.05, 0.05, 0.0]))
    away = card.vertices + np.array([0.1, 0.0, 0.0])
    rig = place_cameras(Rig(3, 48, 64, arc=10.0, elevations=(0.0,), rolls=(0.0,)), sheet(8, 0.1).vertices, 1000.0)
    capture = film(tmp_path / "film", 2, prop=Prop(np.stack([card.vertices, away]), card, red), rig=rig)
    assert len(read_template(tmp_path / "film" / "start.obj").vertices) == 81
    for frame, centre in ((1, card.vertices.mean(axis=0)), (2, away.mean(axis=0))):
        for camera in capture.cameras:
            picture = read_plate(capture.images[frame][camera.name]).astype(float)
            red_there = (picture[..., 0] > 200) & (picture[..., 1] < 50)
            y, x = np.nonzero(red_there)
            assert np.abs(np.array([x.mean(), y.mean()]) + 0.5 - camera.project(centre[None])[0][0]).max() < 0.6
    mask = np.load(tmp_path / "film" / "truth.npz")["face_mask"].reshape(9, 9)
    assert not mask[5:, :4].any() and mask[1:4, 1:8].all() and mask[1:8, 6:8].all()


@pytest.mark.bpy
def test_a_wrong_calibration_is_written_while_pictures_and_truth_keep_the_true_one(tmp_path):
    cameras = place_cameras(Rig(3, 48, 64, arc=40.0), sheet(8, 0.1).vertices, 1000.0)
    wrong = disturb_calibration(cameras, sheet(8, 0.1).vertices, 2.0)
    true, told = film(tmp_path / "true", rig=cameras), film(tmp_path / "told", rig=cameras, calibration=wrong)
    for name in ("cam00", "cam01", "cam02"):
        assert true.images[1][name].read_bytes() == told.images[1][name].read_bytes()
    assert [c.cx for c in told.cameras] == pytest.approx([c.cx for c in wrong])
    kept = read_capture_json(tmp_path / "told" / "truth_cameras.json").cameras
    assert [c.cx for c in kept] == pytest.approx([c.cx for c in cameras])
