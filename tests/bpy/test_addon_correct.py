"""A frame corrected by hand: what reaches the take, and what the engine is asked to do with it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import addon_utils  # noqa: E402
import bridge_scenes as scenes  # noqa: E402
import numpy as np  # noqa: E402
from test_addon_work import FAKE, beat_until, idle  # noqa: E402

from topo4d_blender.bridge import cameras, engine, head_motion, shape_keys, takes  # noqa: E402
from topo4d_blender.bridge.session import SESSION  # noqa: E402

ORDER = [3, 4, 5, 6, 7, 2, 1]  # the template fits frame 3


@pytest.fixture
def artist(tmp_path, monkeypatch):
    """The extension enabled, a head that wears a take of seven frames, a worker that notes what it is asked."""
    scene, take = scenes.fresh(), tmp_path / "take"
    addon_utils.enable("topo4d_blender", default_set=True)
    bpy.context.preferences.addons["topo4d_blender"].preferences.python = sys.executable
    obj = scenes.head()
    source = tmp_path / "shoot" / "capture.json"
    scene.topo4d.root = cameras.load_cameras({**scenes.description(str(source)), "frames": ORDER}, scene)
    launcher = tmp_path / "worker.py"
    launcher.write_text(f"MODE = 'refuses'\n{FAKE}", "utf-8")
    monkeypatch.setattr(engine.Engine.__init__, "__defaults__", (launcher,))
    (take / "geometry").mkdir(parents=True)
    for frame, vertices in scenes.performance(obj, ORDER).items():
        np.save(take / "geometry" / f"{frame:06d}.npy", vertices)
    write_json(take)
    bpy.ops.topo4d.load_take(directory=str(take))
    yield scene, obj, take
    addon_utils.disable("topo4d_blender", default_set=True)
    SESSION.__init__()


def write_json(take: Path) -> None:
    (take / "take.json").write_text(json.dumps({"format": 1, "frames": ORDER}))


def asked(take: Path, operator, **values) -> dict:
    """What the worker is asked by `operator`."""
    assert operator(**values) == {"FINISHED"}
    beat_until(idle)
    write_json(take)  # the worker has overwritten it
    return json.loads((take / "command.json").read_text())


def sculpt(obj, frame: int) -> np.ndarray:
    """Move a vertex of the frame's key; the key's vertices then."""
    bpy.context.scene.frame_set(frame)
    assert bpy.ops.topo4d.correct_frame() == {"FINISHED"}
    assert obj.mode == "SCULPT" and obj.active_shape_key.name == f"frame_{frame:06d}" and obj.show_only_shape_key
    assert bpy.ops.topo4d.correct_frame() == {"FINISHED"}
    assert obj.mode == "OBJECT" and not obj.show_only_shape_key
    obj.active_shape_key.points[5].co.x += 0.02
    return shape_keys.read_key(obj, frame)


def anchor(take: Path, frame: int) -> np.ndarray:
    return np.load(take / "anchors" / f"{frame:06d}.npy")


def test_a_sculpted_key_becomes_an_anchor_to_the_last_bit(artist):
    _, obj, take = artist
    before = takes.read_geometry(take, 6)
    shape = sculpt(obj, 6)
    assert bpy.ops.topo4d.set_anchor() == {"FINISHED"}
    assert np.array_equal(anchor(take, 6), shape) and anchor(take, 6).dtype == np.float32
    assert np.array_equal(takes.read_geometry(take, 6), before), "nothing is solved yet"
    assert obj.topo4d.anchors == "6" and not list((take / "anchors").glob(".*"))
    bpy.ops.topo4d.load_take(directory=str(take))
    assert np.array_equal(shape_keys.read_key(obj, 6), shape), "a correction outlives loading the take again"
    assert asked(take, bpy.ops.topo4d.track)["resume"] is True
    bpy.ops.topo4d.remove_anchor()
    assert not list((take / "anchors").iterdir()) and not obj.topo4d.anchors
    assert not bpy.ops.topo4d.remove_anchor.poll()


def test_a_frame_that_nobody_changed_is_an_anchor_as_it_was_solved(artist):
    scene, obj, take = artist
    obj.location.x += 2  # and lies elsewhere now
    bpy.ops.topo4d.load_take(directory=str(take))
    scene.frame_set(4)
    bpy.ops.topo4d.set_anchor()
    assert np.array_equal(anchor(take, 4), takes.read_geometry(take, 4))


def test_a_correction_is_the_capture_s_own_also_with_the_heads_motion_on_the_object(artist):
    _, obj, take = artist
    poses = np.tile(np.eye(4), (7, 1, 1))
    poses[4] = [[0, 0, 1, 0.1], [0, 1, 0, 0.2], [-1, 0, 0, 0.3], [0, 0, 0, 1]]  # of frame 7
    np.save(take / "head_pose.npy", poses)
    assert bpy.ops.topo4d.head_motion() == {"FINISHED"} and head_motion.is_on(obj)
    sculpt(obj, 7)
    bpy.ops.topo4d.set_anchor()
    moved = anchor(take, 7) - takes.read_geometry(take, 7)
    assert moved[5] == pytest.approx([0, 0, -0.02], abs=1e-6), "x of the head, turned with it"
    assert np.abs(np.delete(moved, 5, axis=0)).max() < 1e-6


@pytest.mark.parametrize(
    ("frame", "direction", "again"), [(5, 1, "6,7"), (5, -1, "4"), (2, -1, "1"), (3, 1, "4,5,6,7"), (3, -1, "2,1")]
)
def test_without_anchors_the_frames_that_follow_start_from_here(artist, frame, direction, again):
    scene, obj, take = artist
    before = takes.read_geometry(take, frame)
    shape = before if frame == 3 else sculpt(obj, frame)
    scene.frame_set(frame)
    command = asked(take, bpy.ops.topo4d.track_again, direction=direction)
    assert (command["again"], command["resume"], command.get("frames")) == (again, True, None)
    assert np.array_equal(takes.read_geometry(take, frame), shape) and not takes.anchors(take)


def test_an_anchor_ends_the_run_and_shares_the_error_of_a_correction_before_it(artist):
    scene, obj, take = artist
    scene.frame_set(6)
    bpy.ops.topo4d.set_anchor()
    command = asked(take, bpy.ops.topo4d.track_again, direction=-1)
    assert command["again"] == "5,4", "an anchor that is no news"
    shape = sculpt(obj, 5)
    command = asked(take, bpy.ops.topo4d.track_again, direction=-1)
    assert "again" not in command and (command["frames"], command["start"]) == ("1,2,3,4,5,6,7", 3)
    assert np.array_equal(anchor(take, 5), shape) and obj.topo4d.anchors == "5, 6"
    command = asked(take, bpy.ops.topo4d.track_again, direction=-1)
    assert "again" not in command, "no tracking has met it yet"


def test_what_cannot_be_corrected_is_said(artist):
    scene, _, take = artist
    scene.frame_set(3)
    with pytest.raises(RuntimeError, match="template's own"):
        bpy.ops.topo4d.set_anchor()
    scene.frame_set(7)
    with pytest.raises(RuntimeError, match="no frame after 7"):
        bpy.ops.topo4d.track_again(direction=1)
    scene.frame_set(40)
    for operator in (bpy.ops.topo4d.set_anchor, bpy.ops.topo4d.correct_frame):
        with pytest.raises(RuntimeError, match="Frame 40 is not tracked"):
            operator()
    (take / "take.json").write_text("{}")
    with pytest.raises(RuntimeError, match="no take that can be gone on with"):
        bpy.ops.topo4d.track_again()


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        ({}, None),
        ({"track_from": "FRAME", "start_frame": 50}, 50),
        ({"track_from": "LAST"}, 7),
        ({"track_from": "LAST", "frames": "2-60:5,4"}, 60),
    ],
)
def test_the_frame_that_the_template_fits_is_chosen(artist, tmp_path, settings, start):
    scene, _, take = artist
    for name, value in settings.items():
        setattr(scene.topo4d, name, value)
    scene.topo4d.anchors = str(tmp_path / "given")
    scene.topo4d.from_take = str(tmp_path / "other")
    command = asked(take, bpy.ops.topo4d.track)
    assert command["start"] == start and command.get("again") is None
    assert (command["anchors"], command["from_take"]) == (str(tmp_path / "given"), str(tmp_path / "other"))


@pytest.fixture
def filmed(tmp_path, monkeypatch):
    """The extension with the real engine, and a ball that was filmed for seven frames and tracked."""
    from synthetic import make_capture

    from topo4d_blender.core.capture import describe, open_capture

    make_capture(tmp_path / "ball", frames=7, cameras=5, size=(96, 128), vertices=300)
    scene = scenes.fresh()
    addon_utils.enable("topo4d_blender", default_set=True)
    bpy.context.preferences.addons["topo4d_blender"].preferences.python = sys.executable
    scene.topo4d.root = cameras.load_cameras(describe(open_capture(tmp_path / "ball")), scene)
    bpy.ops.wm.obj_import(filepath=str(tmp_path / "ball" / "start.obj"))
    scene.topo4d.take = str(tmp_path / "take")
    scene.topo4d.template = bpy.context.object
    work(bpy.ops.topo4d.track)
    yield scene, scene.topo4d.template, tmp_path / "take"
    addon_utils.disable("topo4d_blender", default_set=True)
    SESSION.__init__()


def work(operator, **values) -> None:
    assert operator(**values) == {"FINISHED"}
    beat_until(idle, 120.0)
    assert not SESSION.alert and not SESSION.failure, (SESSION.message, SESSION.failure)


def test_the_engine_starts_from_a_sculpted_frame_and_meets_an_anchor(filmed):
    scene, obj, take = filmed
    first = {frame: takes.read_geometry(take, frame) for frame in takes.solved_frames(take)}
    assert len(first) == 7 and shape_keys.frames_on(obj) == list(first)
    frames = list(first)
    shape = sculpt(obj, frames[3])
    work(bpy.ops.topo4d.track_again, direction=1)
    lines = takes.read_metrics(take)
    assert np.array_equal(takes.read_geometry(take, frames[3]), shape) and lines[frames[3]]["trusted"] is True
    assert lines[frames[4]]["start"] == frames[3]
    assert all(np.array_equal(takes.read_geometry(take, frame), first[frame]) for frame in frames[:3])
    scene.frame_set(frames[5])
    shape = sculpt(obj, frames[5])
    bpy.ops.topo4d.set_anchor()
    work(bpy.ops.topo4d.track_again, direction=-1)
    lines = takes.read_metrics(take)
    assert np.array_equal(takes.read_geometry(take, frames[5]), shape) and lines[frames[5]]["given"] is True
    assert lines[frames[2]]["between"] == [frames[0], frames[5]]
    for frame in frames:
        assert np.array_equal(shape_keys.read_key(obj, frame), takes.read_geometry(take, frame))


def test_the_engine_s_own_poses_leave_the_world_as_it_was(filmed):
    scene, obj, take = filmed
    before = {frame: in_world(obj, frame) for frame in takes.solved_frames(take)}
    work(bpy.ops.topo4d.head_motion)
    assert head_motion.is_on(obj)
    size = np.ptp(before[min(before)], axis=0).max()
    for frame, points in before.items():
        assert np.abs(in_world(obj, frame) - points).max() < 1e-6 * size


def in_world(obj, frame: int) -> np.ndarray:
    points = scenes.evaluated(obj, frame).astype(np.float64)
    matrix = np.array(obj.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world, np.float64)
    return points @ matrix[:3, :3].T + matrix[:3, 3]
