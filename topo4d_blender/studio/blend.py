"""Shows a take in a .blend and an Alembic cache, with the add-on's own bridge: what an artist would get by hand.

The .blend holds the capture's cameras with their plates, the template with one shape key a frame, the texture sequence
on its UV map and the timeline, with relative paths. Imports bpy: runs in a process of its own.
"""

from __future__ import annotations

import warnings
from pathlib import Path

import bpy
import numpy as np
from mathutils import Vector

from .. import registration
from ..bridge import cameras, export, show
from ..bridge.errors import BridgeError
from ..core.capture import describe, open_capture
from ..core.errors import WorkError
from ..core.progress import Progress


def write_blend(
    capture: Path, template: Path, take: Path, blend: Path, alembic: Path | None, progress: Progress | None = None
) -> None:
    """Write `blend` (and `alembic`) from a capture, the .obj that was tracked and its take. Raises WorkError."""
    progress = progress or Progress()
    progress.stage("Writing the .blend", 4 if alembic else 3)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    registration.register()  # the file then remembers its take and capture for the panels
    scene = bpy.context.scene
    scene.render.fps = 24
    try:
        root = cameras.load_cameras(describe(open_capture(capture)), scene)
        subject = _import_template(template)
        progress.advance()
        show.show_take(subject, root, take, scene)
        if any((take / "texture").glob("*.png")):
            show.show_textures(subject, take)
        progress.advance()
        settings = scene.topo4d
        settings.root, settings.template = root, subject
        _light(subject, scene)
        _open_view(subject, root, scene)
        _save(blend, take, subject, scene)
        progress.advance()
        if alembic is not None:
            export.alembic(alembic, subject)
            progress.advance()
    except (BridgeError, RuntimeError) as error:  # RuntimeError: what Blender's operators raise
        raise WorkError(f"{blend} could not be written: {str(error).strip()}") from error


def _import_template(path: Path) -> bpy.types.Object:
    """The .obj as an artist imports it: y up turned to Blender's z up by the object's rotation, vertex order kept."""
    bpy.ops.wm.obj_import(filepath=str(path))
    subject = bpy.context.selected_objects[0]
    subject.name = subject.data.name = "Suzanne" if path.stem == "start" else path.stem
    return subject


def _light(subject: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """A dim world and one lamp, so that a render of the file shows something."""
    world = bpy.data.worlds.new("World")
    scene.world = world
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.6
    size = max(subject.dimensions)
    lamp = bpy.data.lights.new("Key", "SUN")
    lamp.energy = 2.5
    key = bpy.data.objects.new("Key", lamp)
    key.location = subject.matrix_world.translation + Vector((-3.0, -4.0, 3.0)) * size
    key.rotation_euler = Vector((3.0, 4.0, -3.0)).to_track_quat("-Z", "Y").to_euler()
    scene.collection.objects.link(key)


def _open_view(subject: bpy.types.Object, root: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """The file opens on the first frame, through the most frontal upright camera, with the texture shown."""
    cameras.look_through(_best_camera(root), scene)
    scene.frame_set(scene.frame_start)
    bpy.context.view_layer.objects.active = subject
    for area in (area for screen in bpy.data.screens for area in screen.areas if area.type == "VIEW_3D"):
        space = area.spaces.active
        space.region_3d.view_perspective = "CAMERA"
        space.shading.type = "SOLID"
        space.shading.color_type = "TEXTURE"
        space.show_region_ui = True
        space.clip_start, space.clip_end = 0.001, 100.0


def _best_camera(root: bpy.types.Object) -> bpy.types.Object:
    """The camera that is least rolled, and of those the one in the middle of the rig."""
    views = cameras.cameras_of(root)
    poses = [np.array(view.matrix_basis) for view in views]  # in the capture's world, y up
    roll = [round(abs(np.degrees(np.arctan2(pose[1, 0], pose[1, 1]))) / 20.0) for pose in poses]
    middle = np.mean([pose[:3, 3] for pose in poses], axis=0)
    aside = [float(np.linalg.norm(pose[:3, 3] - middle)) for pose in poses]
    return views[min(range(len(views)), key=lambda i: (roll[i], aside[i]))]


def _save(blend: Path, take: Path, subject: bpy.types.Object, scene: bpy.types.Scene) -> None:
    blend.parent.mkdir(parents=True, exist_ok=True)
    path = str(blend.absolute())
    bpy.context.preferences.filepaths.save_version = 0  # no demo.blend1 beside it
    bpy.ops.wm.save_as_mainfile(filepath=path, check_existing=False)  # relative to what, is known only once it is saved
    bpy.ops.file.make_paths_relative()
    with warnings.catch_warnings():  # Blender 4.5 warns of relative paths in an add-on's properties, and keeps them
        warnings.simplefilter("ignore", RuntimeWarning)
        subject.topo4d.take = scene.topo4d.take = bpy.path.relpath(str(take.absolute()))
    bpy.ops.wm.save_as_mainfile(filepath=path, check_existing=False, compress=True)
