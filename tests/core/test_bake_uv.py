"""The UV map as pixels: where texels lie, what is left out with a word, how islands are padded and gaps filled."""

import numpy as np
import pytest

from topo4d_blender.core.errors import RequestError
from topo4d_blender.core.template import Template
from topo4d_blender.core.texture.fill import fill_empty
from topo4d_blender.core.texture.uv import EMPTY, map_uv, padding_id, padding_width


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
    uv_map = map_uv(template(square(1.2, 0, 1.6, 1), [(0.1, 0.1), (0.2, 0.2), (0.3, 0.3)], square(0, 0, 1, 1)), 32)
    assert set(np.unique(uv_map.ids)) == {3, 4}
    assert any("2 triangles lie outside" in w for w in uv_map.warnings)
    assert any("1 triangles have no area" in w for w in uv_map.warnings)
    assert len(uv_map.warnings) == 2


def test_overlapping_faces_are_counted_and_the_first_keeps_the_texels():
    uv_map = map_uv(template(square(0, 0, 0.5, 0.5), square(0.25, 0.25, 0.75, 0.75)), 64)
    assert set(np.unique(uv_map.ids[40:46, 20:28])) <= {0, 1}
    assert uv_map.overlapping == 2 and any("2 triangles overlap" in w for w in uv_map.warnings)


def test_neighbours_do_not_count_as_overlapping():
    uv_map = map_uv(template(*(square(i / 7, 0, (i + 1) / 7, 1) for i in range(7))), 100)
    assert uv_map.overlapping == 0 and uv_map.warnings == ()
    assert (uv_map.ids >= 0).all()


def test_refuses_a_template_without_uv_or_with_none_in_the_tile():
    with pytest.raises(RequestError, match="no UV map"):
        map_uv(Template(np.eye(3), np.arange(3, dtype=np.int32), np.array([0, 3], np.int32)), 64)
    with pytest.raises(RequestError, match="no face inside the tile"):
        map_uv(template(square(2, 0, 3, 1)), 64)


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
