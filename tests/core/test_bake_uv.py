"""The UV map as pixels: where texels lie, what is left out with a word, how islands are padded and gaps filled."""

import numpy as np
import pytest

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.template import Template
from topo4d_blender.core.texture import rasterise
from topo4d_blender.core.texture.fill import fill_empty
from topo4d_blender.core.texture.layout import lay_out, name_faces
from topo4d_blender.core.texture.rasterise import choose_backend, rasterise_uv, with_numba
from topo4d_blender.core.texture.uv import EMPTY, map_uv, overlap_warning, padding_id, padding_width


def template(*faces):
    """A template with one separate face for each list of UVs."""
    uv = np.concatenate([np.asarray(f, np.float32) for f in faces])
    starts = np.concatenate([[0], np.cumsum([len(f) for f in faces])]).astype(np.int32)
    vertices = np.column_stack([uv, np.zeros(len(uv))]).astype(np.float64)
    return Template(vertices, np.arange(len(uv), dtype=np.int32), starts, uv)


def square(left, bottom, right, top):
    return [(left, bottom), (right, bottom), (right, top), (left, top)]


def test_row_zero_is_the_top_of_the_map():
    ids = map_uv(template(square(0.5, 0.75, 1, 1)), 64).ids
    rows, columns = np.nonzero(ids >= 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 15, 32, 63)
    assert (ids[:16, 32:] >= 0).all()


def test_ids_are_those_of_the_template_though_some_are_left_out():
    told = template(square(-0.8, 0, -0.4, 1), [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)], square(0, 0, 1, 1))
    assert set(np.unique(map_uv(told, 32).ids)) == {3, 4}
    warnings = lay_out(told).warnings
    assert len(warnings) == 2
    assert warnings[0].startswith("Face 1 of the template (counted from 0) without area")
    assert warnings[1].startswith("Face 0 of the template (counted from 0) outside of every UV tile")


def test_overlapping_faces_are_counted_and_the_first_keeps_the_texels():
    told = template(square(0, 0, 0.5, 0.5), square(0.25, 0.25, 0.75, 0.75))
    uv_map = map_uv(told, 64)
    assert set(np.unique(uv_map.ids[40:46, 20:28])) <= {0, 1}
    assert uv_map.overlapping.tolist() == [False, False, True, True]
    assert overlap_warning(told, uv_map).startswith("Face 1 of the template (counted from 0) on top of others")


def test_many_faces_are_named_by_the_first_few():
    assert name_faces(np.arange(7, 17)) == "10 faces of the template (7, 8, 9, 10, 11 ..., counted from 0)"


def test_neighbours_do_not_count_as_overlapping():
    told = template(*(square(i / 7, 0, (i + 1) / 7, 1) for i in range(7)))
    uv_map = map_uv(told, 100)
    assert overlap_warning(told, uv_map) is None and lay_out(told).warnings == () and lay_out(told).single
    assert (uv_map.ids >= 0).all()


def test_refuses_a_template_without_uv_or_with_none_in_the_tile():
    with pytest.raises(RequestError, match="no UV map"):
        map_uv(Template(np.eye(3), np.arange(3, dtype=np.int32), np.array([0, 3], np.int32)), 64)
    with pytest.raises(RequestError, match="no face inside the tile"):
        map_uv(template(square(-2, 0, -1, 1)), 64)


def test_faces_in_other_tiles_are_tiles_of_their_own_and_strays_over_a_border_are_named():
    told = template(square(0, 0, 1, 1), square(1.2, 0.2, 1.6, 0.8), square(0.5, 2.1, 0.9, 3.05), square(0.9, 0, 1, 1))
    layout = lay_out(told)
    assert layout.tiles == (1001, 1002, 1021) and not layout.single
    assert any(w.startswith("Face 2 of the template (counted from 0) across the border") for w in layout.warnings)
    assert any("3 UDIM tile(s) (1001, 1002, 1021)" in w for w in layout.warnings)
    second = map_uv(told, 40, layout, 1002)
    assert set(np.unique(second.ids[second.ids >= 0])) == {2, 3}
    rows, columns = np.nonzero(second.ids >= 0)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (8, 31, 8, 23)


def test_a_slip_over_the_border_makes_no_tile():
    told = template(square(0, 0, 1.00001, 1))
    assert lay_out(told).single and lay_out(told).warnings == ()


def slow_raster(corners, resolution):
    """The lowest triangle whose edges have a texel's centre on one side, texel by texel."""
    ids = np.full((resolution, resolution), -1)
    for y, x in np.ndindex(ids.shape):
        for t, (a, b, c) in enumerate(corners):
            p = np.array([x + 0.5, y + 0.5])
            sides = [np.cross(q - o, p - o) for o, q in ((a, b), (b, c), (c, a))]
            if min(sides) >= 0 or max(sides) <= 0:
                ids[y, x] = t
                break
    return ids


def test_numba_draws_what_the_slow_twin_draws():
    corners = np.random.default_rng(3).uniform(-4, 28, (12, 3, 2))
    np.testing.assert_array_equal(with_numba(corners, 24), slow_raster(corners, 24))


def test_the_rasteriser_is_numba_on_the_processor_and_nvdiffrast_only_where_it_was_installed(monkeypatch):
    for device, installed, chosen in (
        ("cuda", {"nvdiffrast"}, "nvdiffrast"),
        ("cuda", set(), "torch"),
        ("cpu", {"nvdiffrast"}, "numba"),
    ):
        monkeypatch.setattr(rasterise, "find_spec", lambda name, there=installed: name in there or None)
        assert choose_backend(device) == chosen


def test_a_rasteriser_that_fails_is_replaced_by_numba(monkeypatch):
    def fail(corners, resolution, device):
        raise RuntimeError("CUDA out of memory")

    corners = np.random.default_rng(4).uniform(-4, 28, (9, 3, 2))
    monkeypatch.setattr(rasterise, "choose_backend", lambda device: "nvdiffrast")
    monkeypatch.setitem(rasterise.BACKENDS, "nvdiffrast", fail)
    np.testing.assert_array_equal(rasterise_uv(corners, 24), with_numba(corners, 24))
    with pytest.raises(RuntimeError, match="out of memory"):
        rasterise_uv(corners, 24, backend="nvdiffrast")


def test_nvdiffrast_draws_what_numba_draws():
    torch = pytest.importorskip("torch")
    pytest.importorskip("nvdiffrast")
    if not torch.cuda.is_available():
        pytest.skip("this machine has no CUDA device")
    corners = np.random.default_rng(3).uniform(-8, 72, (200, 3, 2))
    differ = rasterise_uv(corners, 64, "cuda", "nvdiffrast") != rasterise_uv(corners, 64, backend="numba")
    assert differ.mean() < 0.01  # centres on an edge


def test_padding_reaches_its_width_on_every_side_and_stops():
    resolution = 128
    width = padding_width(resolution)
    uv_map = map_uv(template(square(0.25, 0.25, 0.75, 0.75)), resolution)
    rows, columns = np.nonzero(uv_map.ids != EMPTY)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (32 - width, 95 + width, 32 - width, 95 + width)
    assert set(np.unique(uv_map.ids)) == {EMPTY, 0, 1, padding_id(0), padding_id(1)}
    assert padding_id(padding_id(7)) == 7


def test_fill_keeps_what_is_known_and_leaves_nothing_black():
    rng = np.random.default_rng(0)
    texture = np.zeros((37, 53, 3), np.uint8)
    empty = np.ones((37, 53), bool)
    empty[5:20, 8:30] = False
    texture[~empty] = rng.integers(100, 120, (np.count_nonzero(~empty), 3))
    before = texture.copy()
    fill_empty(texture, empty)
    np.testing.assert_array_equal(texture[~empty], before[~empty])
    assert texture.min() >= 100 and texture.max() < 120


def test_fill_goes_smoothly_from_one_island_to_another():
    texture, empty = np.zeros((64, 64, 3), np.uint8), np.ones((64, 64), bool)
    texture[:, :8], texture[:, -8:] = 50, 200
    empty[:, :8], empty[:, -8:] = False, False
    fill_empty(texture, empty)
    row = texture[32, :, 0].astype(int)
    assert np.abs(np.diff(row)).max() < 40
    assert row[10] < 90 and row[-11] > 160


def test_fill_of_a_full_or_an_empty_map_changes_nothing():
    texture = np.full((8, 8, 3), 7, np.uint8)
    fill_empty(texture, np.zeros((8, 8), bool))
    fill_empty(texture, np.ones((8, 8), bool))
    assert (texture == 7).all()


def test_16_bits_are_filled_like_8():
    rng = np.random.default_rng(1)
    texture, empty = rng.integers(0, 255, (20, 20, 3)).astype(np.uint8), rng.random((20, 20)) < 0.6
    deep = texture.astype(np.uint16) * 257
    fill_empty(texture, empty)
    fill_empty(deep, empty)
    assert np.abs(deep / 257 - texture).max() <= 1


@pytest.mark.parametrize("resolution", [128, 1024])
def test_no_mip_level_picks_up_the_background_at_a_seam(resolution):
    """An island of red and one of blue: however far a viewport shrinks the map, no texel of theirs turns to a third."""
    told = template(square(0.06, 0.07, 0.43, 0.9), square(0.55, 0.1, 0.93, 0.95))
    uv_map = map_uv(told, resolution)
    owner = np.where(uv_map.ids <= -2, -2 - uv_map.ids, uv_map.ids) // 2  # padding is coloured as its island
    texture = np.zeros((resolution, resolution, 3), np.uint8)
    texture[owner == 0], texture[owner == 1] = (200, 10, 10), (10, 10, 200)
    fill_empty(texture, uv_map.ids == EMPTY)
    level, inside = texture.astype(float), [uv_map.ids // 2 == face for face in (0, 1)]
    inside = [i & (uv_map.ids >= 0) for i in inside]
    size = resolution
    while size > 8:
        for colour, island in zip(((200, 10, 10), (10, 10, 200)), inside, strict=True):
            off = np.abs(level[island] - colour).max() if island.any() else 0
            assert off < 1 if resolution // size <= padding_width(resolution) else off < 100
            assert level.sum(axis=2).min() > 200  # nothing black comes in
        size //= 2
        level = level.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
        inside = [i.reshape(size, 2, size, 2).any(axis=(1, 3)) for i in inside]
