"""Animation curves written whole, over the three action interfaces of the supported Blender versions.

4.5 and later: actions have slots and `fcurve_ensure_for_datablock`. Before: `Action.fcurves`, which is gone in 5.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

_INTERPOLATION = {"CONSTANT": 0, "LINEAR": 1}  # values of rna_enum_beztriple_interpolation_mode_items


def ensure(block: bpy.types.ID, path: str, action_name: str, index: int = 0) -> bpy.types.FCurve:
    """The curve that drives `path` of `block`, made (with the action `action_name` if there is none) where missing.

    `index` is the element of an array, such as a location.
    """
    data = block.animation_data or block.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(action_name)
    if hasattr(data.action, "fcurve_ensure_for_datablock"):
        return data.action.fcurve_ensure_for_datablock(block, path, index=index)
    return data.action.fcurves.find(path, index=index) or data.action.fcurves.new(path, index=index)


def has(block: bpy.types.ID, path: str) -> bool:
    """Whether a curve drives `path` of `block`, or an element of it."""
    data = block.animation_data
    if data is None or data.action is None:
        return False
    return any(curve.data_path == path for curve in _curves(data))


def write(
    curve: bpy.types.FCurve, frames: Sequence[int], values: Sequence[float], interpolation: str = "LINEAR"
) -> None:
    """Replace every key of `curve` by (`frames`, `values`), ascending; outside them the end values hold.

    One key a frame where exactness matters: between two keys Blender interpolates in float32.
    """
    curve.keyframe_points.clear()
    if len(frames):
        curve.keyframe_points.add(len(frames))
        pairs = np.column_stack([frames, values]).astype(np.float32)
        curve.keyframe_points.foreach_set("co", pairs.ravel())
        curve.keyframe_points.foreach_set("interpolation", [_INTERPOLATION[interpolation]] * len(frames))
    curve.extrapolation = "CONSTANT"
    curve.update()


def remove(block: bpy.types.ID, path: str, index: int = 0) -> None:
    """Take the animation off `path` of `block` (its element `index`); nothing happens where there is none."""
    data = block.animation_data
    if data is not None and data.action is not None:
        curve = ensure(block, path, "", index)
        _curves(data).remove(curve)


def _curves(data: bpy.types.AnimData):
    """The curves of `data`: where actions have slots, those of its slot, for an object and its keys may share one."""
    if not hasattr(data, "action_slot"):
        return data.action.fcurves
    from bpy_extras import anim_utils  # not in every version this module loads in

    if not hasattr(anim_utils, "action_get_channelbag_for_slot"):  # 4.4
        return data.action.fcurves
    bag = anim_utils.action_get_channelbag_for_slot(data.action, data.action_slot)
    return () if bag is None else bag.fcurves
