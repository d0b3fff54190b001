"""What an artist does, from the zip to the texture, in one walk (run by Blender; test_window.py prepares and judges).

In /w: topo4d.zip, capture/, job.json (which Python is the engine's). Written to /w/out: pictures, hands.log, what was
seen (seen.json) and the vertices of every key and scrubbed frame. This file looks and touches; it judges nothing.
"""

from __future__ import annotations

import json
import os
import signal
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
seen: dict = {"blender": bpy.app.version_string}


def walk() -> Walk:
    """The whole visit."""
    yield from install()
    yield from load()
    yield from track()
    yield from scrub()
    yield from bake()
    yield from cancel_and_resume()
    (OUT / "seen.json").write_text(json.dumps(seen, indent=1), encoding="utf-8")


def install() -> Walk:
    """Install and enable the zip, look at the tab, name the engine's Python."""
    bpy.ops.extensions.package_install_files(filepath="/w/topo4d.zip", repo="user_default", enable_on_install=True)
    yield from hands.open_tab("Topo4D")
    hands.picture("installed")
    bpy.context.preferences.addons[EXTENSION].preferences.python = JOB["python"]
    yield 0.5


def load() -> Walk:
    """An empty scene, the template by Blender's own importer, the capture by ours."""
    for obj in list(bpy.data.objects):
        bpy.data.objects.remove(obj)
    with hands.in_view():
        bpy.ops.wm.obj_import(filepath="/w/capture/start.obj")
        seen["load"] = list(bpy.ops.topo4d.load_capture(filepath="/w/capture"))
    yield 0.5
    hands.picture("loading")
    yield from hands.wait(lambda: scene().topo4d.root is not None, "the capture is in the scene", 180)
    seen["cameras"] = sorted(obj.name for obj in scene().objects if obj.type == "CAMERA")
    seen["timeline"] = [scene().frame_start, scene().frame_end]
    yield 1.0
    hands.picture("loaded")
    space = hands.area.spaces.active
    seen["view_after_load"] = [space.region_3d.view_perspective, space.overlay.show_relationship_lines]


def track() -> Walk:
    """Press Track Sequence and watch the keys arrive."""
    yield from hands.press("topo4d.track")
    hands.picture("pressed")
    seen["new_take_while_working"] = bpy.ops.topo4d.new_take.poll()
    yield from hands.wait(lambda: keys() or not busy(), "the first shape key is there", 400)
    seen["arrived_while_working"] = {"keys": len(keys()), "busy": busy(), "solved": solved()}
    hands.picture("tracking")
    yield from hands.wait(lambda: not busy(), "tracking is over", 400)
    yield 1.0
    hands.picture("tracked")
    seen["take"] = subject().topo4d.take
    seen["solved"] = solved()
    seen["keys"] = {block.name: block.frame for block in keys()}
    for block in keys():
        points = np.empty(3 * len(block.data), np.float32)
        block.data.foreach_get("co", points)
        np.save(OUT / f"key_{block.name}.npy", points.reshape(-1, 3))


def scrub() -> Walk:
    """Go through the timeline and keep what the mesh shows."""
    for frame in range(scene().frame_start, scene().frame_end + 1):
        scene().frame_set(frame)
        mesh = subject().evaluated_get(bpy.context.evaluated_depsgraph_get()).data
        points = np.empty(3 * len(mesh.vertices), np.float32)
        mesh.vertices.foreach_get("co", points)
        np.save(OUT / f"scrub_{frame:06d}.npy", points.reshape(-1, 3))
    before = subject().display_type
    yield from hands.press("topo4d.wireframe")
    yield 1.0
    hands.picture("last-frame-over-its-plate")
    seen["wireframe"] = [before, subject().display_type]
    yield from hands.press("topo4d.wireframe")
    seen["wireframe"].append(subject().display_type)


def bake() -> Walk:
    """Bake two frames and look at what the mesh wears."""
    scene().topo4d.bake_resolution, scene().topo4d.bake_frames = "1024", JOB["bake"]
    with hands.in_view():
        seen["bake"] = list(bpy.ops.topo4d.bake())
    yield 1.0
    hands.picture("baking")
    yield from hands.wait(lambda: not busy(), "the bake is over", 400)
    yield 0.5
    shading = hands.area.spaces.active.shading
    shading.type, shading.color_type = "SOLID", "TEXTURE"
    hands.area.spaces.active.region_3d.view_perspective = "PERSP"
    with hands.in_view():
        subject().select_set(True)
        bpy.ops.view3d.view_axis(type="FRONT")
        bpy.ops.view3d.view_selected()
    scene().frame_set(seen["timeline"][0])
    yield 1.5
    area = hands.area
    seen["baked"] = hands.picture("baked")
    seen["view"] = [area.x, hands.window.height - area.y - area.height, area.width, area.height]
    seen["textures"] = [describe(node) for node in image_nodes()]  # now: an image has no size until it is drawn


def cancel_and_resume() -> Walk:
    """A second take: cancel it half way, then press Track Sequence again."""
    bpy.ops.topo4d.new_take()
    yield 0.5
    yield from hands.press("topo4d.track")
    yield from hands.wait(lambda: solved(scene().topo4d.take), "a frame of the second take is solved", 400)
    signal_engine(signal.SIGSTOP)  # or a fast machine would be done before the button is found
    yield from hands.press("topo4d.cancel")
    hands.picture("cancelling")
    signal_engine(signal.SIGCONT)
    yield from hands.wait(lambda: not busy(), "the engine has stopped", 60)
    yield 0.5
    hands.picture("cancelled")
    seen["cancelled"] = {"solved": solved(scene().topo4d.take), "keys": len(keys()), "take": subject().topo4d.take}
    yield from hands.press("topo4d.track")
    yield from hands.wait(lambda: not busy(), "the cancelled take is complete", 400)
    yield 0.5
    hands.picture("resumed")
    seen["resumed"] = {"solved": solved(scene().topo4d.take), "keys": len(keys())}


def scene() -> bpy.types.Scene:
    return hands.window.scene


def subject() -> bpy.types.Object:
    return next(obj for obj in scene().objects if obj.type == "MESH")


def keys() -> list[bpy.types.ShapeKey]:
    """The keys of frames, without the Basis."""
    data = subject().data.shape_keys
    return list(data.key_blocks)[1:] if data else []


def solved(take: str | None = None) -> list[int]:
    """Frames that are whole on disk."""
    return sorted(int(path.stem) for path in Path(take or scene().topo4d.take, "geometry").glob("*.npy"))


def busy() -> bool:
    """Whether a job runs: that is when there is something to cancel."""
    return bpy.ops.topo4d.cancel.poll()


def signal_engine(number: int) -> None:
    """Send a signal to the engine's process: the only one in here that runs the launcher."""
    for process in Path("/proc").glob("[0-9]*"):
        if b"launch_worker.py" in (process / "cmdline").read_bytes():
            os.kill(int(process.name), number)


def image_nodes() -> list[bpy.types.Node]:
    trees = [slot.material.node_tree for slot in subject().material_slots if slot.material]
    return [node for tree in trees if tree for node in tree.nodes if node.type == "TEX_IMAGE" and node.image]


def describe(node: bpy.types.Node) -> dict:
    """What an image node shows, and on which UV map."""
    links = node.inputs["Vector"].links
    return {
        "source": node.image.source,
        "path": bpy.path.abspath(node.image.filepath),
        "size": list(node.image.size),
        "first_frame": node.image_user.frame_start,
        "frames": node.image_user.frame_duration,
        "uv_map": links[0].from_node.uv_map if links else "",
        "uv_maps": [layer.name for layer in subject().data.uv_layers],
        "colours": bool(node.outputs["Color"].links),
    }


bpy.context.preferences.view.show_splash = False  # now: the walk begins when the window is there
hands.walk(walk(), JOB["seconds"])
