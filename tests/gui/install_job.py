"""From the zip to shape keys in a Blender that never saw the checkout (run by Blender; test_installed.py judges).

In /w: topo4d.zip, a folder to install the engine from, capture/, job.json. No Python but Blender's own, no network.
Written to /w/out: pictures, hands.log, what was seen (seen.json), the vertices of every key.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import bpy
import numpy as np

sys.path.insert(0, "/w")
from hands import Hands, Walk

OUT = Path("/w/out")
JOB = json.loads(Path("/w/job.json").read_text("utf-8"))
EXTENSION = "bl_ext.user_default.topo4d"
hands = Hands(OUT)
seen: dict = {"blender": bpy.app.version_string, "online": bpy.app.online_access}


def walk() -> Walk:
    """The whole visit."""
    yield from arrive()
    yield from install()
    yield from load()
    yield from track()
    (OUT / "seen.json").write_text(json.dumps(seen, indent=1), encoding="utf-8")


def arrive() -> Walk:
    """Install the zip and see what the tab says without an engine; its one button leads to the preferences."""
    bpy.ops.extensions.package_install_files(filepath="/w/topo4d.zip", repo="user_default", enable_on_install=True)
    yield from hands.open_tab("Topo4D")
    hands.picture("no-engine-yet")
    windows = len(bpy.context.window_manager.windows)
    yield from hands.press("topo4d.open_preferences")
    yield from hands.wait(lambda: len(bpy.context.window_manager.windows) > windows, "the preferences are open", 30)
    yield 1.0
    hands.picture("preferences")
    seen["may_look_up"] = bpy.ops.topo4d.look_up_engine.poll()


def install() -> Walk:
    """Install the engine from the folder; the timer of the extension does the rest."""
    state = sys.modules[f"{EXTENSION}.bridge.install.errand"].INSTALL
    seen["install"] = list(bpy.ops.topo4d.install_engine_folder(directory=JOB["wheels"]))
    stages: list[str] = []
    pictured = False
    while state.job:
        if state.stage not in stages:
            stages.append(state.stage)
        if state.stage.startswith("Installing") and not pictured:
            yield 1.0
            hands.picture("installing")
            pictured = True
        yield 0.2
    yield 1.0
    hands.picture("installed")
    seen.update(
        {
            "stages": stages,
            "failure": state.failure,
            "engine": str(state.engine),
            "can": (state.doctor or {}).get("can"),
        }
    )
    assert not state.failure, state.failure
    for window in list(bpy.context.window_manager.windows)[1:]:
        with bpy.context.temp_override(window=window):
            bpy.ops.wm.window_close()
    yield 1.0


def load() -> Walk:
    """An empty scene, the template by Blender's own importer, the capture by ours."""
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    with hands.in_view():
        bpy.ops.wm.obj_import(filepath="/w/capture/start.obj")
        bpy.ops.topo4d.load_capture(filepath="/w/capture")
    yield from hands.wait(lambda: hands.window.scene.topo4d.root is not None, "the capture is in the scene", 180)
    yield 1.0


def track() -> Walk:
    """Press Track Sequence and watch the keys arrive."""
    yield from hands.press("topo4d.track")
    yield from hands.wait(lambda: not bpy.ops.topo4d.cancel.poll(), "tracking is over", 600)
    yield 1.0
    hands.picture("tracked")
    mesh = next(obj for obj in hands.window.scene.objects if obj.type == "MESH")
    keys = list(mesh.data.shape_keys.key_blocks)[1:]
    points = np.empty((len(keys), len(mesh.data.vertices), 3), np.float32)
    for key, row in zip(keys, points, strict=True):
        key.data.foreach_get("co", row.reshape(-1))
    np.save(OUT / "keys.npy", points)
    seen["hello"] = sys.modules[f"{EXTENSION}.bridge.session"].SESSION.hello


bpy.context.preferences.view.show_splash = False  # now: the walk begins when the window is there
hands.walk(walk(), JOB["seconds"])
