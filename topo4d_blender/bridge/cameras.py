"""A capture in a scene: its cameras as Blender cameras, its plates as their backgrounds, under one root empty.

OpenCV (x right, y down, z forward; principal point in pixels) to Blender (x right, y up, z backward; `shift` in widths
of the frame). The frame is always fitted by its width, so portrait and landscape need no cases.
"""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix

from . import plates
from .arrays import CAPTURE_TO_BLENDER

SENSOR_MM = 36.0
SOURCE = "topo4d_source"  # on the root: the calibration file
UNIT = "topo4d_unit_mm"  # on the root: millimetres in one unit
FRAMES = "topo4d_frames"  # on the root: the first and the last frame of the capture
NAME = "topo4d_camera"  # on a camera's data: its name in the capture, whatever Blender or the artist call it
SIZE = "topo4d_size"  # on a camera's data: width, height in px
_OPENCV_TO_BLENDER = np.diag([1.0, -1.0, -1.0, 1.0])


def load_cameras(description: dict, scene: bpy.types.Scene, links: Path | None = None) -> bpy.types.Object:
    """Put the capture that `description` tells of (core.capture.describe) into `scene`; returns its root empty.

    Loading the same capture again replaces its cameras and keeps where the root was moved to. `links` is a folder that
    may hold links to plates whose names are no sequence (`plates`); without it such cameras show their first plate.
    """
    source = description["source"]
    placed = CAPTURE_TO_BLENDER.copy()
    for old in find_roots(scene):
        if old[SOURCE] == source:
            placed = old.matrix_basis.copy()
            remove(old)
    collection = bpy.data.collections.new(f"Capture {title(source)}")
    scene.collection.children.link(collection)
    root = bpy.data.objects.new(collection.name, None)
    root.matrix_basis = placed
    root[SOURCE], root[UNIT] = source, float(description["unit_mm"])
    root[FRAMES] = [min(description["frames"]), max(description["frames"])]
    collection.objects.link(root)
    reach = _reach(description["cameras"])
    root.empty_display_size = 0.02 * reach  # it stands where the subject does: to be seen, not in the way
    for camera in description["cameras"]:
        obj = _new_camera(camera, reach)
        obj.parent = root
        collection.objects.link(obj)
        _add_plates(obj.data, camera["name"], description["images"], links)
    if scene.camera is None and (views := cameras_of(root)):
        look_through(views[0], scene)
    return root


def find_roots(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The root empties of the captures in `scene`."""
    return [obj for obj in scene.objects if SOURCE in obj]


def cameras_of(root: bpy.types.Object) -> list[bpy.types.Object]:
    """The cameras under `root`, by name."""
    return sorted((obj for obj in root.children if obj.type == "CAMERA"), key=lambda obj: obj.name)


def in_use(root: bpy.types.Object) -> list[str]:
    """Names, in the capture, of the cameras to track and bake with: those under `root` whose eye is open."""
    return [obj.data.get(NAME, obj.name) for obj in cameras_of(root) if not obj.hide_viewport]


def remove(root: bpy.types.Object) -> None:
    """Take a capture out of the file: its cameras, their backgrounds, its collection if that is empty then."""
    collections = list(root.users_collection)
    for obj in cameras_of(root):
        data = obj.data
        images = [background.image for background in data.background_images if background.image]
        bpy.data.objects.remove(obj)
        bpy.data.cameras.remove(data)
        for image in images:
            if image.users == 0:
                bpy.data.images.remove(image)
    bpy.data.objects.remove(root)
    for collection in collections:
        if not collection.all_objects and not collection.children and collection.users <= 1:
            bpy.data.collections.remove(collection)


def look_through(camera: bpy.types.Object, scene: bpy.types.Scene) -> None:
    """Make `camera` the scene's and give the render its picture's size and pixel aspect, or its frame would not fit."""
    scene.camera = camera
    if SIZE in camera.data:
        width, height, aspect_x, aspect_y = camera.data[SIZE]
        render = scene.render
        render.resolution_x, render.resolution_y, render.resolution_percentage = int(width), int(height), 100
        render.pixel_aspect_x, render.pixel_aspect_y = aspect_x, aspect_y


def set_timeline(scene: bpy.types.Scene, frames: list[int]) -> None:
    """Let the scene play exactly from the first to the last of `frames`."""
    scene.frame_start, scene.frame_end = min(frames), max(frames)
    scene.frame_set(min(max(scene.frame_current, scene.frame_start), scene.frame_end))


def _new_camera(camera: dict, reach: float) -> bpy.types.Object:
    """A Blender camera that images the world as `camera` does, lens distortion aside."""
    data = bpy.data.cameras.new(camera["name"])
    width, height, fx, fy = camera["width"], camera["height"], camera["fx"], camera["fy"]
    # Blender has one focal length; unequal ones become the pixel aspect fx / fy, whose parts may not be below 1.
    aspect_x, aspect_y = (1.0, fx / fy) if fx >= fy else (fy / fx, 1.0)
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = SENSOR_MM
    data.lens = SENSOR_MM * fx / width
    data.shift_x = (width / 2 - camera["cx"]) / width
    data.shift_y = (camera["cy"] - height / 2) / width * (fx / fy)
    data.clip_start, data.clip_end = 0.01 * reach, 10 * reach
    data.display_size = 0.08 * reach
    data[NAME] = camera["name"]
    data[SIZE] = [float(width), float(height), aspect_x, aspect_y]
    obj = bpy.data.objects.new(camera["name"], data)
    camera_to_world = np.linalg.inv(np.array(camera["world_to_camera"], np.float64)) @ _OPENCV_TO_BLENDER
    obj.matrix_basis = Matrix(camera_to_world.tolist())
    return obj


def _add_plates(data: bpy.types.Camera, name: str, images: dict, links: Path | None) -> None:
    paths = {int(frame): Path(by_camera[name]) for frame, by_camera in images.items() if name in by_camera}
    if not paths:
        return
    if not plates.is_sequence(paths):
        try:
            paths = plates.link_sequence(paths, links / name) if links is not None else {}
        except OSError:
            paths = {}
        paths = paths or {min(map(int, images)): Path(next(v[name] for v in images.values() if name in v))}
    background = data.background_images.new()
    background.image = plates.load_sequence(paths, f"{name} plates")
    background.frame_method = "STRETCH"  # the frame has the plate's shape: STRETCH is exact with any pixel aspect
    background.display_depth = "BACK"
    background.alpha = 1.0
    plates.play(background.image_user, min(paths), max(paths))
    data.show_background_images = True


def _reach(cameras: list[dict]) -> float:
    """How far the cameras stand from their middle, in capture units: what sizes and clipping are measured by."""
    poses = np.array([camera["world_to_camera"] for camera in cameras], np.float64)
    centres = -np.einsum("nji,nj->ni", poses[:, :3, :3], poses[:, :3, 3])
    distance = np.linalg.norm(centres - centres.mean(axis=0), axis=1).mean()
    return float(distance) if distance > 0 else max(float(np.linalg.norm(centres[0])), 1.0)


def title(source: str) -> str:
    """What people call the capture at `source`: its folder's name, or that of the one above if it is just "capture"."""
    folders = [folder.name for folder in Path(source).parents[:2]]
    return next((name for name in folders if name.lower() not in ("", "capture")), Path(source).stem)
