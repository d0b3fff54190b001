"""An artist's corrections of tracked frames: a sculpted key as an anchor of the take, or as what others start from.

Besides its anchors, which are an artist's to give, the engine alone writes a take. The one exception stands here: a
frame that was corrected and is started from (`write_start`) is put in its place whole, just as `--again` expects it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import bpy
import numpy as np

from . import head_motion, shape_keys, takes
from .arrays import Array, get_points, transform
from .errors import BridgeError

ALIKE = 1e-5  # of the mesh's size: what float32 and a moved object leave of the same vertices


def begin(obj: bpy.types.Object, frame: int, layer: bpy.types.ViewLayer) -> None:
    """Sculpt on the key of `frame`, which stands still meanwhile. Raises BridgeError if there is none."""
    _need_key(obj, frame)
    if obj.name not in layer.objects:
        raise BridgeError(f"'{obj.name}' is not in this view layer; include its collection.")
    layer.objects.active = obj
    shape_keys.activate(obj, frame)
    obj.show_only_shape_key = True
    bpy.ops.object.mode_set(mode="SCULPT")


def end(obj: bpy.types.Object, layer: bpy.types.ViewLayer) -> None:
    """Leave the sculpting or editing of `obj`, and let its keys play again."""
    if obj.mode != "OBJECT":
        layer.objects.active = obj
        bpy.ops.object.mode_set(mode="OBJECT")  # what was edited reaches the key
    obj.show_only_shape_key = False


def vertices_now(obj: bpy.types.Object, root: bpy.types.Object | None, folder: Path, scene: bpy.types.Scene) -> Array:
    """The current frame as it is meant: its key where that was changed, else what the take holds, bit by bit.

    # [V, 3] float32, capture coordinates. Raises BridgeError if the frame has no key.
    """
    frame = scene.frame_current
    _need_key(obj, frame)
    scene.frame_set(frame)  # on the frame itself, for the object may move with the head
    to_object = head_motion.matrix_now(obj, root)
    shown, solved = shape_keys.read_key(obj, frame), takes.read_shown(folder, frame)
    size = float(np.ptp(get_points(obj.data.vertices), axis=0).max())
    if shown.shape == solved.shape and np.abs(transform(solved, to_object) - shown).max() <= ALIKE * size:
        return solved
    return transform(shown, None if to_object is None else np.linalg.inv(to_object))


def write_anchor(folder: Path, frame: int, vertices: Array) -> None:
    """Give and fix `frame` of the take by `vertices` [V, 3], capture coordinates. Raises BridgeError."""
    _write(folder / "anchors" / f"{frame:06d}.npy", vertices)


def remove_anchor(folder: Path, frame: int) -> None:
    """Let `frame` be tracked again. Raises BridgeError if its file cannot be removed."""
    path = folder / "anchors" / f"{frame:06d}.npy"
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise BridgeError(f"{path} could not be removed: {error.strerror}.") from error


def write_start(folder: Path, frame: int, vertices: Array) -> None:
    """Let others start from `vertices` [V, 3], capture coordinates, at `frame` of the take. Raises BridgeError."""
    _write(folder / "geometry" / f"{frame:06d}.npy", vertices)


def frames_of(folder: Path) -> list[int]:
    """The frames of the take as they are solved, the template's own first. Raises BridgeError."""
    try:
        frames = [int(f) for f in json.loads((folder / "take.json").read_text("utf-8"))["frames"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BridgeError(f"{folder} holds no take that can be gone on with; load it or track anew.") from error
    if not frames:
        raise BridgeError(f"{folder} holds a take without frames; track anew.")
    return frames


def given_frames(folder: Path) -> list[int]:
    """The frames of the take that are given, ascending: the template's own and the anchors'. Raises BridgeError."""
    frames = frames_of(folder)
    return sorted({frames[0], *(set(takes.anchors(folder)) & set(frames))})


def is_enclosed(folder: Path, frame: int) -> bool:
    """Whether given frames lie on both sides of `frame`: then nothing starts from it, for both share its error."""
    given = given_frames(folder)
    return given[0] < frame < given[-1] and frame not in given


def is_met(folder: Path, frame: int) -> bool:
    """Whether the take was solved with the anchor of `frame` as it is now, or would be. Raises BridgeError."""
    return np.array_equal(takes.read_shown(folder, frame), takes.read_geometry(folder, frame))


def beyond(folder: Path, frame: int, direction: int) -> list[int]:
    """The frames of the take that follow `frame` (before it where `direction` is -1), nearest first.

    As far as the next one that is given. Raises BridgeError if there are none.
    """
    given = set(given_frames(folder))
    run = []
    for other in sorted((f for f in frames_of(folder) if (f - frame) * direction > 0), key=lambda f: abs(f - frame)):
        if other in given:
            break
        run.append(other)
    if not run:
        where = "after" if direction > 0 else "before"
        raise BridgeError(f"There is no frame {where} {frame} that could be tracked again.")
    return run


def _need_key(obj: bpy.types.Object, frame: int) -> None:
    if frame not in shape_keys.frames_on(obj):
        raise BridgeError(f"Frame {frame} is not tracked yet; go to one that is.")


def _write(path: Path, vertices: Array) -> None:
    part = path.with_name(f".{path.name}.tmp")  # the engine sweeps such a rest away
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.save(file, np.ascontiguousarray(vertices, np.float32), allow_pickle=False)
        os.replace(part, path)
    except OSError as error:
        raise BridgeError(f"{path} could not be written: {error.strerror}.") from error
