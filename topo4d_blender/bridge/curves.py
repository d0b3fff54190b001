"""Animation curves written whole, over the three action interfaces of the supported Blender versions.

4.5 and later: actions have slots and `fcurve_ensure_for_datablock`. Before: `Action.fcurves`, which is gone in 5.0.
"""

from __future__ import annotations

from collections.abc import Sequence

import bpy
import numpy as np

_INTERPOLATION = {"CONSTANT": 0, "LINEAR": 1}  # values of rna_enum_beztriple_interpolation_mode_items


def ensure(block: bpy.types.ID, path: str, action_name: str) -> bpy.types.FCurve:
    """The curve that drives `path` of `block`, made (with the action `action_name` if there is none) where missing."""
    data = block.animation_data or block.animation_data_create()
    if data.action is None:
        data.action = bpy.data.actions.new(action_name)
    if hasattr(data.action, "fcurve_ensure_for_datablock"):
        return data.action.fcurve_ensure_for_datablock(block, path)
    return data.action.fcurves.find(path) or data.action.fcurves.new(path)


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


def remove(block: bpy.types.ID, path: str) -> None:
    """Take the animation off `path` of `block`; nothing happens where there is none."""
    data = block.animation_data
    if data is not None and data.action is not None:
        curve = ensure(block, path, "")
        owner = data.action.fcurves if hasattr(data.action, "fcurves") else _channelbag(data).fcurves
        owner.remove(curve)


def _channelbag(data: bpy.types.AnimData):
    from bpy_extras import anim_utils  # not in every version this module loads in

    return anim_utils.action_get_channelbag_for_slot(data.action, data.action_slot)
