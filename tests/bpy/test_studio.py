"""The film studio: pictures agree with their calibration, truth with its template, and films can be gone on with."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from topo4d_blender.core.capture import open_capture, read_plate
from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.template import Template, read_template
from topo4d_blender.studio.look import Look
from topo4d_blender.studio.rig import Rig, Sensor, place_cameras

pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

QUIET = Sensor(gain=0.0, read_noise=0.0, shot_noise=0.0, jpeg_quality=100)


def small_film(**changes):
    from topo4d_blender.studio.film import Film

    film = Film(
        vertices=500,
        frames=2,
        texture=128,
        rig=Rig(cameras=3, width=96, height=128, arc=50.0),
        look=Look(samples=2),
    )
    return replace(film, **changes)


def markers(centres: np.ndarray, size: float) -> Template:
    """Small squares that look along +z, one a centre."""
    square = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]) * size / 2
    vertices = (centres[:, None] + square).reshape(-1, 3)
    loops = np.arange(len(vertices), dtype=np.int32)
    uv = np.full((len(loops), 2), 0.5, np.float32)
    return Template(vertices, loops, np.arange(0, len(loops) + 1, 4, dtype=np.int32), uv)


@pytest.mark.parametrize("unit_mm", [1000.0, 10.0])
def test_a_marker_is_rendered_where_the_calibration_projects_it(tmp_path, unit_mm):
    """One marker a frame: the centroid of a picture's light tells principal point, roll and focal length."""
    from topo4d_blender.studio.film import film_sequence

    centres = (
        np.array([[0.0, 0.0, 0.0], [0.11, 0.08, 0.03], [-0.12, -0.06, -0.05], [0.05, -0.11, 0.08]]) * 1000 / unit_mm
    )
    template = markers(centres[:1], 0.008 * 1000 / unit_mm)
    shapes = np.stack([template.vertices - centres[0] + centre for centre in centres])
    corners = np.array([[x, y, z] for x in (-0.15, 0.15) for y in (-0.15, 0.15) for z in (-0.1, 0.1)]) * 1000 / unit_mm
    rig = Rig(cameras=4, width=90, height=120, arc=60, rolls=(0.0, 90.0, -90.0, 30.0), jitter=2.0)
    cameras = place_cameras(rig, corners, unit_mm)
    assert all(abs(c.cx - 45) > 0.5 or abs(c.cy - 60) > 0.5 for c in cameras)
    look = Look(skin=False, samples=256, background=0.0)
    white = np.full((8, 8, 3), 255, np.uint8)
    film_sequence(shapes, template, white, tmp_path / "film", unit_mm=unit_mm, rig=cameras, sensor=QUIET, look=look)

    capture = open_capture(tmp_path / "film")
    for frame, shape in zip(capture.frames, shapes, strict=True):
        for camera in capture.cameras:
            picture = read_plate(capture.images[frame][camera.name]).mean(axis=2) / 255.0
            light = np.where(picture <= 0.04045, picture / 12.92, ((picture + 0.055) / 1.055) ** 2.4)
            y, x = np.indices(light.shape) + 0.5
            seen = np.array([(light * x).sum(), (light * y).sum()]) / light.sum()
            expected = camera.project(shape)[0].mean(axis=0)
            assert np.abs(seen - expected).max() < 0.05, (camera.name, frame, seen, expected)


def test_the_studio_refuses_a_lens_it_cannot_film(tmp_path):
    from topo4d_blender.studio.film import film_sequence

    template = markers(np.zeros((1, 3)), 0.01)
    camera = replace(place_cameras(Rig(1, 32, 32), template.vertices, 1000.0)[0], distortion=(0.1, 0, 0, 0, 0))
    with pytest.raises(RequestError, match="cam00"):
        film_sequence(template.vertices[None], template, np.zeros((4, 4, 3), np.uint8), tmp_path / "f", rig=[camera])


def test_a_film_is_a_capture_with_its_truth_goes_on_and_repeats_itself(tmp_path):
    from topo4d_blender.studio.film import film_is_whole, film_suzanne

    film, out = small_film(), tmp_path / "film"
    film_suzanne(film, out)
    assert film_is_whole(out, film.key, cameras=3, frames=2)

    capture = open_capture(out)
    assert capture.frames == (1, 2) and capture.unit_mm == 1000.0 and not capture.warnings
    truth = np.load(out / "truth.npz")
    start = read_template(out / "start.obj")
    assert truth["vertices"].shape == (2, len(start.vertices), 3)
    assert np.abs(start.vertices - truth["vertices"][0]).max() < 1e-6  # in metres: the .obj keeps six digits
    assert np.diff(start.face_starts).max() == 4 and start.uv is not None
    assert 0.1 < truth["face_mask"].mean() < 0.8
    assert np.abs(truth["vertices"][1] - truth["vertices"][0]).max() > 1e-4

    plates = sorted((out / "images").glob("*/*"))
    before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in plates}
    plates[3].unlink()
    (out / "capture.json").unlink()
    assert not film_is_whole(out, film.key, cameras=3, frames=2)
    film_suzanne(film, out)  # goes on: makes the one that is missing, the same to the bit, and no other
    for path in plates:
        assert path.read_bytes() == before[path][0]
        assert (path.stat().st_mtime_ns == before[path][1]) == (path != plates[3])

    with pytest.raises(RequestError, match="another film"):
        film_suzanne(small_film(seed=1), out)
    assert sorted((out / "images").glob("*/*")) == plates


def test_the_seed_changes_skin_and_performance():
    from topo4d_blender.studio import performance, suzanne
    from topo4d_blender.studio.scene import suzanne_mesh

    model = suzanne_mesh(500)
    assert len(model.vertices) == 507
    textures = [suzanne.paint(model, 64, seed)[0] for seed in (0, 0, 1)]
    assert (textures[0] == textures[1]).all() and (textures[0] != textures[2]).any()
    shows = [performance.perform(model.vertices, 4, seed) for seed in (0, 0, 1)]
    assert (shows[0] == shows[1]).all() and (shows[0] != shows[2]).any()


def test_the_performance_is_smooth_and_at_most_8_mm_a_frame_on_a_head_180_mm_wide():
    from topo4d_blender.studio import performance, suzanne
    from topo4d_blender.studio.scene import suzanne_mesh

    model = suzanne_mesh(2000)
    skull = model.vertices[model.vertices[:, 1] > 0.48]
    unit = suzanne.millimetres(model.vertices)
    assert np.ptp(skull[:, 0]) * unit == pytest.approx(180.0)
    for seed in range(3):
        shapes = performance.perform(model.vertices, 24, seed) * unit
        assert np.allclose(shapes[0], model.vertices * unit)
        steps = np.linalg.norm(np.diff(shapes, axis=0), axis=2)
        assert 5.0 < steps.max() < 8.0
        assert np.linalg.norm(np.diff(shapes, n=2, axis=0), axis=2).max() < 5.0
        assert (performance.perform(model.vertices, 6, seed) * unit == shapes[:6]).all()


def test_suzannes_uv_map_does_not_overlap():
    from topo4d_blender.core.raster import rasterise
    from topo4d_blender.studio.scene import suzanne_mesh

    model = suzanne_mesh(2000)
    a, b, c = (model.uv[model.triangle_loops[:, k]].astype(float) for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area > 0).all()
    ids, _ = rasterise(model.uv * 1024, np.ones(len(model.uv)), model.triangle_loops, 1024, 1024)
    assert (ids >= 0).mean() == pytest.approx(area.sum() / 2, rel=0.003)  # covered once: as much as the areas add up to
