"""Brings a scene in line with a take folder: keys, error curve, timeline, texture, all rebuilt from what lies there."""

from __future__ import annotations

from pathlib import Path

import bpy

from . import cameras, flags, head_motion, images, maps, shape_keys, takes
from .arrays import Array, capture_to_object, transform
from .errors import BridgeError

WORST = 5  # how many frames the Review panel lists


def show_take(
    obj: bpy.types.Object, root: bpy.types.Object | None, folder: Path, scene: bpy.types.Scene
) -> tuple[int, list[int]]:
    """Put the take at `folder` on `obj`, with its error curve; how many frames, and which ones are damaged on disk.

    Raises BridgeError if the take was made from another mesh.
    """
    solved = takes.solved_frames(folder)
    frames = [frame for frame in solved if takes.is_whole(folder, frame)]
    if frames:
        shape_keys.check(obj, takes.read_geometry(folder, frames[0]))
    matrices = _place(obj, root, folder, frames)
    shape_keys.build(obj, frames, lambda frame: transform(takes.read_shown(folder, frame), matrices[frame]))
    metrics = {frame: line for frame, line in takes.read_metrics(folder).items() if frame in frames}
    errors = {frame: takes.error_px(line) for frame, line in metrics.items()}
    known = {frame: value for frame, value in errors.items() if value is not None}
    if known:
        shape_keys.error_curve(obj, known)
    if frames:
        cameras.set_timeline(scene, frames)
        scene.frame_set(scene.frame_current)  # new curves say nothing until then
    settings = obj.topo4d
    settings.take = str(folder)
    settings.worst.clear()
    for frame in sorted(known, key=known.get, reverse=True)[:WORST]:
        entry = settings.worst.add()
        entry.frame, entry.error_px = frame, known[frame]
    list_anchors(obj, folder)
    settings.flags.clear()
    for flag in flags.found(metrics):
        entry = settings.flags.add()
        entry.frame, entry.flag, entry.text, entry.anywhere = flag.frame, flag.name, flag.text, flag.anywhere
    return len(frames), [frame for frame in solved if frame not in frames]


def list_anchors(obj: bpy.types.Object, folder: Path) -> None:
    """Let the panels know the anchors of the take at `folder`."""
    obj.topo4d.anchors = ", ".join(map(str, takes.anchors(folder)))


def _place(
    obj: bpy.types.Object, root: bpy.types.Object | None, folder: Path, frames: list[int]
) -> dict[int, Array | None]:
    """What takes capture coordinates to `obj`'s own in every frame (`arrays.capture_to_object`).

    With the head's motion on the object where that is wished; where it cannot be any more, it is wished no longer.
    """
    head_motion.take_off(obj)
    if obj.topo4d.head_motion and frames:
        try:
            return head_motion.put_on(obj, root, takes.head_poses(folder), frames)
        except BridgeError:
            obj.topo4d.head_motion = False
    return dict.fromkeys(frames, capture_to_object(obj, root))


def show_head_motion(
    obj: bpy.types.Object, root: bpy.types.Object | None, folder: Path, scene: bpy.types.Scene, on: bool
) -> None:
    """Put the head's motion on `obj` and leave the expression in the keys, or all of it in the keys (off).

    Built anew from the take, so that nothing is lost by going to and fro. Raises BridgeError if it cannot be: then
    everything is as it was.
    """
    if on:
        head_motion.check(obj, takes.head_poses(folder))
    obj.topo4d.head_motion = on
    show_take(obj, root, folder, scene)


def show_textures(obj: bpy.types.Object, folder: Path, uv_map: str = "", masters: bool = False) -> int:
    """Let `obj` wear the baked textures of the take at `folder`, for the viewport or the `masters`; returns how many.

    Raises BridgeError without any.
    """
    found = maps.find(folder, masters)
    images.show_maps(obj, maps.as_sequences(found, folder), uv_map)
    obj.topo4d.masters = masters
    return len(found.frames)


def is_behind(obj: bpy.types.Object) -> bool:
    """Whether the take folder of `obj` holds frames that `obj` does not show."""
    folder = takes.folder_of(obj)
    return folder is not None and not set(takes.solved_frames(folder)) <= set(shape_keys.frames_on(obj))
