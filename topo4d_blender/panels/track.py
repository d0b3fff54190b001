"""Track: the big button."""

import bpy

from ..operators.common import subject, tracked
from .common import Tab, big_button, draw_message, next_step, settings_of


class TOPO4D_PT_track(Tab, bpy.types.Panel):
    """Track the sequence into a take."""

    bl_idname = "TOPO4D_PT_track"
    bl_label = "Track"
    bl_order = 4

    def draw(self, context: bpy.types.Context) -> None:
        """The button, the take it fills, and the last word about it."""
        layout, settings = self.layout, context.scene.topo4d
        big_button(layout, "topo4d.track", icon="TRACKING_FORWARDS")
        if settings.root is None:
            next_step(layout, "Load a capture first")
        elif subject(context) is None:
            next_step(layout, "Choose the mesh to track")
        else:
            column = settings_of(layout)
            column.prop(settings, "take", placeholder="New folder")
        row = layout.row(align=True)
        row.operator("topo4d.new_take", icon="ADD")
        row.operator("topo4d.load_take", icon="FILE_REFRESH")
        obj = tracked(context)
        if obj is not None:
            icon = "CHECKBOX_HLT" if obj.topo4d.head_motion else "CHECKBOX_DEHLT"
            layout.operator("topo4d.head_motion", icon=icon, depress=obj.topo4d.head_motion)
        draw_message(layout, "track", "")


class TOPO4D_PT_track_options(Tab, bpy.types.Panel):
    """Where tracking starts, and what is given besides the template."""

    bl_idname = "TOPO4D_PT_track_options"
    bl_label = "Start and Anchors"
    bl_parent_id = "TOPO4D_PT_track"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a capture."""
        return context.scene.topo4d.root is not None

    def draw(self, context: bpy.types.Context) -> None:
        """Four fields; empty ones change nothing."""
        settings = context.scene.topo4d
        column = settings_of(self.layout)
        column.prop(settings, "track_from")
        if settings.track_from == "FRAME":
            column.prop(settings, "start_frame")
        column.prop(settings, "anchors", placeholder="None")
        column.prop(settings, "from_take", placeholder="None")


CLASSES = (TOPO4D_PT_track, TOPO4D_PT_track_options)
