"""Bakes against scenes whose colour map is known exactly, and the promises to whoever runs one."""

import re

import bake_scenes as scenes
import numpy as np
import pytest
from bake_scenes import Board
from PIL import Image

from topo4d_blender.core.errors import Cancelled, RequestError
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.template import Template
from topo4d_blender.core.texture import bake_take
from topo4d_blender.core.texture.frame import Canvas, bake_frame

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)
BLUE = Board((-0.12, -0.12, 0.12, 0.12), 0.3, (0.75, 0.75, 0.95, 0.95), scenes.plain(20, 40, 250))


class Notes(Progress):
    def __init__(self, stop_after=None):
        self.warnings, self.frames, self.total, self.done, self.stop_after = [], [], 0, 0, stop_after

    def stage(self, name, total, by_frame=False):
        self.total = total

    def advance(self, steps=1):
        self.done += steps

    def frame(self, frame, path, metrics):
        self.frames.append((frame, path, metrics))

    def warning(self, sentence):
        self.warnings.append(sentence)

    def cancelled(self):
        return self.stop_after is not None and self.done >= self.stop_after


def bake(boards, cameras, resolution=128, gains=None, template=None, plates=None):
    canvas = Canvas.of(template or scenes.template_of(boards), resolution)
    plates = plates if plates is not None else [scenes.film(c, boards) for c in cameras]
    gains = np.ones((len(cameras), 3)) if gains is None else gains
    given = [(k, np.rint(p * gains[k]).clip(0, 255).astype(np.uint8), None) for k, p in enumerate(plates)]
    vertices = (template or scenes.template_of(boards)).vertices
    texture, seen = bake_frame(canvas, vertices, cameras, given)
    return texture.astype(float), seen, canvas


@pytest.mark.parametrize("resolution", [64, 128, 512])
def test_texels_are_the_truth(resolution):
    texture, seen, _ = bake([WALL], scenes.rig(), resolution)
    truth, owner = scenes.truth([WALL], resolution)
    inner = (owner == 0) & seen
    assert seen[owner == 0].mean() > 0.8  # all but the margin at the rim
    error = np.abs(texture - truth)[inner]
    assert error.mean() < 1.0 and error.max() < 6.0


def test_fine_detail_is_in_its_place_and_keeps_its_contrast():
    fine = Board(
        WALL.box, 0.0, WALL.island, lambda u, v: 128 + 60 * (np.sin(100 * u) * np.cos(100 * v))[..., None] * np.ones(3)
    )  # eight plate pixels a wave: finer than the low frequencies that all cameras share
    for cameras in (scenes.rig(1, spread_deg=0), scenes.rig(5)):
        texture, seen, _ = bake([fine], cameras, 256)
        truth, owner = scenes.truth([fine], 256)
        inner = (owner == 0) & seen
        assert np.abs(texture - truth)[inner].mean() < 1.5  # half a pixel off is 12
        assert texture[inner].std() > 0.93 * truth[inner].std()


def test_nothing_is_seen_outside_the_islands_or_from_behind():
    _, seen, canvas = bake([WALL], scenes.rig())
    assert not seen[canvas.uv_map.ids < 0].any()
    backwards = scenes.template_of([WALL])
    flipped = Template(
        backwards.vertices, backwards.loops[::-1].copy(), backwards.face_starts, backwards.uv[::-1].copy()
    )
    _, seen, _ = bake([WALL], scenes.rig(), template=flipped)
    assert not seen.any()


def test_no_texel_shows_a_surface_that_stands_before_it():
    boards = [WALL, BLUE]
    texture, seen, _ = bake(boards, scenes.rig(7, spread_deg=35), 256)
    truth, owner = scenes.truth(boards, 256)
    wall = (owner == 0) & seen
    assert np.abs(texture - truth)[wall].max() < 12  # blue is more than 80 away from every colour of the wall
    assert np.abs(texture - truth)[(owner == 1) & seen].max() < 12
    assert 0.7 < seen[owner == 0].mean() < 0.999 or seen[owner == 0].all()


def test_what_no_camera_sees_is_filled_from_its_own_surface():
    boards = [WALL, BLUE]
    texture, seen, _ = bake(boards, scenes.rig(1, spread_deg=0), 256)
    _, owner = scenes.truth(boards, 256)
    hidden = (owner == 0) & ~seen
    assert hidden.sum() > 500  # what the blue board hides from the only camera
    colours = texture[hidden]
    assert colours[:, 0].min() > 60 and colours[:, 2].max() < 180  # the wall's range; blue is (20, 40, 250)


def test_cameras_of_different_gain_leave_no_trace():
    cameras = scenes.rig(6)
    gains = np.array(
        [[1.1, 1.0, 0.9], [0.85, 1.0, 1.1], [1.0, 1.12, 1.0], [1.0, 0.9, 1.1], [1.1, 1.1, 1.0], [0.95, 0.9, 0.9]]
    )
    gains /= np.exp(np.log(gains).mean(axis=0))  # what the bake takes as neutral
    even, _, _ = bake([WALL], cameras)
    texture, seen, _ = bake([WALL], cameras, gains=gains)
    error = np.abs(texture - even)[seen]
    assert error.mean() < 1.0 and np.percentile(error, 99) < 3.0


def test_a_camera_that_shows_something_else_is_outvoted():
    cameras = scenes.rig(7)
    plates = [scenes.film(c, [WALL]) for c in cameras]
    truth, owner = scenes.truth([WALL], 128)
    plates[2][40:60, 40:60] = 255  # a highlight, or a hand before one lens
    texture, seen, _ = bake([WALL], cameras, plates=plates)
    assert np.abs(texture - truth)[(owner == 0) & seen].mean() < 2.0


def test_plates_finer_than_the_texels_are_averaged_not_aliased():
    fine = Board(
        WALL.box, 0.0, WALL.island, lambda u, v: 128 + 100 * np.sin(2 * np.pi * 64 * u)[..., None] * np.ones(3)
    )
    texture, seen, _ = bake([fine], scenes.rig(3, size=400), 32)  # two waves a texel, ten plate pixels a texel
    _, owner = scenes.truth([fine], 32)
    inner = (owner == 0) & seen
    assert np.abs(texture[inner] - 128).max() < 12


def test_islands_are_continued_past_their_border():
    resolution = 256
    texture, _, canvas = bake([WALL], scenes.rig(), resolution)
    row, column = resolution // 2, round(0.65 * resolution)
    inside = texture[:, column - 1][canvas.uv_map.ids[:, column - 1] >= 0]
    outside = texture[:, column + 1][canvas.uv_map.ids[:, column - 1] >= 0]
    assert np.abs(inside - outside).max() < 12
    assert texture.min() > 30, row  # nothing black anywhere, so no mip level darkens at seams


def test_ignored_vertices_take_no_colour_from_the_plates():
    boards = [Board(WALL.box, 0.0, WALL.island, lambda u, v: np.where((v > 0.35)[..., None], 250.0, 60.0) * np.ones(3))]
    template = scenes.template_of(boards)
    ignore = (template.vertices[:, 1] > -0.05).astype(float)
    told = Template(template.vertices, template.loops, template.face_starts, template.uv, {"t4d_ignore": ignore})
    texture, seen, canvas = bake(boards, scenes.rig(), template=told)
    island = canvas.uv_map.ids >= 0
    upper = island & (np.arange(128)[:, None] < 80)
    assert not seen[upper].any() and texture[upper].max() < 120


def test_same_bits_every_time():
    first, _, _ = bake([WALL, BLUE], scenes.rig(4), 64)
    second, _, _ = bake([WALL, BLUE], scenes.rig(4), 64)
    np.testing.assert_array_equal(first, second)


def test_a_take_is_baked_frame_by_frame_with_proxies(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (7, 8))
    notes = Notes()
    assert bake_take(take, capture, 64, None, notes) == [7, 8]
    assert take.textured_frames() == [7, 8] and notes.done == notes.total and notes.warnings == []
    assert [f for f, _, _ in notes.frames] == [7, 8]
    with Image.open(take.texture_path(7)) as master, Image.open(take.proxy_path(7)) as proxy:
        assert master.size == (64, 64) and master.mode == "RGB" and "srgb" in master.info
        assert proxy.size == (64, 64)
    assert not [p for p in (take.folder / "texture").iterdir() if p.suffix != ".png"]


def test_resume_bakes_only_what_is_missing(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2, 3))
    bake_take(take, capture, 32, (1,))
    assert bake_take(take, capture, 32, None, resume=True) == [2, 3]
    take.proxy_path(2).unlink()
    assert bake_take(take, capture, 32, None, resume=True) == [2]
    take.texture_path(3).write_bytes(take.texture_path(3).read_bytes()[:-9])
    assert bake_take(take, capture, 32, None, resume=True) == [3]
    assert bake_take(take, capture, 32, None, resume=True) == []
    with pytest.raises(RequestError, match="resolution 32, not 64.*--overwrite"):
        bake_take(take, capture, 64, None, resume=True)
    assert bake_take(take, capture, 32, (1,), overwrite=True) == [1]


def test_frames_and_plates_that_are_missing(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2, 3))
    del capture.images[2]
    del capture.images[3]["c1"]
    notes = Notes()
    assert bake_take(take, capture, 32, None, notes) == [1, 3]
    assert len(notes.warnings) == 1 and "Frame 2 has no plates" in notes.warnings[0]
    with pytest.raises(RequestError, match="None of the frames"):
        bake_take(take, capture, 32, (2,))
    with pytest.raises(RequestError, match="9.*is not solved"):
        bake_take(take, capture, 32, (1, 9))
    with pytest.raises(RequestError, match="16 to 16384"):
        bake_take(take, capture, 0)


def test_a_frame_with_a_plate_that_cannot_be_read_is_skipped_until_it_is_mended(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2, 3))
    plate = capture.images[2]["c1"]
    whole = plate.read_bytes()
    plate.write_bytes(whole[: len(whole) // 2])
    notes = Notes()
    assert bake_take(take, capture, 32, None, notes) == [1, 3]
    assert len(notes.warnings) == 1 and str(plate) in notes.warnings[0] and "frame 2 is skipped" in notes.warnings[0]
    assert take.textured_frames() == [1, 3] and notes.done == notes.total
    plate.write_bytes(b"")
    with pytest.raises(RequestError, match=re.escape(str(plate))):  # nothing else is left to bake
        bake_take(take, capture, 32, None, resume=True)
    plate.write_bytes(whole)
    assert bake_take(take, capture, 32, None, resume=True) == [2]


def test_a_template_without_uv_is_refused_before_anything_is_read(tmp_path):
    template = scenes.template_of([WALL])
    bare = Template(template.vertices, template.loops, template.face_starts)
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(1), template=bare)
    with pytest.raises(RequestError, match="no UV map"):
        bake_take(take, capture, 32)


def test_cancelling_keeps_whole_frames_alone(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    with pytest.raises(Cancelled):
        bake_take(take, capture, 32, None, Notes(stop_after=90))
    assert take.textured_frames() == [1]
    assert [p.name for p in (take.folder / "texture").iterdir()] == ["000001.png"]


def test_masked_pixels_are_not_used(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(1, spread_deg=0))
    mask = np.full((100, 100), 255, np.uint8)
    mask[:, :50] = 0
    Image.fromarray(mask).save(tmp_path / "mask.png")
    capture.masks[1] = {"c0": tmp_path / "mask.png"}
    notes = Notes()
    bake_take(take, capture, 64, None, notes)
    masked = notes.frames[0][2]["seen_share"]
    capture.masks.clear()
    bake_take(take, capture, 64, None, notes, overwrite=True)
    assert 0.3 < masked / notes.frames[1][2]["seen_share"] < 0.7
