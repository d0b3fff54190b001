"""Take: the capture and its cameras."""

import bpy

from ..bridge import cameras
from .common import Tab, big_button, draw_message, next_step, settings_of


class TOPO4D_PT_take(Tab, bpy.types.Panel):
    """Load a capture, choose frames, look through its cameras."""

    bl_idname = "TOPO4D_PT_take"
    bl_label = "Take"
    bl_order = 2

    def draw(self, context: bpy.types.Context) -> None:
        """The load button, then what was loaded."""
        layout, settings = self.layout, context.scene.topo4d
        if settings.root is None:
            big_button(layout, "topo4d.load_capture", icon="FILE_FOLDER")
            draw_message(layout, "open")
            next_step(layout, "Load a capture: its folder, or its calibration file dropped on the 3D view")
            return
        column = settings_of(layout)
        column.prop(settings, "root")
        column.prop(settings, "frames", placeholder="All")
        column.label(text=f"1 unit is {settings.root.get(cameras.UNIT, 0):g} mm")
        there, used = len(cameras.cameras_of(settings.root)), len(cameras.in_use(settings.root))
        if used < there:
            next_step(layout, f"{used} of {there} cameras are tracked and baked with")
        layout.operator("topo4d.load_capture", text="Load Another Capture", icon="FILE_FOLDER")
        draw_message(layout, "open")


class TOPO4D_PT_cameras(Tab, bpy.types.Panel):
    """The cameras of the capture."""

    bl_idname = "TOPO4D_PT_cameras"
    bl_label = "Cameras"
    bl_parent_id = "TOPO4D_PT_take"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """With a capture."""
        return context.scene.topo4d.root is not None

    def draw(self, context: bpy.types.Context) -> None:
        """A row a camera: look through it, use it or leave it out."""
        next_step(self.layout, "A closed eye leaves the camera out of Track and Bake")
        column = self.layout.column(align=True)
        for camera in cameras.cameras_of(context.scene.topo4d.root):
            row = column.row(align=True)
            current = camera == context.scene.camera
            row.operator(
                "topo4d.view_camera", text=camera.name, depress=current, icon="VIEW_CAMERA"
            ).camera = camera.name
            eye = "HIDE_ON" if camera.hide_viewport else "HIDE_OFF"
            row.prop(camera, "hide_viewport", text="", icon=eye, emboss=False)


CLASSES = (TOPO4D_PT_take, TOPO4D_PT_cameras)
