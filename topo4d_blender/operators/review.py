"""Review: go to the frames that need eyes, look at the mesh over the plates of every camera."""

import bpy
from bpy.props import IntProperty, StringProperty

from ..bridge import cameras, flags, takes, views
from ..bridge.errors import BridgeError
from .common import is_free, needs_take, subject, tracked


class TOPO4D_OT_go_to_frame(bpy.types.Operator):
    """Go to this frame"""

    bl_idname = "topo4d.go_to_frame"
    bl_label = "Go to Frame"
    bl_options = {"INTERNAL"}

    frame: IntProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Scrub there."""
        context.scene.frame_set(self.frame)
        return {"FINISHED"}


class TOPO4D_OT_step_camera(bpy.types.Operator):
    """Look through the next or the previous camera of the capture"""

    bl_idname = "topo4d.step_camera"
    bl_label = "Next Camera"
    bl_options = {"UNDO", "INTERNAL"}

    direction: IntProperty(default=1, options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of the one arrow or the other."""
        return f"Look through the {'next' if properties.direction > 0 else 'previous'} camera of the capture"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With cameras to step through."""
        if context.scene.topo4d.root is None:
            cls.poll_message_set("Load a capture first")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Make it the scene's camera and turn this view to it."""
        camera = views.next_camera(context.scene.topo4d.root, context.scene.camera, self.direction)
        if camera is None:
            self.report({"ERROR"}, "This capture has no cameras any more; load it again.")
            return {"CANCELLED"}
        cameras.look_through(camera, context.scene)
        if context.area is not None and context.area.type == "VIEW_3D":
            views.turn_to_camera(context.space_data)
        return {"FINISHED"}


class TOPO4D_OT_wireframe(bpy.types.Operator):
    """Show the tracked mesh as wires, so that the plate is seen through it; press again to see the surface"""

    bl_idname = "topo4d.wireframe"
    bl_label = "Wireframe over the Plate"
    bl_options = {"UNDO", "INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a mesh that can be changed."""
        obj = subject(context)
        if obj is None:
            cls.poll_message_set("Choose the mesh to track")
        elif obj.library is not None:
            cls.poll_message_set("The mesh is linked from another file")
        else:
            return True
        return False

    def execute(self, context: bpy.types.Context) -> set[str]:
        """There and back; switched on outside of a camera, this view turns to the scene's."""
        obj = subject(context)
        on = not views.shows_wires(obj)
        views.show_wires(obj, on, context.view_layer)
        space = context.space_data
        if on and context.scene.camera is not None and space is not None and space.type == "VIEW_3D":
            views.turn_to_camera(space)
        return {"FINISHED"}


class TOPO4D_OT_step_flag(bpy.types.Operator):
    """Go to the next frame in which the engine found something wrong"""

    bl_idname = "topo4d.step_flag"
    bl_label = "Next Flagged Frame"
    bl_options = {"INTERNAL"}

    direction: IntProperty(default=1, options={"SKIP_SAVE"})

    @classmethod
    def description(cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties) -> str:
        """The tooltip of the one arrow or the other."""
        return f"Go to the {'next' if properties.direction > 0 else 'previous'} frame with something wrong"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With flags to go to."""
        obj = tracked(context)
        if obj is None or not obj.topo4d.flags:
            cls.poll_message_set("No frame has a flag")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Scrub there; from the last flagged frame on to the first."""
        frames = sorted({entry.frame for entry in tracked(context).topo4d.flags})
        now = context.scene.frame_current
        if self.direction > 0:
            frame = next((f for f in frames if f > now), frames[0])
        else:
            frame = next((f for f in reversed(frames) if f < now), frames[-1])
        context.scene.frame_set(frame)
        return {"FINISHED"}


class TOPO4D_OT_select_where(bpy.types.Operator):
    """Select the worst of the vertices concerned, in Edit Mode on this frame's shape key"""

    bl_idname = "topo4d.select_where"
    bl_label = "Select Where"
    bl_options = {"UNDO", "INTERNAL"}

    flag: StringProperty(options={"SKIP_SAVE"})

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a take whose mesh can be changed."""
        return needs_take(cls, context) and is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Ask the take's journal, which names them."""
        obj, frame = tracked(context), context.scene.frame_current
        metrics = takes.read_metrics(takes.folder_of(obj))
        try:
            flags.select(obj, flags.vertices_of(metrics, frame, self.flag), frame, context.view_layer)
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"FINISHED"}


CLASSES = (
    TOPO4D_OT_go_to_frame,
    TOPO4D_OT_step_camera,
    TOPO4D_OT_wireframe,
    TOPO4D_OT_step_flag,
    TOPO4D_OT_select_where,
)
