"""The way of an artist through the operators, with the timer's beats counted by hand: bpy alone ticks no timers."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import addon_utils  # noqa: E402
import bridge_scenes as scenes  # noqa: E402
from PIL import Image  # noqa: E402

from topo4d_blender.bridge import cameras, engine, head_motion, pump, shape_keys, takes  # noqa: E402
from topo4d_blender.bridge.session import SESSION  # noqa: E402
from topo4d_blender.core import jobs  # noqa: E402

FAKE = Path(__file__).with_name("fake_worker.py").read_text()


@pytest.fixture
def artist(tmp_path, monkeypatch):
    """The extension enabled, a loaded capture, a head; yields a function that chooses the worker's manners."""
    scene = scenes.fresh()
    addon_utils.enable("topo4d_blender", default_set=True)
    bpy.context.preferences.addons["topo4d_blender"].preferences.python = sys.executable
    obj = scenes.head()
    scene.topo4d.root = cameras.load_cameras(scenes.description(str(tmp_path / "shoot" / "capture.json")), scene)
    scene.topo4d.take = str(tmp_path / "take é")

    def worker(mode: str) -> bpy.types.Object:
        launcher = tmp_path / "worker.py"
        launcher.write_text(f"MODE = {mode!r}\n{FAKE}", "utf-8")
        monkeypatch.setattr(engine.Engine.__init__, "__defaults__", (launcher,))
        return obj

    yield worker
    addon_utils.disable("topo4d_blender", default_set=True)
    SESSION.__init__()


def beat_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, (SESSION.message, SESSION.failure, SESSION.job)
        pump.tick()
        time.sleep(0.005)


def idle() -> bool:
    return SESSION.job is None and SESSION.ready is None


def assert_shows(obj, folder, frames):
    assert shape_keys.frames_on(obj) == frames
    for frame in frames:
        assert np.array_equal(scenes.evaluated(obj, frame), takes.read_geometry(folder, frame))


def test_tracking_puts_every_frame_on_the_mesh(artist, tmp_path):
    obj, scene = artist("good"), bpy.context.scene
    assert bpy.ops.topo4d.track() == {"FINISHED"}
    assert not bpy.ops.topo4d.track.poll(), "one job at a time"
    beat_until(idle)
    assert_shows(obj, tmp_path / "take é", [1, 2, 3, 4, 5])
    assert SESSION.message == "5 frames tracked" and not SESSION.alert
    assert (scene.frame_start, scene.frame_end) == (1, 5)
    assert [(w.frame, round(w.error_px, 3)) for w in obj.topo4d.worst][:2] == [(5, 1.0), (4, 0.8)]
    scene.frame_set(3)
    assert obj[shape_keys.ERROR_PROPERTY] == pytest.approx(0.6)


def test_frames_arrive_while_the_engine_still_works(artist, tmp_path):
    obj = artist("slow")
    obj.topo4d.worst.add().frame = 7  # of an older take
    bpy.ops.topo4d.track()
    beat_until(lambda: len(shape_keys.frames_on(obj)) == 2 and SESSION.job.done == 2)
    assert not obj.topo4d.worst
    assert SESSION.job.total == 5 and SESSION.job.stage == "Tracking"
    assert_shows(obj, tmp_path / "take é", [4, 5])
    bpy.ops.topo4d.cancel()
    beat_until(idle)
    assert SESSION.message == "Stopped at your request." and not SESSION.alert and not SESSION.failure
    assert_shows(obj, tmp_path / "take é", [4, 5])
    assert bpy.ops.topo4d.track.poll(), "the same worker can go on"


def test_an_undo_during_a_job_loses_no_frame(artist, tmp_path):
    obj = artist("slow")
    bpy.ops.topo4d.track()
    beat_until(lambda: len(shape_keys.frames_on(obj)) == 2)
    shape_keys.clear(obj)  # what an undo does; Blender without a window has none
    pump._after_undo()
    beat_until(lambda: len(shape_keys.frames_on(obj)) == 2)
    assert_shows(obj, tmp_path / "take é", [4, 5])


def test_while_frames_arrive_the_keys_hold_the_heads_motion_too(artist, tmp_path):
    obj, folder = artist("slow"), tmp_path / "take é"
    bpy.ops.topo4d.track()
    beat_until(lambda: len(shape_keys.frames_on(obj)) == 2)
    bpy.ops.topo4d.cancel()
    beat_until(idle)
    with pytest.raises(RuntimeError, match="head_pose.npy"):
        bpy.ops.topo4d.head_motion()
    turned = np.diag([-1.0, 1.0, -1.0, 1.0])
    poses = {3: np.full((4, 4), np.nan), 4: np.eye(4), 5: turned, 2: np.eye(4), 1: np.eye(4)}
    np.save(folder / "head_pose.npy", np.stack(list(poses.values())))
    assert bpy.ops.topo4d.head_motion() == {"FINISHED"} and head_motion.is_on(obj)
    assert not np.allclose(scenes.evaluated(obj, 5), takes.read_geometry(folder, 5))
    bpy.ops.topo4d.track()
    beat_until(lambda: SESSION.job.done == 2 and not SESSION.job.backlog)
    assert not head_motion.is_on(obj)
    assert_shows(obj, folder, [4, 5])


def test_an_object_in_edit_mode_gets_its_frames_when_it_is_left(artist, tmp_path):
    obj = artist("slow")
    bpy.ops.object.mode_set(mode="EDIT")
    bpy.ops.topo4d.track()
    beat_until(lambda: SESSION.job.done == 2)
    assert shape_keys.frames_on(obj) == []
    bpy.ops.object.mode_set(mode="OBJECT")
    beat_until(lambda: shape_keys.frames_on(obj) == [4, 5])


def test_another_file_opened_during_a_job_is_left_alone(artist, tmp_path):
    obj = artist("slow")
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "other.blend"))
    bpy.ops.topo4d.track()
    beat_until(lambda: shape_keys.frames_on(obj))
    shape_keys.clear(obj)  # as if saved before the frames came
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "behind.blend"))
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "other.blend"))
    beat_until(lambda: len(takes.solved_frames(tmp_path / "take é")) == 2)
    bpy.ops.topo4d.cancel()
    beat_until(idle)
    other = bpy.data.objects["Head"]
    assert other.data.shape_keys is None and not other.topo4d.take and not SESSION.alert
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "behind.blend"))
    assert_shows(bpy.data.objects["Head"], tmp_path / "take é", [4, 5])


def test_a_worker_that_dies_is_reported_and_its_frames_are_kept(artist, tmp_path):
    obj = artist("dies")
    bpy.ops.topo4d.track()
    beat_until(idle)
    assert "out of memory" in SESSION.failure and SESSION.alert
    assert_shows(obj, tmp_path / "take é", [4, 5])


def test_a_failed_job_keeps_its_sentence_its_hint_and_its_frames(artist, tmp_path):
    obj = artist("fails")
    bpy.ops.topo4d.track()
    beat_until(idle)
    assert (SESSION.message, SESSION.hint, SESSION.alert) == ("The disk is full.", "Free some space.", True)
    assert_shows(obj, tmp_path / "take é", [1, 2, 3, 4, 5])


def test_a_refused_job_shows_nothing_of_what_lies_in_the_folder(artist, tmp_path):
    obj = artist("refuses")
    (tmp_path / "take é" / "geometry").mkdir(parents=True)
    np.save(tmp_path / "take é" / "geometry" / "000001.npy", scenes.performance(obj, [1])[1])
    bpy.ops.topo4d.track()
    beat_until(idle)
    assert SESSION.message == "The folder holds another take." and SESSION.alert
    assert obj.data.shape_keys is None and not obj.topo4d.take


def test_a_worker_deaf_to_cancel_is_ended(artist, monkeypatch):
    monkeypatch.setattr(engine, "TERMINATE_S", 0.2)
    obj = artist("deaf")
    bpy.ops.topo4d.track()
    beat_until(lambda: len(shape_keys.frames_on(obj)) == 2)
    bpy.ops.topo4d.cancel()
    beat_until(idle)
    assert "was stopped" in SESSION.message and not SESSION.failure


def test_a_damaged_frame_is_named_and_the_others_are_shown(artist, tmp_path):
    obj = artist("empty frame")
    bpy.ops.topo4d.track()
    beat_until(idle)
    assert_shows(obj, tmp_path / "take é", [1, 2, 4, 5])
    assert "1 damaged on disk" in SESSION.message


def test_disabling_the_extension_during_a_job_ends_the_worker(artist):
    artist("slow")
    bpy.ops.topo4d.track()
    beat_until(lambda: SESSION.job.done == 2)
    process = SESSION.engine._process
    addon_utils.disable("topo4d_blender", default_set=False)
    assert process.poll() is not None
    assert not bpy.app.timers.is_registered(pump.tick)
    addon_utils.enable("topo4d_blender", default_set=True)


def test_every_step_says_what_comes_before_it(artist, tmp_path):
    artist("good")
    bpy.context.scene.topo4d.root = None
    assert not bpy.ops.topo4d.track.poll() and not bpy.ops.topo4d.bake.poll()
    with pytest.raises(RuntimeError, match="Load a capture first"):
        bpy.ops.topo4d.track()
    bpy.context.preferences.addons["topo4d_blender"].preferences.python = ""
    with pytest.raises(RuntimeError, match="Install the engine, or choose the Python that has it"):
        bpy.ops.topo4d.load_capture(filepath=str(tmp_path))
    with pytest.raises(RuntimeError, match="Track a sequence first"):
        bpy.ops.topo4d.export_fbx(filepath=str(tmp_path / "a.fbx"))


@pytest.mark.parametrize("mode", ["good", "no bake"])
def test_baked_textures_appear_on_the_mesh_also_those_of_a_cancelled_bake(artist, tmp_path, mode):
    obj = artist(mode)
    bpy.ops.topo4d.track()
    beat_until(idle)
    (tmp_path / "take é" / "texture").mkdir()
    for frame in (1, 2):
        Image.new("RGB", (4, 4)).save(tmp_path / "take é" / "texture" / f"{frame:06d}.png")
    assert bpy.ops.topo4d.bake() == {"FINISHED"}
    beat_until(idle)
    assert SESSION.message == ("2 frames have textures" if mode == "good" else "Stopped.") and not SESSION.alert
    texture = obj.material_slots[0].material.node_tree.nodes["Topo4D Sequence"]
    assert texture.image.filepath.endswith("000001.png") and texture.image_user.frame_duration == 2


def test_cameras_with_a_closed_eye_are_left_out_of_track_and_bake(artist, tmp_path):
    obj, scene, folder = artist("good"), bpy.context.scene, tmp_path / "take é"
    views = cameras.cameras_of(scene.topo4d.root)
    views[1].hide_viewport = True
    bpy.ops.topo4d.track()
    beat_until(idle)
    assert json.loads((folder / "take.json").read_text())["cameras"] == ["cam00", "cam02"]
    (folder / "texture").mkdir()
    Image.new("RGB", (4, 4)).save(folder / "texture" / "000001.png")
    views[2].hide_viewport = True
    bpy.ops.topo4d.bake()
    beat_until(idle)
    assert json.loads((folder / "baked.json").read_text())["cameras"] == ["cam00"]
    scene.topo4d.root[cameras.SOURCE] = str(tmp_path / "another" / "capture.json")
    bpy.ops.topo4d.bake()
    beat_until(idle)
    assert json.loads((folder / "baked.json").read_text())["cameras"] is None, "as it was tracked"
    views[0].hide_viewport = True
    with pytest.raises(RuntimeError, match="Every camera is left out"):
        bpy.ops.topo4d.track()
    assert obj.topo4d.take


def test_what_is_asked_of_a_bake_is_what_the_engine_knows(artist, tmp_path):
    artist("good")
    settings, folder = bpy.context.scene.topo4d, tmp_path / "take é"
    bpy.ops.topo4d.track()
    beat_until(idle)

    def asked() -> dict:
        bpy.ops.topo4d.bake()
        beat_until(idle)
        return json.loads((folder / "baked.json").read_text())

    plain = asked()
    assert (plain["format"], plain["method"], plain["base_texture"], plain["frames"]) == ("png", "inverse", None, None)
    settings.bake_detail = 0.3
    assert plain["detail"] is None and asked()["detail"] is None, "chosen by the plates' noise, as without --detail"
    settings.bake_choose_detail = True
    assert asked()["detail"] == 0.3
    settings.bake_every = 2
    assert asked()["frames"] == "1,3,5"
    settings.bake_frames = "7, 10-20, 30-60:3"
    assert asked()["frames"] == "7,10-20:2,30-60:3"
    settings.base_texture, settings.bake_again = str(tmp_path / "skin.<UDIM>.png"), True
    command = asked()
    assert command["base_texture"] == settings.base_texture and (command["resume"], command["overwrite"]) == (
        False,
        True,
    )
    for name, known in (("bake_format", jobs.MAP_FORMATS), ("bake_method", jobs.BAKE_METHODS)):
        assert tuple(item.identifier for item in settings.bl_rna.properties[name].enum_items) == known
        setattr(settings, name, known[-1])
    command = asked()
    assert (command["format"], command["method"]) == ("exr", "splat")
    assert command["detail"] is None, "the engine refuses a detail of splat"


def write_capture(folder: Path) -> dict:
    told = scenes.description()
    for camera in told["cameras"]:
        for frame in (11, 12, 13):
            path = folder / f"{frame:06d}" / f"{camera['name']}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (camera["width"], camera["height"]), (frame, 0, 0)).save(path)
    document = {"format": "topo4d-capture", "version": 1, "unit_mm": 10, "cameras": told["cameras"]}
    (folder / "capture.json").write_text(json.dumps({**document, "images": "{frame}/{camera}.png"}))
    return told


def test_the_real_engine_reads_a_capture_and_its_cameras_appear(artist, tmp_path, monkeypatch):
    artist("good")
    monkeypatch.setattr(engine.Engine.__init__, "__defaults__", (engine.LAUNCHER,))
    told, scene = write_capture(tmp_path / "shoot é"), bpy.context.scene
    cameras.remove(scene.topo4d.root)
    assert bpy.ops.topo4d.load_capture(filepath=str(tmp_path / "shoot é")) == {"FINISHED"}
    beat_until(idle, 60.0)
    assert SESSION.message == "3 cameras, frames 11 to 13", (SESSION.message, SESSION.failure)
    root = scene.topo4d.root
    assert root[cameras.UNIT] == 10 and (scene.frame_start, scene.frame_end) == (11, 13)
    for camera, obj in zip(told["cameras"], cameras.cameras_of(root), strict=True):
        pose = np.linalg.inv(np.array(camera["world_to_camera"])) @ np.diag([1, -1, -1, 1])
        assert np.abs(np.array(obj.matrix_basis) - pose).max() < 1e-6
        assert obj.data.background_images[0].image.filepath


def test_a_camera_without_images_is_said_with_the_way_out_that_blender_has(artist, tmp_path, monkeypatch):
    artist("good")
    monkeypatch.setattr(engine.Engine.__init__, "__defaults__", (engine.LAUNCHER,))
    write_capture(tmp_path / "shoot")
    for path in (tmp_path / "shoot").glob("*/cam01.png"):
        path.unlink()
    bpy.ops.topo4d.load_capture(filepath=str(tmp_path / "shoot"))
    beat_until(idle, 60.0)
    assert SESSION.alert and "cam01" in SESSION.message and "-cam01 as Cameras" in SESSION.hint
    bpy.ops.topo4d.load_capture(filepath=str(tmp_path / "shoot"), cameras="-cam01")
    beat_until(idle, 60.0)
    assert SESSION.message == "2 cameras, frames 11 to 13", (SESSION.message, SESSION.failure)
    assert cameras.in_use(bpy.context.scene.topo4d.root) == ["cam00", "cam02"]


def test_a_folder_without_a_capture_is_said_in_the_engines_words(artist, tmp_path, monkeypatch):
    artist("good")
    monkeypatch.setattr(engine.Engine.__init__, "__defaults__", (engine.LAUNCHER,))
    (tmp_path / "empty").mkdir()
    bpy.ops.topo4d.load_capture(filepath=str(tmp_path / "empty"))
    beat_until(idle, 60.0)
    assert SESSION.alert and str(tmp_path / "empty") in SESSION.message and "Traceback" not in SESSION.message


def test_choosing_another_python_forgets_what_was_wrong_with_the_last(artist):
    artist("good")
    preferences = bpy.context.preferences.addons["topo4d_blender"].preferences
    preferences.python = "/no/such/python"
    with pytest.raises(RuntimeError, match="/no/such/python"):
        bpy.ops.topo4d.track()
    assert SESSION.failure and SESSION.job is None
    preferences.python = sys.executable
    assert not SESSION.failure
    assert bpy.ops.topo4d.track() == {"FINISHED"}
    beat_until(idle)
    assert SESSION.message == "5 frames tracked"


def test_a_take_solved_elsewhere_is_loaded_without_an_engine(artist, tmp_path):
    obj, folder = artist("good"), tmp_path / "farm"
    (folder / "geometry").mkdir(parents=True)
    (folder / "texture_2k").mkdir()
    (folder / "take.json").write_text("{}")
    for frame, vertices in scenes.performance(obj, (7, 8)).items():
        np.save(folder / "geometry" / f"{frame:06d}.npy", vertices)
        Image.new("RGB", (4, 4)).save(folder / "texture_2k" / f"{frame:06d}.png")
    assert bpy.ops.topo4d.load_take(directory=str(folder)) == {"FINISHED"}
    assert_shows(obj, folder, [7, 8])
    assert obj.material_slots[0].material["topo4d_texture"]
    bpy.ops.topo4d.export_fbx(filepath=str(tmp_path / "a.fbx"))
    assert (tmp_path / "a.fbx").stat().st_size > 10_000
    with pytest.raises(RuntimeError, match="holds no take"):
        bpy.ops.topo4d.load_take(directory=str(tmp_path))


def test_a_new_take_never_names_a_folder_that_exists(artist, tmp_path):
    artist("good")
    (tmp_path / "shoot_take_001").mkdir()
    bpy.ops.topo4d.new_take()
    assert Path(bpy.context.scene.topo4d.take) == tmp_path / "shoot_take_002"
