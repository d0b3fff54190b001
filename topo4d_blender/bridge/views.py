"""Looking at the mesh over the plates: which camera is next, and the mesh as wires, both undone without a trace."""

from __future__ import annotations

import bpy

from . import cameras

DISPLAY_BEFORE = "topo4d_display_before"  # on a mesh shown as wires: how it was displayed before
SELECTED_BEFORE = "topo4d_selected_before"  # and whether it was selected: the thick orange of a selection hides plates


def shows_wires(obj: bpy.types.Object) -> bool:
    """Whether `show_wires` has made `obj` wires."""
    return DISPLAY_BEFORE in obj


def show_wires(obj: bpy.types.Object, on: bool, layer: bpy.types.ViewLayer) -> None:
    """Display `obj`, and nothing else, as thin wires, so that the plate is seen through it; off: as it was before."""
    there = obj.name in layer.objects  # elsewhere it can be neither selected nor seen
    if on and not shows_wires(obj):
        obj[DISPLAY_BEFORE], obj[SELECTED_BEFORE] = obj.display_type, there and obj.select_get(view_layer=layer)
        obj.display_type = "WIRE"
        if there:
            obj.select_set(False, view_layer=layer)
    elif not on and shows_wires(obj):
        obj.display_type = obj[DISPLAY_BEFORE]
        if there and obj[SELECTED_BEFORE]:
            obj.select_set(True, view_layer=layer)
        del obj[DISPLAY_BEFORE], obj[SELECTED_BEFORE]


def next_camera(root: bpy.types.Object, current: bpy.types.Object | None, direction: int) -> bpy.types.Object | None:
    """The camera of the capture that follows `current` by name, round and round; backward where `direction` is -1."""
    views = cameras.cameras_of(root)
    if not views:
        return None
    if current not in views:
        return views[0 if direction > 0 else -1]
    return views[(views.index(current) + direction) % len(views)]


def turn_to_camera(space: bpy.types.SpaceView3D) -> None:
    """Let one 3D view look through the scene's camera, without the dashed lines from the capture's root to each camera.

    Those lines meet where the subject stands; other views keep them.
    """
    space.region_3d.view_perspective = "CAMERA"
    space.overlay.show_relationship_lines = False


def find_view(pointer: int, scene: bpy.types.Scene) -> bpy.types.SpaceView3D | None:
    """The 3D view in the area at `pointer` (`Area.as_pointer`), if it is still there and shows `scene`."""
    for window in bpy.data.window_managers[0].windows:
        for area in window.screen.areas:
            if area.as_pointer() == pointer and area.type == "VIEW_3D" and window.scene == scene:
                return area.spaces.active
    return None
