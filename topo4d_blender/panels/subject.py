"""Subject: the mesh to track."""

import bpy

from ..bridge.meshes import ROLES
from ..operators.common import subject
from .common import Tab, next_step, settings_of


class TOPO4D_PT_subject(Tab, bpy.types.Panel):
    """Choose the template, its UV map, its roles."""

    bl_idname = "TOPO4D_PT_subject"
    bl_label = "Subject"
    bl_order = 3

    def draw(self, context: bpy.types.Context) -> None:
        """The template, or what to choose."""
        settings, obj = context.scene.topo4d, subject(context)
        column = settings_of(self.layout)
        column.prop(settings, "template", placeholder=obj.name if obj is not None else "")
        if obj is None:
            next_step(self.layout, "Choose the mesh that lies on the subject in the first frame")
            self.layout.operator("wm.obj_import", text="Import OBJ", icon="IMPORT")
            return
        layers = obj.data.uv_layers
        if layers:
            column.prop(settings, "uv_map", icon="GROUP_UVS", placeholder=layers.active.name)
        else:
            next_step(self.layout, "Without a UV map it can be tracked but not textured")
        if roles := [name for name in ROLES if name in obj.vertex_groups]:
            column.label(text=f"Roles: {', '.join(roles)}", icon="GROUP_VERTEX")


CLASSES = (TOPO4D_PT_subject,)
