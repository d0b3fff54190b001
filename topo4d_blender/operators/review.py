"""Review: go to the frames that need eyes."""

import bpy
from bpy.props import IntProperty


class TOPO4D_OT_go_to_frame(bpy.types.Operator):
    """Go to this frame"""

    bl_idname = "topo4d.go_to_frame"
    bl_label = "Go to Frame"
    bl_options = {"INTERNAL"}

    frame: IntProperty(options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Scrub there."""
        context.scene.frame_set(self.frame)
        return {"FINISHED"}


CLASSES = (TOPO4D_OT_go_to_frame,)
