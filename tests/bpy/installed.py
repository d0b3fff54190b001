"""In a Blender that never saw the checkout: the zip, an engine from a folder of wheels, a tracked capture.

Run by test_addon_install.py: python -I installed.py ZIP WHEELS CAPTURE. Prints one JSON object: what was seen.
"""

import json
import sys
import time
from pathlib import Path

import bpy
import numpy as np

MODULE = "bl_ext.user_default.topo4d"
ARCHIVE, WHEELS, CAPTURE = sys.argv[1:]


def beat(until, seconds):
    """What Blender's timer would do, until `until()` holds."""
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, (INSTALL.stage, INSTALL.failure, SESSION.message, SESSION.failure)
        pump.tick()
        time.sleep(0.02)


bpy.ops.extensions.package_install_files(filepath=ARCHIVE, repo="user_default", enable_on_install=True)
pump = sys.modules[MODULE + ".bridge.pump"]
SESSION = sys.modules[MODULE + ".bridge.session"].SESSION
INSTALL = sys.modules[MODULE + ".bridge.install.errand"].INSTALL
seen = {"before": bpy.ops.topo4d.look_up_engine.poll(), "tracks_before": bpy.ops.topo4d.test_engine.poll()}

stages = set()
bpy.ops.topo4d.install_engine_folder(directory=WHEELS)
beat(lambda: stages.add(INSTALL.stage) or not INSTALL.job, 400)
seen["stages"], seen["failure"], seen["doctor"] = sorted(stages), INSTALL.failure, INSTALL.doctor
seen["engine"] = str(INSTALL.engine)

for obj in list(bpy.data.objects):
    bpy.data.objects.remove(obj)
bpy.ops.wm.obj_import(filepath=f"{CAPTURE}/start.obj")
bpy.ops.topo4d.load_capture(filepath=CAPTURE)
beat(lambda: bpy.context.scene.topo4d.root is not None, 120)
bpy.ops.topo4d.track()
beat(lambda: SESSION.job is None and SESSION.ready is None, 300)
mesh = next(obj for obj in bpy.context.scene.objects if obj.type == "MESH")
keys = list(mesh.data.shape_keys.key_blocks)[1:]
points = np.empty((len(keys), len(mesh.data.vertices), 3), np.float32)
for key, row in zip(keys, points, strict=True):
    key.data.foreach_get("co", row.reshape(-1))
np.save(Path(CAPTURE).parent / "keys.npy", points)
seen["hello"] = SESSION.hello
seen["message"] = SESSION.message

sys.modules[MODULE + ".preferences"].find_installed()  # what the next start of Blender does
seen["found_again"] = str(INSTALL.engine)
seen["foreign"] = sorted({name.split(".")[0] for name in sys.modules} & {"torch", "numba", "scipy", "cv2", "PIL"})
bpy.ops.preferences.addon_disable(module=MODULE)
print("SEEN" + json.dumps(seen))
