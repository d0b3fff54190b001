"""The report: its pictures lie where the plates say, and the page says what the scores say and needs nothing else."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from synthetic import make_capture

from topo4d_blender.core.capture import open_capture, read_plate
from topo4d_blender.core.evaluate import evaluate_take
from topo4d_blender.core.report import write_report
from topo4d_blender.core.report.pictures import choose_cameras, spread
from topo4d_blender.core.report.views import Drawn, crop_plate, finish, make_view
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.template import read_template
from topo4d_blender.core.texture import bake_take


@pytest.fixture(scope="module")
def filmed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ball")
    truth = make_capture(folder, frames=2, cameras=4)
    return open_capture(folder), read_template(folder / "start.obj"), truth


def track_with_error(folder, capture, template, truth, shift):
    """A take that is off by `shift` along x in every frame but the first."""
    take = Take.create(folder, TakeRequest(str(capture.source), capture.frames, capture.unit_mm), template)
    for row, (frame, vertices) in enumerate(zip(capture.frames, np.load(truth)["vertices"], strict=True)):
        moved = vertices + np.array([shift if row else 0.0, 0.0, 0.0], np.float32)
        take.write_geometry(frame, moved, {"seconds": 1.5, "residual_px": {"cam00": 0.25}})
    return take


@pytest.mark.parametrize("roll", [0, 90, 180, 270])
def test_the_mesh_covers_its_plate_and_stands_upright(filmed, roll):
    capture, template, _ = filmed
    camera = capture.cameras[0]
    plate = read_plate(capture.images[1][camera.name], camera)
    # The camera mounted sideways: the same picture turned, the same rays.
    for _ in range(roll // 90):
        plate = np.rot90(plate)  # anticlockwise: (x, y) -> (y, width - x)
        turn = np.array([[0.0, 1.0, 0.0, 0.0], [-1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 0.0, 1.0]])
        camera = replace(
            camera,
            width=camera.height,
            height=camera.width,
            cx=camera.cy,
            cy=camera.width - camera.cx,
            world_to_camera=turn @ camera.world_to_camera,
        )
    view = make_view(camera, template.vertices, height=200)
    drawn = Drawn(view, template, template.vertices)
    white = finish(view, drawn.coloured(np.full((len(template.vertices), 3), 255.0)))
    ground = np.median(plate[:5].reshape(-1, 3), axis=0)
    filled = np.abs(finish(view, crop_plate(view, plate)).astype(float) - ground).max(axis=2) > 12
    covered = white.min(axis=2) > 60
    assert (covered & filled).sum() / (covered | filled).sum() > 0.95
    assert abs(white.shape[0] - 200) <= 1

    height = np.interp(template.vertices[:, 1], np.percentile(template.vertices[:, 1], [0, 100]), [0, 255])
    picture = finish(view, drawn.coloured(np.repeat(height[:, None], 3, axis=1)))
    rows = np.nonzero(covered.any(axis=1))[0]
    quarter = len(rows) // 4
    top, bottom = picture[rows[:quarter]], picture[rows[-quarter:]]
    assert top[covered[rows[:quarter]]].mean() > 2 * bottom[covered[rows[-quarter:]]].mean()


def test_a_worn_texture_shows_each_surface_point_its_own_texel(filmed):
    capture, template, _ = filmed
    resolution = 64
    x, y = np.meshgrid(np.arange(resolution) + 0.5, np.arange(resolution) + 0.5)
    texture = np.stack([x, resolution - y, np.zeros_like(x)], axis=2) * 255.0 / resolution  # the colour is the UV
    view = make_view(capture.cameras[0], template.vertices)
    picture = Drawn(view, template, template.vertices).textured(texture.astype(np.float32))
    corners = template.triangle_loops
    centre = template.vertices[template.loops[corners]].mean(axis=1)
    normal = np.cross(*(template.vertices[template.loops[corners[:, k]]] - centre for k in (0, 1)))
    towards = view.camera.centre - centre
    facing = (normal * towards).sum(1) > 0.5 * np.linalg.norm(normal, axis=1) * np.linalg.norm(towards, axis=1)
    pixels = view.camera.project(centre)[0][facing].astype(int)
    expected = template.uv[corners].mean(axis=1)[facing] * 255.0
    inside = ((expected > 8) & (expected < 247)).all(axis=1)
    assert inside.sum() > 50
    seen = picture[pixels[inside, 1], pixels[inside, 0], :2]
    assert np.abs(seen - expected[inside]).max() < 3.0


def test_the_page_says_what_the_scores_say_and_needs_nothing_else(tmp_path, filmed):
    capture, template, truth = filmed
    take = track_with_error(tmp_path / "take", capture, template, truth, shift=0.0012)  # 1.2 mm
    take.texture_path(1).parent.mkdir()
    Image.fromarray(np.full((16, 16, 3), 128, np.uint8)).save(take.texture_path(1))
    scores = evaluate_take(take, truth)
    write_report(tmp_path / "report.html", take, capture, scores, truth, {"track <all>": 75.0})
    page = (tmp_path / "report.html").read_text("utf-8")
    assert f"{scores['overall']['vertex_error_mm']['mean']:.3f}" == "0.600" and "0.600" in page
    assert "1:15" in page and "track &lt;all&gt;" in page and "largest mean error" in page and "16 × 16" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page)
    assert page.count("<svg") == 2


def test_a_take_without_truth_texture_or_a_plate_has_a_report_too(tmp_path, filmed):
    capture, template, truth = filmed
    take = track_with_error(tmp_path / "take", capture, template, truth, shift=0.0)
    images = {1: capture.images[1]}
    write_report(tmp_path / "report.html", take, replace(capture, images=images))
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Scores" not in page and "Texture" not in page and "2 of 2" in page


def test_samples_and_cameras_are_spread():
    assert spread(list(range(100)), 3) in ([0, 50, 99], [0, 49, 99])
    assert spread([4, 7], 5) == [4, 7]


def test_the_first_camera_stands_in_the_middle_and_the_others_apart(filmed):
    capture, *_ = filmed
    chosen = choose_cameras(capture.cameras, 3)
    assert len({camera.name for camera in chosen}) == 3
    centres = np.array([camera.centre for camera in capture.cameras])
    distance = np.linalg.norm(centres - centres.mean(axis=0), axis=1)
    assert chosen[0] is capture.cameras[int(distance.argmin())]
    assert len(choose_cameras(capture.cameras, 99)) == len(capture.cameras)


def test_a_take_with_maps_as_exr_wears_them_and_one_of_several_tiles_goes_without(tmp_path, filmed):
    capture, template, truth = filmed
    take = track_with_error(tmp_path / "take", capture, template, truth, shift=0.0)
    bake_take(take, capture, 64, (1,), format="exr")
    write_report(tmp_path / "exr.html", take, capture)
    assert "64 × 64" in (tmp_path / "exr.html").read_text("utf-8")
    tiles = replace(take.maps.request, tiles=(1001, 1002))
    take.maps.begin(tiles)
    write_report(tmp_path / "tiles.html", take, capture)
    assert "64 × 64" not in (tmp_path / "tiles.html").read_text("utf-8")
