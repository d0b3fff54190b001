"""The engine itself: test it, cancel what it does, show what it did."""

import bpy

from .. import __package__ as base_package
from ..bridge.install.errand import INSTALL
from ..bridge.session import SESSION
from ..preferences import NO_PYTHON, engine_log, engine_python, install_log
from .common import is_free


class TOPO4D_OT_test_engine(bpy.types.Operator):
    """Start the engine and show what it can compute on"""

    bl_idname = "topo4d.test_engine"
    bl_label = "Test Engine"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Not while a job runs: the engine has passed its test then."""
        if not engine_python(context):
            cls.poll_message_set(NO_PYTHON)
            return False
        return is_free(cls)

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Start afresh, so that a changed path is the one tested; its doctor looks at the machine meanwhile."""
        SESSION.close_engine()
        interpreter = engine_python(context)
        SESSION.start_engine(interpreter, engine_log())
        if not SESSION.failure:
            INSTALL.start(interpreter, {"job": "check", "packages": interpreter.packages}, install_log())
        return {"FINISHED"}


class TOPO4D_OT_open_preferences(bpy.types.Operator):
    """Open the preferences of Topo4D, where the engine is installed or chosen"""

    bl_idname = "topo4d.open_preferences"
    bl_label = "Set Up Engine"
    bl_options = {"INTERNAL"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Blender's own way to an extension's preferences."""
        bpy.ops.preferences.addon_show(module=base_package)
        return {"FINISHED"}


class TOPO4D_OT_cancel(bpy.types.Operator):
    """Stop the engine; everything finished so far is kept"""

    bl_idname = "topo4d.cancel"
    bl_label = "Cancel"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while a job runs."""
        return SESSION.job is not None

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask; the timer sees to it that the engine obeys."""
        SESSION.cancel()
        return {"FINISHED"}


class TOPO4D_OT_commit(bpy.types.Operator):
    """Show what the engine has finished, as one step that can be undone"""

    bl_idname = "topo4d.commit"
    bl_label = "Topo4D Result"
    bl_options = {"INTERNAL", "UNDO"}

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """The timer calls this when a job is done: what a timer changes by itself is no undo step."""
        SESSION.commit()
        return {"FINISHED"}


CLASSES = (TOPO4D_OT_test_engine, TOPO4D_OT_open_preferences, TOPO4D_OT_cancel, TOPO4D_OT_commit)
