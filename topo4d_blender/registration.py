"""What Blender learns when the extension is enabled, in order, and unlearns in the opposite order."""

from __future__ import annotations

import bpy

from . import operators, panels, preferences, properties
from .bridge import pump

CLASSES = (*properties.CLASSES, *preferences.CLASSES, *operators.CLASSES, *panels.CLASSES)


def register() -> None:
    """Register classes, attach the properties, look for an installed engine, start the timer."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    bpy.types.Scene.topo4d = bpy.props.PointerProperty(type=properties.TOPO4D_PG_scene)
    bpy.types.Object.topo4d = bpy.props.PointerProperty(type=properties.TOPO4D_PG_object)
    preferences.find_installed()
    pump.register()


def unregister() -> None:
    """Take everything back."""
    pump.unregister()
    del bpy.types.Object.topo4d
    del bpy.types.Scene.topo4d
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
