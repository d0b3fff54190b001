"""Export: what this Blender can write."""

import bpy

from ..bridge.export import available
from ..operators.common import tracked
from .common import Tab, next_step


class TOPO4D_PT_export(Tab, bpy.types.Panel):
    """Alembic, FBX and USD, each only where the build has it."""

    bl_idname = "TOPO4D_PT_export"
    bl_label = "Export"
    bl_order = 7
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        """A button a format."""
        if tracked(context) is None:
            next_step(self.layout, "Track a sequence first")
            return
        column = self.layout.column(align=True)
        for kind in ("alembic", "fbx", "usd"):
            if available(kind):
                column.operator(f"topo4d.export_{kind}", icon="EXPORT")


CLASSES = (TOPO4D_PT_export,)
