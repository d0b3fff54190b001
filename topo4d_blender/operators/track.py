"""Track: write the template, start the engine, show the take."""

import re
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ..bridge import cameras, maps, meshes, shape_keys, show, takes
from ..bridge.errors import BridgeError
from ..bridge.session import Handle, Job
from ..preferences import get_preferences
from .common import NO_CAMERA, can_start, is_free, needs_take, start, subject, tracked


class TOPO4D_OT_track(bpy.types.Operator):
    """Solve the template through the frames of the capture; a take that was interrupted goes on where it stands"""

    bl_idname = "topo4d.track"
    bl_label = "Track Sequence"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A capture, a mesh, an engine that is free."""
        if context.scene.topo4d.root is None:
            cls.poll_message_set("Load a capture first")
        elif subject(context) is None:
            cls.poll_message_set("Choose the mesh to track")
        else:
            return can_start(cls, context)
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the job; frames arrive on the mesh as the engine solves them."""
        settings = context.scene.topo4d
        if not settings.take:
            settings.take = str(default_take(settings.root))
        return start_tracking(
            self,
            context,
            Path(bpy.path.abspath(settings.take)),
            frames=settings.frames.strip() or None,
            start=_start_frame(settings),
            anchors=_path(settings.anchors),
            from_take=_path(settings.from_take),
        )


def start_tracking(operator: bpy.types.Operator, context: bpy.types.Context, folder: Path, **asked: object) -> set[str]:
    """Write the template and start the job into `folder`; `asked` are options of core/protocol.py.

    Returns the operator's own value; what prevents the job is reported.
    """
    settings, obj = context.scene.topo4d, subject(context)
    looking = cameras.in_use(settings.root)
    if not looking:
        operator.report({"ERROR"}, NO_CAMERA)
        return {"CANCELLED"}
    template = Path(bpy.app.tempdir) / "topo4d_template.npz"
    try:
        shape_keys.check(obj)
        meshes.write_template(obj, settings.root, template, settings.uv_map)
    except BridgeError as error:
        operator.report({"ERROR"}, str(error))
        return {"CANCELLED"}
    settings.template = obj
    preferences = get_preferences(context)
    command = {
        "job": "track",
        "capture": settings.root[cameras.SOURCE],
        "template": str(template),
        "take": str(folder),
        "cameras": looking,
        "method": "gauss-newton",
        "settings": {},
        "device": preferences.device if preferences else "auto",
        "resume": True,
        **asked,
    }
    job = Job(command, Handle.of(context.scene), finish_track, Handle.of(obj), Handle.of(settings.root), folder)
    return start(operator, context, job)


def _start_frame(settings: bpy.types.PropertyGroup) -> int | None:
    """The frame that the template fits; None for the first that is named, or of the take that is gone on with."""
    if settings.track_from == "FRAME":
        return settings.start_frame
    if settings.track_from == "LAST":
        named = [int(number) for number in re.findall(r"(?<![:\d])\d+", settings.frames)]  # not the n of every n-th
        return max(named or settings.root.get(cameras.FRAMES) or [1])
    return None


def _path(text: str) -> str | None:
    return bpy.path.abspath(text) if text else None


def finish_track(job: Job) -> str:
    """Put the take on the mesh whole, in order, whatever happened to the frames that arrived one by one."""
    obj, scene = job.obj.find(), job.scene.find()
    if obj is None or scene is None:
        return f"{job.folder.name} is done; open the file it belongs to, or load the take onto its mesh."
    count, damaged = show.show_take(obj, job.root.find(), job.folder, scene)
    if damaged:
        return f"{count} frames tracked, {len(damaged)} damaged on disk: delete those, press Track Sequence again."
    return f"{count} frames tracked"


def default_take(root: bpy.types.Object) -> Path:
    """A new folder beside the .blend, or beside the capture while there is none."""
    source = Path(root[cameras.SOURCE])
    beside = Path(bpy.data.filepath).parent if bpy.data.filepath else source.parent.parent
    return takes.next_folder(beside, cameras.title(root[cameras.SOURCE]))


class TOPO4D_OT_new_take(bpy.types.Operator):
    """Choose a new take folder, so that the next tracking begins anew and the old take is kept"""

    bl_idname = "topo4d.new_take"
    bl_label = "New Take"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The folder's name comes from the capture."""
        if context.scene.topo4d.root is None:
            cls.poll_message_set("Load a capture first")
            return False
        return is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """The first number that is free."""
        context.scene.topo4d.take = str(default_take(context.scene.topo4d.root))
        return {"FINISHED"}


class TOPO4D_OT_load_take(bpy.types.Operator):
    """Show a take on the template: one solved elsewhere, or this one again from its folder"""

    bl_idname = "topo4d.load_take"
    bl_label = "Load Take"
    bl_options = {"UNDO"}

    directory: StringProperty(subtype="DIR_PATH")

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """The frames go on a mesh."""
        if subject(context) is None:
            cls.poll_message_set("Choose the mesh of the take")
            return False
        return is_free(cls)

    def invoke(self, context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """Ask for the folder."""
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Read it all; needs no engine."""
        settings, obj, folder = context.scene.topo4d, subject(context), Path(bpy.path.abspath(self.directory))
        if not (folder / "take.json").is_file():
            self.report({"ERROR"}, f"{folder} holds no take (no take.json); choose the folder that tracking wrote.")
            return {"CANCELLED"}
        try:
            count, damaged = show.show_take(obj, settings.root, folder, context.scene)
            if maps.find(folder).frames:
                show.show_textures(obj, folder, settings.uv_map, obj.topo4d.masters)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        settings.template, settings.take = obj, str(folder)
        if damaged:
            self.report({"WARNING"}, f"{len(damaged)} frames are damaged on disk, first {damaged[0]}")
        else:
            self.report({"INFO"}, f"{count} frames loaded")
        return {"FINISHED"}


class TOPO4D_OT_head_motion(bpy.types.Operator):
    """Put the head's rigid motion on the object and leave the expression in the shape keys; press again to undo that"""

    bl_idname = "topo4d.head_motion"
    bl_label = "Head Motion on the Object"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take that is not being worked on, in Object Mode: keys are made anew."""
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave the edit mode first")
            return False
        return needs_take(cls, context) and is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """There and back, from the take folder."""
        obj, settings = tracked(context), context.scene.topo4d
        try:
            on = not obj.topo4d.head_motion
            show.show_head_motion(obj, settings.root, takes.folder_of(obj), context.scene, on)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (TOPO4D_OT_track, TOPO4D_OT_new_take, TOPO4D_OT_load_take, TOPO4D_OT_head_motion)
