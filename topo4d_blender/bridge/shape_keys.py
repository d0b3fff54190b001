"""A take on a mesh: one shape key a frame, played by one curve.

Keys are *absolute* (`Key.use_relative` off): one curve on `eval_time` plays any number of them in a fraction of a
millisecond, where relative keys cost milliseconds. The key of frame f is inserted while `eval_time` is f + 1: Blender
then gives it exactly that position and sorts it in, so frames may arrive in any order, and playback, which sets the
same value, hits the position to the last bit. Blender's FBX and glTF exporters silently skip absolute keys: `relative`
turns the same key blocks into relative ones for the length of a `with`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import bpy
import numpy as np

from . import curves
from .arrays import Array, get_points, transform
from .errors import BridgeError

PREFIX = "frame_"
BASIS = "Basis"
ERROR_PROPERTY = "topo4d_error_px"


def key_name(frame: int) -> str:
    """Name of the shape key of `frame`: names sort as frames do."""
    return f"{PREFIX}{frame:06d}"


def frame_of(name: str) -> int | None:
    """The frame a shape key called `name` stands for; None if it is not one of ours."""
    digits = name.removeprefix(PREFIX)
    return int(digits) if name.startswith(PREFIX) and digits.isdigit() else None


def frames_on(obj: bpy.types.Object) -> list[int]:
    """The frames that `obj` has shape keys of, ascending."""
    found = map(frame_of, _key_names(obj))
    return sorted(frame for frame in found if frame is not None)


def check(obj: bpy.types.Object, vertices: Array | None = None) -> None:
    """Raise BridgeError if `obj` cannot carry a take: not an editable mesh, or one with an artist's own shape keys.

    With `vertices` [V, 3], of a frame of the take, also if the take was made from another mesh.
    """
    if obj.type != "MESH":
        raise BridgeError(f"'{obj.name}' is not a mesh; choose the mesh to track.")
    if obj.library or obj.data.library or obj.override_library:
        raise BridgeError(f"'{obj.name}' is linked from another file; make it local before tracking onto it.")
    foreign = [name for name in _key_names(obj)[1:] if frame_of(name) is None]
    if foreign:
        raise BridgeError(
            f"'{obj.name}' has shape keys of its own ('{foreign[0]}'); track onto a copy without shape keys."
        )
    if vertices is not None and vertices.shape != (len(obj.data.vertices), 3):
        raise BridgeError(
            f"'{obj.name}' has {len(obj.data.vertices)} vertices and the take {len(vertices)}; "
            "the take was made from another template."
        )


def build(
    obj: bpy.types.Object, frames: Iterable[int], read: Callable[[int], Array], to_object: Array | None = None
) -> None:
    """Give `obj` one shape key for each of `frames`, replacing the ones it has, and the curve that plays them.

    `read(frame)` gives vertices [V, 3] in capture coordinates; `to_object` [4, 4] takes them to `obj`'s own
    (`arrays.capture_to_object`; None: they are the same). Raises BridgeError (`check`, another vertex count).
    """
    check(obj)
    clear(obj)
    for frame in sorted(frames):
        append(obj, frame, read(frame), to_object)
    refresh_playback(obj)


def append(obj: bpy.types.Object, frame: int, vertices: Array, to_object: Array | None = None) -> None:
    """Add or overwrite the key of one `frame` from `vertices` [V, 3]; call `refresh_playback` after a batch."""
    check(obj, vertices)
    _insert(obj, frame, transform(vertices, to_object))


def clear(obj: bpy.types.Object) -> None:
    """Remove every key and its curve; the mesh returns to its own vertices, which were never changed."""
    keys = obj.data.shape_keys
    if keys is None:
        return
    action = keys.animation_data.action if keys.animation_data else None
    obj.shape_key_clear()
    if action is not None and action.users == 0:
        bpy.data.actions.remove(action)


def refresh_playback(obj: bpy.types.Object) -> None:
    """Make the `eval_time` curve follow the keys that are there."""
    frames = frames_on(obj)
    if frames:
        curve = curves.ensure(obj.data.shape_keys, "eval_time", f"{obj.name} playback")
        curves.write(curve, frames, [_eval_time(frame) for frame in frames])
        obj.show_only_shape_key = False  # the pin would freeze the mesh on one key


def error_curve(obj: bpy.types.Object, error_px: Mapping[int, float]) -> None:
    """Animate ``obj["topo4d_error_px"]`` with the residual of each frame, pixels: the Graph Editor draws the curve."""
    frames = sorted(error_px)
    obj[ERROR_PROPERTY] = float(error_px[frames[0]]) if frames else 0.0
    curve = curves.ensure(obj, f'["{ERROR_PROPERTY}"]', f"{obj.name} error")
    curves.write(curve, frames, [error_px[frame] for frame in frames])


@contextmanager
def relative(obj: bpy.types.Object) -> Iterator[None]:
    """Within the `with`, `obj` plays the same keys as relative ones: each 1 on its frame, 0 on its neighbours.

    In between two frames the weights add up to 1, so sub-frames are the same straight blend as in absolute mode.
    """
    keys = obj.data.shape_keys
    data = keys.animation_data
    playback, slot = data.action, getattr(data, "action_slot", None)
    data.action = None
    keys.use_relative = True
    try:
        _write_piles(keys)
        yield
    finally:
        piles, data.action = data.action, playback
        if slot is not None:
            data.action_slot = slot
        if piles is not None:
            bpy.data.actions.remove(piles)
        keys.use_relative = False


def read_key(obj: bpy.types.Object, frame: int) -> Array:
    """Vertices of the key of `frame`, object coordinates.  # [V, 3] float32. KeyError if there is none."""
    return get_points(obj.data.shape_keys.key_blocks[key_name(frame)].points)


def activate(obj: bpy.types.Object, frame: int) -> None:
    """Make the key of `frame` the one that Edit Mode and Sculpt Mode show and change; none is no error."""
    name = key_name(frame)
    if name in _key_names(obj):
        obj.active_shape_key_index = obj.data.shape_keys.key_blocks.find(name)


def _insert(obj: bpy.types.Object, frame: int, vertices: Array) -> None:
    if obj.data.shape_keys is None:
        obj.shape_key_add(name=BASIS, from_mix=False).interpolation = "KEY_LINEAR"
        obj.data.shape_keys.use_relative = False
    keys = obj.data.shape_keys
    block = keys.key_blocks.get(key_name(frame))
    if block is None:
        now = keys.eval_time
        keys.eval_time = _eval_time(frame)
        block = obj.shape_key_add(name=key_name(frame), from_mix=False)
        block.interpolation = "KEY_LINEAR"
        keys.eval_time = now
    block.points.foreach_set("co", vertices.ravel())
    obj.data.update_tag()


def _write_piles(keys: bpy.types.Key) -> None:
    """Curves by index, not by name: looking 600 names up in each of 600 curves costs 20 ms a frame, indices 2 ms."""
    blocks = [(i, frame_of(block.name)) for i, block in enumerate(keys.key_blocks)]
    blocks = [(i, frame) for i, frame in blocks if frame is not None]
    frames = np.array([frame for _, frame in blocks])
    for n, (i, frame) in enumerate(blocks):
        near = frames[max(n - 1, 0) : n + 2]
        curve = curves.ensure(keys, f"key_blocks[{i}].value", f"{keys.name} export")
        curves.write(curve, near, (near == frame).astype(float))


def _eval_time(frame: int) -> float:
    return float(frame + 1)  # the Basis stands at 0


def _key_names(obj: bpy.types.Object) -> list[str]:
    return obj.data.shape_keys.key_blocks.keys() if obj.data.shape_keys else []
