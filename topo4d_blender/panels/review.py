"""Review: where the track is worst."""

import bpy

from ..bridge.shape_keys import ERROR_PROPERTY
from ..operators.common import tracked
from .common import Tab, fields, next_step


class TOPO4D_PT_review(Tab, bpy.types.Panel):
    """The error of this frame, and the worst frames with a jump."""

    bl_idname = "TOPO4D_PT_review"
    bl_label = "Review"
    bl_order = 4
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """The property that carries the error curve, then a button a frame."""
        obj = tracked(context)
        if obj is None:
            next_step(self.layout, "Track a sequence, then scrub it and look at its worst frames here")
            return
        if ERROR_PROPERTY in obj:
            fields(self.layout).prop(obj, f'["{ERROR_PROPERTY}"]', text="Error (px)")
        column = self.layout.column(align=True)
        if obj.topo4d.worst:
            column.label(text="Worst Frames")
        for entry in obj.topo4d.worst:
            text = f"Frame {entry.frame}:  {entry.error_px:.2f} px"
            here = entry.frame == context.scene.frame_current
            column.operator("topo4d.go_to_frame", text=text, depress=here).frame = entry.frame


CLASSES = (TOPO4D_PT_review,)
