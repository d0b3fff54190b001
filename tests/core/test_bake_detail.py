"""Detail: what back-projection brings back, what half-size blending keeps, and what an artist may ask for."""

import json
from dataclasses import replace

import bake_scenes as scenes
import numpy as np
import pytest
from bake_scenes import Board

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.texture import bake_take
from topo4d_blender.core.texture.backproject import back_project
from topo4d_blender.core.texture.blend import linear_values
from topo4d_blender.core.texture.fill import extend
from topo4d_blender.core.texture.frame import Canvas, paint, solve_frame
from topo4d_blender.core.texture.layout import lay_out
from topo4d_blender.core.texture.painter import open_painter
from topo4d_blender.core.texture.plan import Choice, texels_a_pixel
from topo4d_blender.core.texture.uv import EMPTY, UvMap, map_uv

WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)


def pores(u, v):
    """Waves of three pixels of a plate of 100, along either axis."""
    return 128 + 40 * (np.sin(265 * u) + np.cos(265 * v))[..., None] / 2 * np.ones(3)


FINE = Board(WALL.box, 0.0, WALL.island, pores)


def solve(board, cameras, resolution=256):
    template = scenes.template_of([board])
    canvas = Canvas.of(template, resolution)
    plates = [np.rint(scenes.film(c, [board])).clip(0, 255).astype(np.uint8) for c in cameras]
    given = [(k, p, None) for k, p in enumerate(plates)]
    return canvas, solve_frame(canvas, template.vertices, cameras, given, lambda: None)


def with_strength(solved, strength):
    return replace(solved, choice=replace(solved.choice, strength=strength))


def test_back_projection_comes_nearer_to_the_truth_than_blending():
    canvas, solved = solve(FINE, scenes.rig(7, spread_deg=20))
    truth, owner = scenes.truth([FINE], 256)
    errors, contrasts = [], []
    for strength in (0.0, 1.0):
        texture, coverage = paint(canvas, with_strength(solved, strength), np.uint16)
        inner = (owner == 0) & (coverage > 0)
        errors.append(np.square(texture / 257 - truth)[inner].mean())
        contrasts.append(np.polyfit(truth[inner].ravel(), (texture / 257)[inner].ravel(), 1)[0])
    assert 10 * np.log10(errors[0] / errors[1]) > 1.0  # dB
    assert contrasts[0] < contrasts[1] < 1.05


def test_a_map_that_gives_the_plates_is_left_as_it_is():
    canvas, solved = solve(WALL, scenes.rig(5))
    truth, owner = scenes.truth([WALL], 256)
    before = np.rint(np.where((owner == 0)[..., None], truth, 0) * 257).astype(np.uint16)
    extend(before, owner == 0, 4)
    linear = linear_values(solved.vertices, solved.views, solved.scores, solved.colours, solved.shifts)
    after = before.copy()
    span = texels_a_pixel(solved.order, linear, canvas.triangles, canvas.uv_map.corners)
    assert 1.8 < span < 2.0  # 0.6 * 256 texels along what spans 80 px
    back_project(
        after, canvas.uv_map, span, 1.0, solved.order, canvas.triangles, canvas.ignored, solved.views, linear,
        solved.colours.gains, solved.choice.power,
    )  # fmt: skip
    _, coverage = paint(canvas, solved)
    changed = np.abs(after / 257 - before / 257)[coverage > 0]
    assert changed.mean() < 0.4 and changed.max() < 3  # plates are rounded to whole levels


def test_texels_that_no_camera_sees_get_nothing_back():
    canvas, solved = solve(FINE, scenes.rig(3))
    one, coverage = paint(canvas, with_strength(solved, 0.0))
    two, _ = paint(canvas, with_strength(solved, 1.0))
    changed, unseen = (one != two).any(axis=-1), (canvas.uv_map.ids >= 0) & (coverage == 0)
    assert changed[coverage > 0].any() and unseen.any() and not changed[unseen].any()


@pytest.mark.parametrize("device", ["cpu", "cpu:0"])
def test_a_neighbour_on_another_tile_adds_nothing(device):
    """It lies elsewhere in UV, and its colour is not to be held against what is at this tile's border: nothing."""
    if device != "cpu":
        pytest.importorskip("torch")
    dark = Board((-0.495, -0.5, 0.505, 0.5), 0.0, (0.6, 0.05, 1.2, 0.65), scenes.plain(16, 16, 16))
    template, cameras = scenes.template_of([dark]), scenes.rig(7, spread_deg=20)
    right = template.uv.reshape(-1, 4, 2)[..., 0].mean(axis=1) > 0.9  # half of a quad's pixels at the cut are theirs
    template.uv[np.repeat(right, 4), 0] += 0.4
    layout, painter = lay_out(template), open_painter(device)
    assert layout.tiles == (1001, 1002)
    given = [(k, np.rint(scenes.film(c, [dark])).astype(np.uint8), None) for k, c in enumerate(cameras)]
    for tile in layout.tiles:
        canvas = Canvas.of(template, 512, map_uv(template, 512, layout, tile, device))
        solved = painter.solve(canvas, template.vertices, cameras, given, lambda: None)
        texture, coverage = painter.paint(canvas, with_strength(solved, 1.0), np.uint16)
        assert (coverage > 0).any() and np.abs(texture[coverage > 0] / 257 - 16).max() < 0.5


def test_half_a_uv_map_covers_what_the_whole_does():
    whole = map_uv(scenes.template_of([WALL]), 64)
    half = whole.halved()
    covered = (whole.ids >= 0).reshape(32, 2, 32, 2).any(axis=(1, 3))
    assert half.resolution == 32 and np.array_equal(half.ids >= 0, covered)
    some = (whole.ids != EMPTY).reshape(32, 2, 32, 2).any(axis=(1, 3))
    assert np.array_equal(half.ids != EMPTY, some)
    assert isinstance(half, UvMap) and np.allclose(half.corners * 2, whole.corners)


def test_what_is_continued_is_the_mean_of_what_it_touches():
    texture, known = np.zeros((5, 5, 3), np.uint8), np.zeros((5, 5), bool)
    texture[2, 1], texture[2, 3], known[2, [1, 3]] = 10, 31, True
    extend(texture, known, 1)
    assert (texture[2, 2] == 21).all() and (texture[1, 0] == 10).all() and (texture[3, 4] == 31).all()
    assert known.sum() == 2 and (texture[0] == 0).all()


def test_a_head_that_comes_nearer_is_drawn_as_finely_as_before():
    template, cameras = scenes.template_of([WALL]), scenes.rig(3)
    nearer = [replace(c, fx=1.25 * c.fx, fy=1.25 * c.fy) for c in cameras]
    canvas = Canvas.of(template, 128)

    def solve(views, before=None):
        plates = [(k, np.rint(scenes.film(c, [WALL])).astype(np.uint8), None) for k, c in enumerate(views)]
        return solve_frame(canvas, template.vertices, views, plates, lambda: None, before)

    first, alone = solve(cameras), solve(nearer)
    assert alone.measured.span == pytest.approx(first.measured.span / 1.25, rel=0.02)
    assert solve(nearer, (first.colours, first.measured)).measured.span == first.measured.span


def test_more_detail_is_fewer_views_and_more_grain():
    views = [Choice.asked(d).views for d in (0.0, 0.5, 1.0)]
    assert views == [16, 4, 1]
    rng = np.random.default_rng(0)
    template, cameras = scenes.template_of([WALL]), scenes.rig(9)
    canvas = Canvas.of(template, 256)
    plates = [scenes.film(c, [WALL]) + rng.normal(0, 6, (100, 100, 3)) for c in cameras]
    given = [(k, np.rint(p).clip(0, 255).astype(np.uint8), None) for k, p in enumerate(plates)]
    truth, owner = scenes.truth([WALL], 256)
    grain = []
    for detail in (0.0, 0.5, 1.0):
        solved = solve_frame(canvas, template.vertices, cameras, given, lambda: None, None, detail)
        texture, coverage = paint(canvas, solved)
        grain.append((texture - truth)[(owner == 0) & (coverage > 0)].std())
    assert grain[0] < 2 < grain[1] < 4 and grain[2] > 6  # of nine views; of four; of one, sharpened
    assert solved.measured.views > solved.choice.views == 1  # a later frame is not held to what was asked of this one


def test_maps_of_another_detail_are_not_mixed(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    bake_take(take, capture, 32, (1,), detail=0.0)
    document = json.loads((take.folder / "texture.json").read_text())
    assert document["detail"] == 0.0
    with pytest.raises(RequestError, match="with detail 0.0, not none; add --overwrite, without --frames, to replace"):
        bake_take(take, capture, 32, (2,), resume=True)
    assert bake_take(take, capture, 32, (1, 2), resume=True, detail=0) == [2]
    with pytest.raises(RequestError, match="choose 0"):
        bake_take(take, capture, 32, detail=1.5)
    with pytest.raises(RequestError, match="splat"):
        bake_take(take, capture, 32, detail=0.5, method="splat")


def test_maps_of_before_detail_could_be_asked_for_are_gone_on_with(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1, 2))
    bake_take(take, capture, 32, (1,))
    path = take.folder / "texture.json"
    document = json.loads(path.read_text())
    del document["detail"]
    path.write_text(json.dumps(document))
    assert bake_take(take, capture, 32, resume=True) == [2]


class TracksAgain(Progress):
    """Somebody tracks a frame anew while its map is being baked."""

    def __init__(self, take):
        self.take, self.steps = take, 0

    def advance(self, steps=1):
        self.steps += 1
        if self.steps == 5:
            self.take.write_geometry(1, self.take.template.vertices + 0.01, {})


def test_a_frame_tracked_again_during_its_bake_is_not_taken_for_current(tmp_path):
    take, capture = scenes.make_take(tmp_path, [WALL], scenes.rig(3), (1,))
    assert bake_take(take, capture, 32, progress=TracksAgain(take)) == [1]
    assert bake_take(take, capture, 32, resume=True) == [1]
    assert bake_take(take, capture, 32, resume=True) == []
