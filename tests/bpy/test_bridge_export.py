"""What leaves Blender comes back with the same vertices on every frame."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402

from topo4d_blender.bridge import export, shape_keys  # noqa: E402
from topo4d_blender.bridge.errors import BridgeError  # noqa: E402

FRAMES = (5, 6, 7, 9, 10)


@pytest.fixture
def tracked():
    """A tracked head, with another object in the scene that must stay out of the files, and a range of its own."""
    scene = scenes.fresh()
    bpy.ops.mesh.primitive_cube_add()
    obj = scenes.head()
    obj.select_set(False)
    truth = scenes.performance(obj, FRAMES)
    shape_keys.build(obj, truth, truth.__getitem__)
    scene.frame_start, scene.frame_end = 100, 110
    return obj, truth


def world(obj, frame):
    points = scenes.evaluated(obj, frame)
    matrix = np.array(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def written_world(obj, truth):
    matrix = np.array(obj.matrix_basis)
    return {f: v @ matrix[:3, :3].T + matrix[:3, 3] for f, v in truth.items()}


def assert_comes_back(want, tolerance):
    found = [obj for obj in bpy.context.scene.objects if obj.type == "MESH"]
    assert len(found) == 1
    for frame, vertices in want.items():
        assert np.abs(world(found[0], frame) - vertices).max() < tolerance, frame
    between = world(found[0], 8)
    assert np.abs(between - (want[7] + want[9]) / 2).max() < tolerance


@pytest.mark.skipif(not export.available("alembic"), reason="this Blender is built without Alembic")
def test_alembic(tmp_path, tracked):
    obj, truth = tracked
    want = written_world(obj, truth)
    export.alembic(tmp_path / "head é.abc", obj)
    scenes.fresh()
    bpy.ops.wm.alembic_import(filepath=str(tmp_path / "head é.abc"), as_background_job=False)
    assert_comes_back(want, 1e-7)


def test_fbx_through_relative_keys_and_back(tmp_path, tracked):
    obj, truth = tracked
    want = written_world(obj, truth)
    export.fbx(tmp_path / "head é.fbx", obj)
    assert not obj.data.shape_keys.use_relative
    for frame in truth:
        assert np.array_equal(scenes.evaluated(obj, frame), truth[frame])
    scenes.fresh()
    bpy.ops.import_scene.fbx(filepath=str(tmp_path / "head é.fbx"), anim_offset=0.0)
    assert_comes_back(want, 1e-6)


@pytest.mark.skipif(not export.available("usd"), reason="this Blender is built without USD")
def test_usd(tmp_path, tracked):
    obj, truth = tracked
    want = written_world(obj, truth)
    export.usd(tmp_path / "head.usdc", obj)
    scenes.fresh()
    bpy.ops.wm.usd_import(filepath=str(tmp_path / "head.usdc"))
    assert_comes_back(want, 1e-6)


def test_selection_range_and_frame_are_put_back(tmp_path, tracked):
    obj, _ = tracked
    scene, cube = bpy.context.scene, bpy.data.objects["Cube"]
    cube.select_set(True)
    bpy.context.view_layer.objects.active = cube
    obj.hide_set(True)
    scene.frame_set(104)
    export.fbx(tmp_path / "a.fbx", obj)
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (100, 110, 104)
    assert cube.select_get() and not obj.select_get() and obj.hide_get()
    assert bpy.context.view_layer.objects.active == cube


def test_nothing_tracked_and_nowhere_to_write_are_said_in_words(tmp_path, tracked):
    obj, _ = tracked
    with pytest.raises(BridgeError, match="no tracked frames"):
        export.fbx(tmp_path / "a.fbx", bpy.data.objects["Cube"])
    (tmp_path / "folder.fbx").mkdir()
    with pytest.raises(BridgeError):
        export.fbx(tmp_path / "folder.fbx", obj)
    assert not obj.data.shape_keys.use_relative
