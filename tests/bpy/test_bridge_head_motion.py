"""The head's motion on the object: the same points in the world, to and fro, and nothing of the artist's is lost."""

from __future__ import annotations

import json

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402
import numpy as np  # noqa: E402
from mathutils import Euler, Matrix  # noqa: E402

from topo4d_blender import registration  # noqa: E402
from topo4d_blender.bridge import arrays, cameras, curves, head_motion, meshes, shape_keys, show, takes  # noqa: E402
from topo4d_blender.bridge.errors import BridgeError  # noqa: E402

FRAMES = [1, 2, 3, 5, 8]


@pytest.fixture
def scene():
    scene = scenes.fresh()
    registration.register()
    yield scene
    registration.unregister()


def turning(frame: int) -> np.ndarray:
    """A head that turns by tens of degrees, past the place where quaternions change their sign, and moves."""
    turn = Euler((0.2 * frame, 0.9 * frame, -0.1 * frame)).to_matrix().to_4x4()
    return np.array(Matrix.Translation((0.01 * frame, -0.02 * frame, 0.03)) @ turn, np.float64)


def write_take(folder, obj, root) -> dict[int, np.ndarray]:
    """A take of `obj` as the engine writes it: expressions of 1 % of the head, carried by `turning`."""
    rest = meshes.template_arrays(obj, root)["vertices"]
    noise = np.random.default_rng(3)
    (folder / "geometry").mkdir(parents=True)
    geometry = {}
    for frame in FRAMES:
        face, pose = rest + noise.normal(0, 0.002, rest.shape), turning(frame)
        geometry[frame] = (face @ pose[:3, :3].T + pose[:3, 3]).astype(np.float32)
        np.save(folder / "geometry" / f"{frame:06d}.npy", geometry[frame])
    order = [3, 5, 8, 2, 1]
    (folder / "take.json").write_text(json.dumps({"format": 1, "frames": order}))
    np.save(folder / "head_pose.npy", np.stack([turning(frame) for frame in order]))
    return geometry


def in_world(obj, frame: int) -> np.ndarray:
    """What an artist sees on `frame`, in the world.  # [V, 3] float64."""
    points = scenes.evaluated(obj, frame).astype(np.float64)
    matrix = np.array(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world, np.float64)
    return points @ matrix[:3, :3].T + matrix[:3, 3]


def assert_lies_as_tracked(obj, root, geometry):
    bpy.context.view_layer.update()
    world = np.array(root.matrix_world, np.float64)
    for frame, vertices in geometry.items():
        want = vertices.astype(np.float64) @ world[:3, :3].T + world[:3, 3]
        assert np.abs(in_world(obj, frame) - want).max() < 1e-6 * np.ptp(want, axis=0).max(), frame


def place(obj, root, how: str) -> None:
    """Where the artist has put things."""
    if how == "imported":
        return
    root.location, obj.location = (0.1, 0.2, 0.3), (0.3, 0, 0.1)
    root.scale, obj.scale = (2, 2, 2), (1.5, 2.5, 0.5)
    if how == "axis angle":
        obj.rotation_mode, obj.rotation_axis_angle = "AXIS_ANGLE", (0.4, 0.6, 0.0, 0.8)
    if how == "child":
        parent = bpy.data.objects.new("stand", None)
        parent.location, parent.rotation_euler = (0.2, 0, 0), (0.1, 0.2, 0.3)
        bpy.context.scene.collection.objects.link(parent)
        obj.parent = parent
    bpy.context.view_layer.update()


@pytest.mark.parametrize("how", ["imported", "moved and scaled", "axis angle", "child"])
def test_the_world_sees_the_tracked_vertices_in_both_states(scene, tmp_path, how):
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    place(obj, root, how)
    geometry = write_take(tmp_path, obj, root)
    before = channels(obj)
    show.show_take(obj, root, tmp_path, scene)
    keys = {frame: shape_keys.read_key(obj, frame) for frame in FRAMES}
    assert_lies_as_tracked(obj, root, geometry)
    for _ in range(3):
        show.show_head_motion(obj, root, tmp_path, scene, on=True)
        assert_lies_as_tracked(obj, root, geometry)
        show.show_head_motion(obj, root, tmp_path, scene, on=False)
        assert_lies_as_tracked(obj, root, geometry)
        assert all(np.array_equal(shape_keys.read_key(obj, frame), keys[frame]) for frame in FRAMES)
        assert channels(obj) == before and not head_motion.is_on(obj)


def channels(obj) -> tuple:
    rotation = (*obj.rotation_axis_angle,) if obj.rotation_mode == "AXIS_ANGLE" else (*obj.rotation_euler,)
    return obj.rotation_mode, rotation, (*obj.location,), (*obj.scale,), set(obj.keys()) - {"topo4d"}


def test_the_keys_hold_the_expression_alone(scene, tmp_path):
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    write_take(tmp_path, obj, root)
    obj.topo4d.head_motion = True
    show.show_take(obj, root, tmp_path, scene)
    rest = arrays.get_points(obj.data.vertices)
    for frame in FRAMES:
        assert np.abs(shape_keys.read_key(obj, frame) - rest).max() < 0.01
        scene.frame_set(frame)
        moved = np.array(obj.matrix_world) @ np.linalg.inv(arrays.object_world(obj))
        capture = np.array(root.matrix_world)
        assert np.abs(np.linalg.inv(capture) @ moved @ capture - turning(frame)).max() < 1e-6
    quaternions = []
    for frame in range(1, 9):
        scene.frame_set(frame)
        quaternions.append(np.array(obj.rotation_quaternion))
    assert all(a @ b > 0 for a, b in zip(quaternions, quaternions[1:], strict=False)), "no spin between two frames"


def test_the_template_is_the_same_file_with_the_motion_on(scene, tmp_path):
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    place(obj, root, "child")
    write_take(tmp_path, obj, root)
    before = meshes.template_arrays(obj, root)["vertices"]
    obj.topo4d.head_motion = True
    show.show_take(obj, root, tmp_path, scene)
    scene.frame_set(8)
    assert np.abs(meshes.template_arrays(obj, root)["vertices"] - before).max() < 1e-6
    assert np.array_equal(meshes.template_arrays(obj, None)["vertices"].shape, before.shape)


def test_it_survives_saving(scene, tmp_path):
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    geometry = write_take(tmp_path / "take", obj, root)
    obj.topo4d.head_motion = True
    show.show_take(obj, root, tmp_path / "take", scene)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "a.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "a.blend"))
    obj = bpy.data.objects["Head"]
    root = cameras.find_roots(bpy.context.scene)[0]
    assert_lies_as_tracked(obj, root, geometry)
    show.show_head_motion(obj, root, tmp_path / "take", bpy.context.scene, on=False)
    assert_lies_as_tracked(obj, root, geometry)
    assert obj.rotation_mode == "XYZ" and obj.rotation_euler.x == pytest.approx(np.pi / 2)


def test_an_error_curve_of_the_artists_object_stays(scene, tmp_path):
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    write_take(tmp_path, obj, root)
    (tmp_path / "metrics.jsonl").write_text('{"frame": 1, "residual_px": 0.5}\n{"frame": 8, "residual_px": 1.5}\n')
    obj.topo4d.head_motion = True
    show.show_take(obj, root, tmp_path, scene)
    show.show_head_motion(obj, root, tmp_path, scene, on=False)
    scene.frame_set(8)
    assert obj[shape_keys.ERROR_PROPERTY] == 1.5 and not curves.has(obj, "location")


def test_a_take_without_poses_and_an_object_with_keys_of_its_own_are_refused_in_words(scene, tmp_path):
    obj, root = scenes.head(), cameras.load_cameras(scenes.description(), scene)
    geometry = write_take(tmp_path, obj, root)
    show.show_take(obj, root, tmp_path, scene)
    obj.keyframe_insert("location", frame=1)
    with pytest.raises(BridgeError, match="keys of its own"):
        show.show_head_motion(obj, root, tmp_path, scene, on=True)
    obj.animation_data_clear()
    (tmp_path / "head_pose.npy").unlink()
    with pytest.raises(BridgeError, match="head_pose.npy"):
        show.show_head_motion(obj, root, tmp_path, scene, on=True)
    assert not obj.topo4d.head_motion and takes.head_poses(tmp_path) == {}
    assert_lies_as_tracked(obj, root, geometry)
