"""Take: load a capture, look through its cameras."""

import hashlib
from pathlib import Path

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from .. import __package__ as base_package
from ..bridge import cameras, views
from ..bridge.errors import BridgeError
from ..bridge.session import Handle, Job
from .common import can_start, start


class TOPO4D_OT_load_capture(bpy.types.Operator, ImportHelper):
    """Load the cameras and plates of a capture, from its folder or its calibration file"""

    bl_idname = "topo4d.load_capture"
    bl_label = "Load Capture"

    filter_glob: StringProperty(default="*.json;*.xml", options={"HIDDEN"})
    directory: StringProperty(subtype="DIR_PATH", options={"HIDDEN", "SKIP_SAVE"})
    cameras: StringProperty(
        name="Cameras",
        description="Cameras to load, such as cam00,cam01 or cam0*; -cam07 leaves one out; empty for all",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The engine reads the calibration."""
        return can_start(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the engine what lies there; the cameras appear when it has answered."""
        path = Path(bpy.path.abspath(self.filepath or self.directory))
        if not path.exists() and path.parent.is_dir() and not path.suffix:
            path = path.parent  # the file browser appends what stands in its name field to the folder
        if not path.exists():
            self.report({"ERROR"}, f"{path} does not exist; choose the capture's folder or its calibration file.")
            return {"CANCELLED"}
        chosen = [part.strip() for part in self.cameras.split(",") if part.strip()]
        command = {"job": "open", "capture": str(path), "frames": None, "cameras": chosen or None}
        view = context.area.as_pointer() if context.area is not None else 0
        return start(self, context, Job(command, Handle.of(context.scene), finish_open, view=view))


def finish_open(job: Job) -> str:
    """Put the capture that the engine has described into the scene it was asked for."""
    scene, told = job.scene.find(), job.capture
    if scene is None:
        return "The capture was read, but its scene is gone; load it again."
    if told is None or not told.get("cameras"):
        raise BridgeError("The engine found no cameras in this capture.")
    root = cameras.load_cameras(told, scene, _links_folder(Path(told["source"])))
    cameras.set_timeline(scene, told["frames"])
    scene.topo4d.root = root
    loaded = cameras.cameras_of(root)
    if loaded:
        cameras.look_through(loaded[0], scene)
        if (space := views.find_view(job.view, scene)) is not None:
            views.turn_to_camera(space)
    if any(any(camera["distortion"]) for camera in told["cameras"]):
        job.warnings.append("Plates are shown with their lens distortion: edges may lie some pixels beside the mesh.")
    job.warnings.extend(told.get("warnings", ()))
    return f"{len(loaded)} cameras, frames {told['frames'][0]} to {told['frames'][-1]}"


def _links_folder(source: Path) -> Path | None:
    """Where links to plates may lie whose own names are no sequence: in the extension's folder, by capture."""
    try:
        plates = bpy.utils.extension_path_user(base_package, path="plates", create=True)
    except ValueError:
        return None
    mark = hashlib.sha256(str(source).encode()).hexdigest()[:12]  # many captures are called alike
    return Path(plates) / f"{cameras.title(str(source))}-{mark}"


class TOPO4D_OT_view_camera(bpy.types.Operator):
    """Look through this camera, with its plate behind the mesh"""

    bl_idname = "topo4d.view_camera"
    bl_label = "Look Through Camera"
    bl_options = {"UNDO", "INTERNAL"}

    camera: StringProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make it the scene's camera, give the frame its shape, turn the 3D view to it."""
        obj = context.scene.objects.get(self.camera)
        if obj is None:
            self.report({"ERROR"}, f"There is no camera {self.camera} in this scene any more; load the capture again.")
            return {"CANCELLED"}
        cameras.look_through(obj, context.scene)
        if context.area is not None and context.area.type == "VIEW_3D":
            views.turn_to_camera(context.space_data)
        return {"FINISHED"}


class TOPO4D_FH_capture(bpy.types.FileHandler):
    """Drop a calibration file on the 3D view."""

    bl_idname = "TOPO4D_FH_capture"
    bl_label = "Topo4D Capture"
    bl_import_operator = "topo4d.load_capture"
    bl_file_extensions = ".json;.xml"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        """3D views alone."""
        return context.area is not None and context.area.type == "VIEW_3D"


CLASSES = (TOPO4D_OT_load_capture, TOPO4D_OT_view_camera, TOPO4D_FH_capture)
