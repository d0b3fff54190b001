"""Texture: bake, and show what is baked."""

from pathlib import Path

import bpy
from bpy.props import EnumProperty

from ..bridge import cameras, show, takes
from ..bridge.errors import BridgeError
from ..bridge.session import Handle, Job
from ..preferences import get_preferences
from .common import NO_CAMERA, can_start, is_free, needs_take, start, tracked

SIZES = {
    "PROXY": "Show the textures at most 2048 pixels wide: they play in the viewport",
    "MASTER": "Show the textures as they were baked: at 8K each takes seconds to read and 256 MB of memory or more",
}


class TOPO4D_OT_bake(bpy.types.Operator):
    """Bake a colour map of the tracked frames from the plates and show it on the mesh"""

    bl_idname = "topo4d.bake"
    bl_label = "Bake Textures"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take, and an engine that is free."""
        return needs_take(cls, context) and can_start(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start the job; the sequence appears on the mesh when it is done."""
        settings, obj = context.scene.topo4d, tracked(context)
        folder = takes.folder_of(obj)
        looking = None  # those that were tracked with: the cameras in the scene are another capture's
        if settings.root is not None and settings.root[cameras.SOURCE] == takes.capture_of(folder):
            looking = cameras.in_use(settings.root)
            if not looking:
                self.report({"ERROR"}, NO_CAMERA)
                return {"CANCELLED"}
        command = {
            "job": "bake",
            "take": str(folder),
            "resolution": int(settings.bake_resolution),
            "frames": _frames(settings, folder),
            "cameras": looking,
            "images": None,
            "format": settings.bake_format,
            "method": settings.bake_method,
            "detail": _detail(settings),
            "base_texture": bpy.path.abspath(settings.base_texture) if settings.base_texture else None,
            "device": _device(context, settings.bake_method),
            "resume": not settings.bake_again,
            "overwrite": settings.bake_again,
        }
        return start(self, context, Job(command, Handle.of(context.scene), finish_bake, Handle.of(obj), folder=folder))


def _device(context: bpy.types.Context, method: str) -> str:
    """What the preferences say; splat, which bakes on the processor alone, is no reason to refuse."""
    preferences = get_preferences(context)
    return preferences.device if preferences and method == "inverse" else "auto"


def _detail(settings: bpy.types.PropertyGroup) -> float | None:
    """What the artist chose, 0..1; None for what the plates' noise asks, and for splat, which knows no detail."""
    chosen = settings.bake_choose_detail and settings.bake_method == "inverse"
    return round(settings.bake_detail, 4) if chosen else None  # not the digits of a 32-bit float


def _frames(settings: bpy.types.PropertyGroup, folder: Path) -> str | None:
    """The frames to bake as the engine reads them, every n-th of each range; None for all that are tracked."""
    text, step = settings.bake_frames.strip(), settings.bake_every
    if step == 1:
        return text or None
    if not text:
        return ",".join(map(str, takes.solved_frames(folder)[::step])) or None
    parts = [part.strip() for part in text.split(",")]
    return ",".join(f"{part}:{step}" if "-" in part and ":" not in part else part for part in parts)


def finish_bake(job: Job) -> str:
    """Show the sequence on the mesh that it was baked for."""
    obj, scene = job.obj.find(), job.scene.find()
    if obj is None or scene is None:
        return f"The textures of {job.folder.name} are baked; open the file they belong to."
    count = show.show_textures(obj, job.folder, scene.topo4d.uv_map, obj.topo4d.masters)
    return f"{count} frames have textures"


class TOPO4D_OT_show_textures(bpy.types.Operator):
    """Show the baked textures of the take on the mesh, as an override that leaves its own materials as they are"""

    bl_idname = "topo4d.show_textures"
    bl_label = "Show Textures"
    bl_options = {"UNDO"}

    size: EnumProperty(
        name="Size",
        items=[("PROXY", "2K", SIZES["PROXY"]), ("MASTER", "Full Size", SIZES["MASTER"])],
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take that is not being worked on."""
        return needs_take(cls, context) and is_free(cls)

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of the one size or the other."""
        return SIZES[properties.size]

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Build the material anew from what is on disk."""
        obj = tracked(context)
        try:
            count = show.show_textures(
                obj, takes.folder_of(obj), context.scene.topo4d.uv_map, masters=self.size == "MASTER"
            )
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{count} frames have textures")
        return {"FINISHED"}


CLASSES = (TOPO4D_OT_bake, TOPO4D_OT_show_textures)
