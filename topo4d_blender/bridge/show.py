"""Brings a scene in line with a take folder: keys, error curve, timeline, texture, all rebuilt from what lies there."""

from __future__ import annotations

from pathlib import Path

import bpy

from . import cameras, images, maps, shape_keys, takes
from .arrays import capture_to_object

WORST = 5  # how many frames the Review panel lists


def show_take(
    obj: bpy.types.Object, root: bpy.types.Object | None, folder: Path, scene: bpy.types.Scene
) -> tuple[int, list[int]]:
    """Put the take at `folder` on `obj`, with its error curve; how many frames, and which ones are damaged on disk.

    Raises BridgeError if the take was made from another mesh.
    """
    solved = takes.solved_frames(folder)
    frames = [frame for frame in solved if takes.is_whole(folder, frame)]
    matrix = capture_to_object(obj, root)
    if frames:
        shape_keys.check(obj, takes.read_geometry(folder, frames[0]))
    shape_keys.build(obj, frames, lambda frame: takes.read_geometry(folder, frame), matrix)
    errors = {frame: takes.error_px(line) for frame, line in takes.read_metrics(folder).items() if frame in frames}
    known = {frame: value for frame, value in errors.items() if value is not None}
    if known:
        shape_keys.error_curve(obj, known)
    if frames:
        cameras.set_timeline(scene, frames)
    settings = obj.topo4d
    settings.take = str(folder)
    settings.worst.clear()
    for frame in sorted(known, key=known.get, reverse=True)[:WORST]:
        entry = settings.worst.add()
        entry.frame, entry.error_px = frame, known[frame]
    return len(frames), [frame for frame in solved if frame not in frames]


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
