"""Track: the big button."""

import bpy

from ..operators.common import subject
from .common import Tab, draw_job, draw_message, fields, next_step


class TOPO4D_PT_track(Tab, bpy.types.Panel):
    """Track the sequence, see how far it is, stop it."""

    bl_idname = "TOPO4D_PT_track"
    bl_label = "Track"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        """The button or the progress, then the take folder and the last word."""
        layout, settings = self.layout, context.scene.topo4d
        if not draw_job(layout, "track"):
            row = layout.row()
            row.scale_y = 1.8
            row.operator("topo4d.track", icon="TRACKING_FORWARDS")
            if settings.root is None:
                next_step(layout, "Load a capture first")
            elif subject(context) is None:
                next_step(layout, "Choose the mesh to track")
        draw_message(layout)
        column = fields(layout)
        column.enabled = settings.root is not None
        column.prop(settings, "take")
        row = layout.row(align=True)
        row.operator("topo4d.new_take", icon="ADD")
        row.operator("topo4d.load_take", icon="FILE_REFRESH")


CLASSES = (TOPO4D_PT_track,)
