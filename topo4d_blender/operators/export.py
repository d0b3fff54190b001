"""Export: Alembic, FBX, USD."""

from collections.abc import Callable
from pathlib import Path

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ExportHelper

from ..bridge import export
from ..bridge.errors import BridgeError
from .common import is_free, needs_take, tracked


class _Export(ExportHelper):
    """One file format: subclasses name it and say which bridge function writes it."""

    bl_options = {"PRESET"}
    write: Callable

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """A take that is not being worked on, in Object Mode: the exporters refuse others with less kind words."""
        if context.mode != "OBJECT":
            cls.poll_message_set("Leave the edit mode first")
            return False
        return needs_take(cls, context) and is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Write the tracked mesh, all its frames."""
        path = Path(bpy.path.abspath(self.filepath))
        try:
            type(self).write(path, tracked(context))
        except BridgeError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        self.report({"INFO"}, f"{path.name} is written")
        return {"FINISHED"}


class TOPO4D_OT_export_alembic(bpy.types.Operator, _Export):
    """Write the performance as an Alembic cache: vertices frame by frame, any length"""

    bl_idname = "topo4d.export_alembic"
    bl_label = "Export Alembic"
    filename_ext = ".abc"
    filter_glob: StringProperty(default="*.abc", options={"HIDDEN"})
    write = staticmethod(export.alembic)


class TOPO4D_OT_export_fbx(bpy.types.Operator, _Export):
    """Write the performance as FBX: one morph target a frame with its weight curve, for up to a few hundred frames"""

    bl_idname = "topo4d.export_fbx"
    bl_label = "Export FBX"
    filename_ext = ".fbx"
    filter_glob: StringProperty(default="*.fbx", options={"HIDDEN"})
    write = staticmethod(export.fbx)


class TOPO4D_OT_export_usd(bpy.types.Operator, _Export):
    """Write the performance as USD: a point cache"""

    bl_idname = "topo4d.export_usd"
    bl_label = "Export USD"
    filename_ext = ".usdc"
    filter_glob: StringProperty(default="*.usdc", options={"HIDDEN"})
    write = staticmethod(export.usd)


CLASSES = (TOPO4D_OT_export_alembic, TOPO4D_OT_export_fbx, TOPO4D_OT_export_usd)
