"""Correct: sculpt a frame that went wrong, and let the frames around it follow."""

from pathlib import Path

import bpy
from bpy.props import IntProperty

from ..bridge import corrections, show, takes
from ..bridge.errors import BridgeError
from .common import can_start, is_free, needs_take, tracked
from .track import start_tracking


class TOPO4D_OT_correct_frame(bpy.types.Operator):
    """Sculpt this frame's shape key, which stands still meanwhile; press again to leave it"""

    bl_idname = "topo4d.correct_frame"
    bl_label = "Sculpt This Frame"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take that is not being worked on."""
        return needs_take(cls, context) and is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """There and back."""
        obj = tracked(context)
        try:
            if obj.mode == "SCULPT":
                corrections.end(obj, context.view_layer)
            else:
                corrections.begin(obj, context.scene.frame_current, context.view_layer)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


class TOPO4D_OT_set_anchor(bpy.types.Operator):
    """Fix this frame as it is now; Track Sequence then meets it exactly and shares the error out on both sides"""

    bl_idname = "topo4d.set_anchor"
    bl_label = "Keep as Anchor"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take that is not being worked on."""
        return needs_take(cls, context) and is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the anchor; nothing is solved yet."""
        scene, obj = context.scene, tracked(context)
        folder, frame = takes.folder_of(obj), scene.frame_current
        try:
            corrections.end(obj, context.view_layer)
            _keep(context, folder, as_anchor=True)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"Frame {frame} is an anchor; Track Sequence solves what it touches again")
        return {"FINISHED"}


class TOPO4D_OT_remove_anchor(bpy.types.Operator):
    """Let this frame be tracked again by the next Track Sequence, with all that its anchor touched"""

    bl_idname = "topo4d.remove_anchor"
    bl_label = "Remove Anchor"
    bl_options = {"UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """On a frame that is an anchor."""
        if not (needs_take(cls, context) and is_free(cls)):
            return False
        if str(context.scene.frame_current) not in tracked(context).topo4d.anchors.split(", "):
            cls.poll_message_set("This frame is no anchor")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Take its file away."""
        obj = tracked(context)
        folder = takes.folder_of(obj)
        try:
            corrections.remove_anchor(folder, context.scene.frame_current)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        show.list_anchors(obj, folder)
        return {"FINISHED"}


class TOPO4D_OT_track_again(bpy.types.Operator):
    """Track the frames that follow this one again, from its shape as it is now"""

    bl_idname = "topo4d.track_again"
    bl_label = "Track Again from Here"
    bl_options = {"UNDO"}

    direction: IntProperty(default=1, options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of the one way or the other."""
        where = "after" if properties.direction > 0 else "before"
        return f"Track the frames {where} this one again, from its shape as it is now, up to the next anchor"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take, its capture, an engine that is free."""
        if context.scene.topo4d.root is None:
            cls.poll_message_set("Load a capture first")
            return False
        return needs_take(cls, context) and can_start(cls, context)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Give the engine this frame and the frames to follow; between two given frames it must be an anchor."""
        obj, frame = tracked(context), context.scene.frame_current
        folder = takes.folder_of(obj)
        try:
            corrections.end(obj, context.view_layer)
            asked = {"again": _text(corrections.beyond(folder, frame, self.direction))}
            if corrections.is_enclosed(folder, frame) or frame in takes.anchors(folder):
                _keep(context, folder, as_anchor=True)
                if not corrections.is_met(folder, frame):
                    frames = corrections.frames_of(folder)
                    asked = {"frames": _text(sorted(frames)), "start": frames[0]}  # all that the anchor touches
            elif frame != corrections.frames_of(folder)[0]:
                _keep(context, folder, as_anchor=False)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return start_tracking(self, context, folder, **asked)


def _text(frames: list[int]) -> str:
    return ",".join(map(str, frames))


def _keep(context: bpy.types.Context, folder: Path, as_anchor: bool) -> None:
    """Write the current frame as it is meant into the take. Raises BridgeError."""
    scene, obj = context.scene, tracked(context)
    frame = scene.frame_current
    if frame == corrections.frames_of(folder)[0]:
        raise BridgeError(f"Frame {frame} is the template's own; change the template and track a new take.")
    vertices = corrections.vertices_now(obj, scene.topo4d.root, folder, scene)
    write = corrections.write_anchor if as_anchor else corrections.write_start
    write(folder, frame, vertices)
    show.list_anchors(obj, folder)


CLASSES = (TOPO4D_OT_correct_frame, TOPO4D_OT_set_anchor, TOPO4D_OT_remove_anchor, TOPO4D_OT_track_again)
