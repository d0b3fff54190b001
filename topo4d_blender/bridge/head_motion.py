"""The head's rigid motion on the object, so that the shape keys hold the expression alone.

The object is keyed on every frame (location, quaternion), and each key holds what is left of its frame in the object's
space there. Blender keeps both in float32; the keys are therefore made for the very matrix that Blender reads back from
its own channels, not for the one that was asked for, and the two multiply to the tracked vertices again. What the
artist had in the channels lies on the object meanwhile and comes back to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import bpy
import numpy as np
from mathutils import Matrix

from . import curves
from .arrays import REST, Array, capture_to_object, object_world, rest_basis
from .errors import BridgeError

_ROTATIONS = {"QUATERNION": "rotation_quaternion", "AXIS_ANGLE": "rotation_axis_angle"}  # others: rotation_euler
_CHANNELS = [("location", i) for i in range(3)] + [("rotation_quaternion", i) for i in range(4)]


def is_on(obj: bpy.types.Object) -> bool:
    """Whether `obj` carries a head's motion."""
    return REST in obj


def put_on(
    obj: bpy.types.Object, root: bpy.types.Object | None, poses: Mapping[int, Array], frames: Iterable[int]
) -> dict[int, Array]:
    """Key `obj` with the head's motion on `frames`; for each, what takes capture coordinates to `obj`'s there.

    `poses` are rigid motions [4, 4] in the space of the capture at `root`, by frame; a frame without one takes the
    nearest. Raises BridgeError if something else moves `obj` already, or there are no poses.
    """
    check(obj, poses)
    rest, capture, above = _places(obj, root)
    scale = np.array(obj.scale, np.float64)
    _remember(obj)
    obj.rotation_mode = "QUATERNION"
    known, rows, matrices, before = np.array(sorted(poses)), [], {}, None
    for frame in (frames := sorted(frames)):
        pose = poses[int(known[np.abs(known - frame).argmin()])]
        world = capture @ pose @ np.linalg.inv(capture) @ rest
        placed = np.linalg.inv(above) @ world
        turn = Matrix(placed[:3, :3] / scale).to_quaternion()
        if before is not None and turn.dot(before) < 0:
            turn.negate()  # the same turn, without a spin in between two frames
        before = turn
        obj.location, obj.rotation_quaternion = placed[:3, 3], turn
        rows.append([*obj.location, *obj.rotation_quaternion])
        matrices[frame] = np.linalg.inv(above @ np.array(obj.matrix_basis, np.float64)) @ capture
    for (path, index), values in zip(_CHANNELS, np.array(rows).T, strict=True):
        curves.write(curves.ensure(obj, path, f"{obj.name} head", index), frames, values)
    return matrices


def matrix_now(obj: bpy.types.Object, root: bpy.types.Object | None) -> Array | None:
    """Takes capture coordinates to `obj`'s own in the scene's current frame.  # as `arrays.capture_to_object`."""
    if not is_on(obj):
        return capture_to_object(obj, root)
    _, capture, above = _places(obj, root)
    return np.linalg.inv(above @ np.array(obj.matrix_basis, np.float64)) @ capture


def take_off(obj: bpy.types.Object) -> None:
    """Put `obj` back where the artist had it. The keys on it hold a head at rest until they are built again."""
    if not is_on(obj):
        return
    for path, index in _CHANNELS:
        curves.remove(obj, path, index)
    rest = obj[REST].to_dict()
    obj.rotation_mode = rest["mode"]
    obj.location = rest["location"]
    setattr(obj, _rotation(rest["mode"]), rest["rotation"])
    del obj[REST]


def check(obj: bpy.types.Object, poses: Mapping[int, Array]) -> None:
    """Raise BridgeError if `obj` cannot carry a head's motion, or there are no `poses`."""
    if not poses:
        raise BridgeError(
            "This take says nothing of the head's motion (head_pose.npy); press Track Sequence to add it."
        )
    if is_on(obj):
        return
    moved = any(curves.has(obj, path) for path in ("location", "rotation_quaternion", "rotation_euler"))
    if moved or obj.constraints:
        raise BridgeError(
            f"'{obj.name}' is moved by {'keys' if moved else 'constraints'} of its own; take them off, or parent it to "
            "an empty that has them."
        )
    if not all(obj.scale):
        raise BridgeError(f"'{obj.name}' is scaled to nothing; give it a scale.")


def _places(obj: bpy.types.Object, root: bpy.types.Object | None) -> tuple[Array, Array, Array]:
    """Where `obj` rests, where the capture stands, and what stands between the world and `obj`'s own channels."""
    rest, to_object = object_world(obj), capture_to_object(obj, root)
    capture = rest @ (np.eye(4) if to_object is None else to_object)
    return rest, capture, rest @ np.linalg.inv(np.array(rest_basis(obj), np.float64))


def _remember(obj: bpy.types.Object) -> None:
    mode = obj.rotation_mode
    obj[REST] = {
        "basis": [value for row in obj.matrix_basis for value in row],
        "location": list(obj.location),
        "mode": mode,
        "rotation": list(getattr(obj, _rotation(mode))),
    }


def _rotation(mode: str) -> str:
    return _ROTATIONS.get(mode, "rotation_euler")
