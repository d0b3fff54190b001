"""Engine: there only while the engine is not ready."""

import bpy

from ..bridge.install.errand import INSTALL
from ..bridge.session import SESSION
from ..preferences import NO_PYTHON, OUTDATED, draw_sentence, engine_python
from .common import Tab


class TOPO4D_PT_engine(Tab, bpy.types.Panel):
    """One sentence why nothing can be tracked yet, one button that mends it."""

    bl_idname = "TOPO4D_PT_engine"
    bl_label = "Engine"
    bl_order = 1

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Gone as soon as there is nothing to mend."""
        return not engine_python(context) or bool(SESSION.failure)

    def draw(self, _context: bpy.types.Context) -> None:
        """The sentence and the button."""
        draw_sentence(self.layout, SESSION.failure or what_is_missing(), "ERROR", True)
        self.layout.operator("topo4d.open_preferences", icon="PREFERENCES")


def what_is_missing() -> str:
    """Why there is no engine to use: a sentence with the step that mends it."""
    return f"{OUTDATED}." if INSTALL.outdated else f"No engine yet. {NO_PYTHON}."


CLASSES = (TOPO4D_PT_engine,)
