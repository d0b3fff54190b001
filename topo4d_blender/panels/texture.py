"""Texture: bake and show."""

import bpy

from ..operators.common import tracked
from .common import Tab, draw_job, fields, next_step


class TOPO4D_PT_texture(Tab, bpy.types.Panel):
    """Bake a colour map a frame."""

    bl_idname = "TOPO4D_PT_texture"
    bl_label = "Texture"
    bl_order = 5
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Settings, the button or the progress."""
        layout, settings = self.layout, context.scene.topo4d
        if draw_job(layout, "bake"):
            return
        if tracked(context) is None:
            next_step(layout, "Track a sequence first")
            return
        column = fields(layout)
        column.prop(settings, "bake_resolution")
        column.prop(settings, "bake_frames")
        column.prop(settings, "bake_again")
        row = layout.row()
        row.scale_y = 1.3
        row.operator("topo4d.bake", icon="RENDER_STILL")
        layout.operator("topo4d.show_textures", icon="TEXTURE")


CLASSES = (TOPO4D_PT_texture,)
