"""Takes out of Blender: Alembic, FBX and, where the build has it, USD."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from . import shape_keys
from .errors import BridgeError


def available(kind: str) -> bool:
    """Whether this Blender can write `kind`: "alembic", "usd" or "fbx" (distributions build without some)."""
    category, name = {
        "alembic": ("wm", "alembic_export"),
        "usd": ("wm", "usd_export"),
        "fbx": ("export_scene", "fbx"),
    }[kind]
    return name in dir(getattr(bpy.ops, category))


def alembic(path: Path, obj: bpy.types.Object, frames: tuple[int, int] | None = None) -> None:
    """Write `obj` as an Alembic cache: vertices frame by frame, any length, exact (float32).

    `frames` (first, last) defaults to those with shape keys. Raises BridgeError if there is nothing to write or it
    cannot be written.
    """
    first, last = frames or _range(obj)
    with _only_selected(obj), _writing(path):
        bpy.ops.wm.alembic_export(
            filepath=str(path), start=first, end=last, selected=True, flatten=False, uvs=True, as_background_job=False
        )


def usd(path: Path, obj: bpy.types.Object, frames: tuple[int, int] | None = None) -> None:
    """Write `obj` as USD, the performance as a point cache. Raises as `alembic` does."""
    with _scene_range(obj, frames or _range(obj)), _only_selected(obj), _writing(path):
        bpy.ops.wm.usd_export(
            filepath=str(path), selected_objects_only=True, export_animation=True, export_shapekeys=False
        )


def fbx(path: Path, obj: bpy.types.Object, frames: tuple[int, int] | None = None) -> None:
    """Write `obj` as FBX, one morph target a frame with its weight curve: for shots of a few hundred frames.

    Blender's exporter skips absolute shape keys without a word, so the keys turn relative meanwhile. Raises as
    `alembic` does.
    """
    with _scene_range(obj, frames or _range(obj)), _only_selected(obj), shape_keys.relative(obj), _writing(path):
        bpy.ops.export_scene.fbx(
            filepath=str(path),
            use_selection=True,
            object_types={"MESH"},
            use_mesh_modifiers=False,  # the exporter drops shape keys where it applies modifiers
            bake_anim=True,
            bake_anim_use_nla_strips=False,
            bake_anim_use_all_actions=False,
            bake_anim_simplify_factor=0.0,  # the default thins the curves out
            add_leaf_bones=False,
        )


def _range(obj: bpy.types.Object) -> tuple[int, int]:
    frames = shape_keys.frames_on(obj)
    if not frames:
        raise BridgeError(f"'{obj.name}' has no tracked frames to export; track it or rebuild it from its take first.")
    return frames[0], frames[-1]


def _scene_of(obj: bpy.types.Object) -> bpy.types.Scene:
    if obj.users_scene:
        return obj.users_scene[0]
    raise BridgeError(f"'{obj.name}' is in no scene, so it cannot be exported.")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Name the file in whatever the exporter complains about, and notice when it wrote nothing at all."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.stat().st_mtime_ns if path.exists() else None
    try:
        yield
    except RuntimeError as error:
        raise BridgeError(f"{path.name} could not be written: {str(error).strip()}") from error
    if not path.exists() or path.stat().st_mtime_ns == before:
        raise BridgeError(f"Blender wrote nothing to {path}; see whether the folder is writable and the disk has room.")


@contextmanager
def _scene_range(obj: bpy.types.Object, frames: tuple[int, int]) -> Iterator[None]:
    """The exporters that have no range of their own read the scene's."""
    scene = _scene_of(obj)
    before = scene.frame_start, scene.frame_end
    scene.frame_start, scene.frame_end = frames
    try:
        yield
    finally:
        scene.frame_start, scene.frame_end = before


@contextmanager
def _only_selected(obj: bpy.types.Object) -> Iterator[None]:
    """Select `obj` alone, in a scene and view layer that hold it, and put everything back."""
    scene = _scene_of(obj)
    layer = next((layer for layer in scene.view_layers if obj.name in layer.objects), None)
    if layer is None:
        raise BridgeError(f"'{obj.name}' is in an excluded collection; include it in the view layer to export it.")
    selected, active = [o for o in layer.objects if o.select_get(view_layer=layer)], layer.objects.active
    frame = scene.frame_current
    hidden, disabled = obj.hide_get(view_layer=layer), obj.hide_viewport
    obj.hide_viewport = False
    obj.hide_set(False, view_layer=layer)
    for other in selected:
        other.select_set(False, view_layer=layer)
    obj.select_set(True, view_layer=layer)
    layer.objects.active = obj
    try:
        with bpy.context.temp_override(scene=scene, view_layer=layer):
            yield
    finally:
        obj.select_set(False, view_layer=layer)
        for other in selected:
            other.select_set(True, view_layer=layer)
        layer.objects.active = active
        obj.hide_set(hidden, view_layer=layer)
        obj.hide_viewport = disabled
        scene.frame_set(frame)
