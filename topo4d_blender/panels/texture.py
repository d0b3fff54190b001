"""Texture: bake and show."""

import bpy

from ..operators.common import tracked
from .common import Tab, big_button, draw_message, next_step, settings_of


class TOPO4D_PT_texture(Tab, bpy.types.Panel):
    """Bake a colour map a frame."""

    bl_idname = "TOPO4D_PT_texture"
    bl_label = "Texture"
    bl_order = 6
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """Settings, the button, the last word about it."""
        layout, settings, obj = self.layout, context.scene.topo4d, tracked(context)
        if obj is None:
            next_step(layout, "Track a sequence first")
            return
        if not obj.data.uv_layers:
            next_step(layout, "Give the mesh a UV map, then track it into a new take: textures need one")
            return
        column = settings_of(layout)
        column.prop(settings, "bake_resolution")
        column.prop(settings, "bake_frames", placeholder="All tracked")
        column.prop(settings, "bake_again")
        big_button(layout, "topo4d.bake", icon="RENDER_STILL")
        row = layout.row(align=True)
        row.label(text="Show", icon="TEXTURE")
        for size, name in (("PROXY", "2K"), ("MASTER", "Full Size")):
            shown = obj.topo4d.masters == (size == "MASTER")
            row.operator("topo4d.show_textures", text=name, depress=shown).size = size
        draw_message(layout, "bake")


class TOPO4D_PT_texture_options(Tab, bpy.types.Panel):
    """How maps are baked and written."""

    bl_idname = "TOPO4D_PT_texture_options"
    bl_label = "Bake Options"
    bl_parent_id = "TOPO4D_PT_texture"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a mesh that can be baked on."""
        obj = tracked(context)
        return obj is not None and bool(obj.data.uv_layers)

    def draw(self, context: bpy.types.Context) -> None:
        """One field an option; the defaults are those of the command line."""
        settings, column = context.scene.topo4d, settings_of(self.layout)
        column.prop(settings, "bake_format")
        column.prop(settings, "bake_method")
        row = column.row(heading="Detail")
        row.active = settings.bake_method == "inverse"  # Gaussians are fitted to all plates as they are
        row.prop(settings, "bake_choose_detail", text="")
        amount = row.row()
        amount.active = settings.bake_choose_detail
        amount.prop(settings, "bake_detail", text="")
        column.prop(settings, "bake_every")
        column.prop(settings, "base_texture", placeholder="None")


CLASSES = (TOPO4D_PT_texture, TOPO4D_PT_texture_options)
