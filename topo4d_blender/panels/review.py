"""Review: the mesh over the plates, and where the track is worst."""

import bpy

from ..bridge import views
from ..bridge.shape_keys import ERROR_PROPERTY
from ..operators.common import subject, tracked
from ..preferences import draw_sentence
from .common import Tab, fields, next_step


class TOPO4D_PT_review(Tab, bpy.types.Panel):
    """Alignment check, the error of this frame, the worst frames with a jump."""

    bl_idname = "TOPO4D_PT_review"
    bl_label = "Review"
    bl_order = 5

    def draw(self, context: bpy.types.Context) -> None:
        """The way through the cameras, the property that carries the error curve, a button a frame."""
        obj = subject(context)
        if context.scene.topo4d.root is None or obj is None:
            next_step(self.layout, "Load a capture and choose a mesh, then check here how it lies over the plates")
            return
        self._draw_check(context, obj)
        if tracked(context) is None:
            next_step(self.layout, "Track a sequence to find its worst frames here")
            return
        if ERROR_PROPERTY in obj:
            fields(self.layout).prop(obj, f'["{ERROR_PROPERTY}"]', text="Error (px)")
        self._draw_flags(context, obj)
        column = self.layout.column(align=True)
        if obj.topo4d.worst:
            column.label(text="Worst Frames")
        for entry in obj.topo4d.worst:
            text = f"Frame {entry.frame}:  {entry.error_px:.2f} px"
            here = entry.frame == context.scene.frame_current
            column.operator("topo4d.go_to_frame", text=text, depress=here).frame = entry.frame

    def _draw_flags(self, context: bpy.types.Context, obj: bpy.types.Object) -> None:
        """What is wrong in this frame, and the way to the others."""
        flagged = {entry.frame for entry in obj.topo4d.flags}
        if not flagged:
            return
        column = self.layout.column(align=True)
        row = column.row(align=True)
        row.operator("topo4d.step_flag", text="", icon="TRIA_LEFT").direction = -1
        row.label(text=f" {len(flagged)} flagged {'frame' if len(flagged) == 1 else 'frames'}")
        row.operator("topo4d.step_flag", text="", icon="TRIA_RIGHT").direction = 1
        for entry in obj.topo4d.flags:
            if entry.frame == context.scene.frame_current:
                draw_sentence(column, entry.text, icon="ERROR")
                if entry.anywhere:
                    column.operator("topo4d.select_where", icon="RESTRICT_SELECT_OFF").flag = entry.flag

    def _draw_check(self, context: bpy.types.Context, obj: bpy.types.Object) -> None:
        """From camera to camera, with the mesh as wires or as a surface."""
        column = self.layout.column(align=True)
        column.label(text="Alignment Check")
        row = column.row(align=True)
        row.operator("topo4d.step_camera", text="", icon="TRIA_LEFT").direction = -1
        camera = context.scene.camera
        if camera is not None and camera.parent == context.scene.topo4d.root:
            looking = context.region_data is not None and context.region_data.view_perspective == "CAMERA"
            button = row.operator("topo4d.view_camera", text=camera.name, icon="VIEW_CAMERA", depress=looking)
            button.camera = camera.name
        row.operator("topo4d.step_camera", text="", icon="TRIA_RIGHT").direction = 1
        column.operator("topo4d.wireframe", icon="SHADING_WIRE", depress=views.shows_wires(obj))


class TOPO4D_PT_correct(Tab, bpy.types.Panel):
    """Correct a frame by hand, and track its neighbours again."""

    bl_idname = "TOPO4D_PT_correct"
    bl_label = "Correct and Track Again"
    bl_parent_id = "TOPO4D_PT_review"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a take."""
        return tracked(context) is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Sculpt; then follow from here, or fix the frame."""
        obj, column = tracked(context), self.layout.column(align=True)
        column.operator("topo4d.correct_frame", icon="SCULPTMODE_HLT", depress=obj.mode == "SCULPT")
        column = self.layout.column(align=True)
        column.label(text="Track Again from Here")
        row = column.row(align=True)
        for direction, text, icon in ((-1, "Backward", "TRACKING_BACKWARDS"), (1, "Forward", "TRACKING_FORWARDS")):
            row.operator("topo4d.track_again", text=text, icon=icon).direction = direction
        column = self.layout.column(align=True)
        column.operator("topo4d.set_anchor", icon="PINNED")
        if obj.topo4d.anchors:
            column.operator("topo4d.remove_anchor", icon="UNPINNED")
            draw_sentence(column, f"Anchors: {obj.topo4d.anchors}")


CLASSES = (TOPO4D_PT_review, TOPO4D_PT_correct)
