"""Subject: the mesh to track."""

import bpy

from ..bridge.meshes import ROLES
from ..operators.common import subject
from .common import Tab, fields, next_step


class TOPO4D_PT_subject(Tab, bpy.types.Panel):
    """Choose the template, its UV map, its roles."""

    bl_idname = "TOPO4D_PT_subject"
    bl_label = "Subject"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """The template, or what to choose."""
        settings, obj = context.scene.topo4d, subject(context)
        column = fields(self.layout)
        column.prop(settings, "template")
        if obj is None:
            next_step(self.layout, "Choose the mesh that lies on the subject in the first frame")
            return
        if settings.template is None:
            column.label(text=f"Active object: {obj.name}", icon="OUTLINER_OB_MESH")
        column.prop_search(settings, "uv_map", obj.data, "uv_layers")
        if not obj.data.uv_layers:
            next_step(self.layout, "Without a UV map it can be tracked but not textured")
        roles = [name for name in ROLES if name in obj.vertex_groups]
        column.label(text=f"Roles: {', '.join(roles) or 'none'}", icon="GROUP_VERTEX")


CLASSES = (TOPO4D_PT_subject,)
