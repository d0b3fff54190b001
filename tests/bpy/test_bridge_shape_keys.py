"""Scrubbing to frame f shows the vertices of frame f, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402

from topo4d_blender.bridge import arrays, cameras, shape_keys  # noqa: E402
from topo4d_blender.bridge.errors import BridgeError  # noqa: E402


def assert_plays(obj, truth, tolerance=0.0):
    for frame in truth:
        assert np.abs(scenes.evaluated(obj, frame) - truth[frame]).max() <= tolerance, frame


def test_every_frame_is_exact_and_survives_saving(tmp_path):
    scenes.fresh()
    obj = scenes.head()
    truth = scenes.performance(obj, [0, 1, 2, 3, 7, 120, 121, 9999])
    shape_keys.build(obj, truth, truth.__getitem__)
    assert_plays(obj, truth)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "take.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "take.blend"))
    assert_plays(bpy.data.objects["Head"], truth)


def test_six_hundred_frames_are_exact():
    scenes.fresh()
    obj = scenes.head(64)
    truth = scenes.performance(obj, range(1, 601))
    shape_keys.build(obj, truth, truth.__getitem__)
    assert_plays(obj, truth)


def test_frames_may_arrive_in_any_order_and_more_than_once():
    scenes.fresh()
    obj = scenes.head()
    truth = scenes.performance(obj, range(1, 8))
    for frame in (4, 5, 6, 7, 3, 1, 2):
        shape_keys.append(obj, frame, np.zeros_like(truth[frame]))
        shape_keys.append(obj, frame, truth[frame])
        shape_keys.refresh_playback(obj)
    names = [block.name for block in obj.data.shape_keys.key_blocks]
    assert names == ["Basis"] + [f"frame_{f:06d}" for f in range(1, 8)]
    assert shape_keys.frames_on(obj) == list(range(1, 8))
    assert_plays(obj, truth)


def test_the_mesh_itself_is_untouched_and_comes_back():
    scenes.fresh()
    obj = scenes.head()
    rest = scenes.evaluated(obj, 1)
    truth = scenes.performance(obj, (1, 2))
    shape_keys.build(obj, truth, truth.__getitem__)
    assert len(bpy.data.actions) == 1
    shape_keys.clear(obj)
    assert np.array_equal(scenes.evaluated(obj, 1), rest)
    assert obj.data.shape_keys is None and not bpy.data.actions


def test_relative_mode_plays_the_same_and_goes_back():
    scenes.fresh()
    obj = scenes.head()
    truth = scenes.performance(obj, (1, 2, 3, 6, 7))
    shape_keys.build(obj, truth, truth.__getitem__)
    half = scenes.evaluated(obj, 2, 0.5)
    with shape_keys.relative(obj):
        assert obj.data.shape_keys.use_relative
        assert_plays(obj, truth, 3e-8)
        assert np.abs(scenes.evaluated(obj, 2, 0.5) - half).max() < 3e-8
    assert not obj.data.shape_keys.use_relative and len(bpy.data.actions) == 1
    assert_plays(obj, truth)


def test_relative_mode_ends_when_the_exporter_fails():
    scenes.fresh()
    obj = scenes.head()
    truth = scenes.performance(obj, (1, 2))
    shape_keys.build(obj, truth, truth.__getitem__)
    with pytest.raises(ZeroDivisionError), shape_keys.relative(obj):
        raise ZeroDivisionError
    assert_plays(obj, truth)


def test_a_moved_scaled_object_lies_where_the_capture_says():
    scene = scenes.fresh()
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    root.location, obj.location, obj.scale = (1, 2, 3), (0.3, 0, 0), (2, 2, 2)
    truth = scenes.performance(obj, (1, 2))
    shape_keys.build(obj, truth, truth.__getitem__, arrays.capture_to_object(obj, root))
    bpy.context.view_layer.update()
    for frame, vertices in truth.items():
        world = scenes.evaluated(obj, frame) @ np.array(obj.matrix_world)[:3, :3].T + np.array(obj.matrix_world)[:3, 3]
        want = vertices @ np.array(root.matrix_world)[:3, :3].T + np.array(root.matrix_world)[:3, 3]
        assert np.abs(world - want).max() < 1e-6


def test_an_artists_own_shape_keys_are_never_overwritten():
    scenes.fresh()
    obj = scenes.head()
    obj.shape_key_add(name="Basis")
    obj.shape_key_add(name="smile")
    with pytest.raises(BridgeError, match="smile"):
        shape_keys.append(obj, 1, scenes.performance(obj, (1,))[1])
    assert [b.name for b in obj.data.shape_keys.key_blocks] == ["Basis", "smile"]


def test_another_vertex_count_is_refused_in_words():
    scenes.fresh()
    with pytest.raises(BridgeError, match="another template"):
        shape_keys.append(scenes.head(), 1, np.zeros((3, 3), np.float32))


def test_the_error_curve_follows_the_metrics():
    scene = scenes.fresh()
    obj = scenes.head()
    shape_keys.error_curve(obj, {1: 0.25, 2: 0.5, 5: 4.0})
    shape_keys.error_curve(obj, {1: 0.25, 2: 0.75, 5: 4.0})
    seen = []
    for frame in (1, 2, 5):
        scene.frame_set(frame)
        seen.append(obj[shape_keys.ERROR_PROPERTY])
    assert seen == [0.25, 0.75, 4.0]
