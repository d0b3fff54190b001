"""Blender's own cameras must see what the calibrated ones see."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402
from bpy_extras.object_utils import world_to_camera_view  # noqa: E402
from mathutils import Vector  # noqa: E402
from PIL import Image  # noqa: E402

from topo4d_blender.bridge import arrays, cameras, plates  # noqa: E402
from topo4d_blender.core.capture.camera import Camera  # noqa: E402

POINTS = np.random.default_rng(3).uniform(-0.1, 0.1, (50, 3))


def engine_camera(camera: dict) -> Camera:
    values = {k: v for k, v in camera.items() if k not in ("distortion", "world_to_camera")}
    return Camera(**values, world_to_camera=np.array(camera["world_to_camera"]))


def test_points_fall_on_the_pixels_the_engine_computes():
    scene, told = scenes.fresh(), scenes.description()
    root = cameras.load_cameras(told, scene)
    bpy.context.view_layer.update()
    for camera, obj in zip(told["cameras"], cameras.cameras_of(root), strict=True):
        cameras.look_through(obj, scene)
        want, depth = engine_camera(camera).project(POINTS)
        for point, pixel, z in zip(POINTS, want, depth, strict=True):
            x, y, distance = world_to_camera_view(scene, obj, root.matrix_world @ Vector(point))
            seen = np.array([x * camera["width"], (1 - y) * camera["height"]])
            assert np.abs(seen - pixel).max() < 2e-3, camera["name"]
            assert distance == pytest.approx(z, rel=1e-5)


def test_closed_eyes_are_not_in_use_and_names_are_the_captures_own():
    scene, told = scenes.fresh(), scenes.description()
    bpy.data.objects.new("cam00", None)  # Blender calls the next one cam00.001
    root = cameras.load_cameras(told, scene)
    assert cameras.in_use(root) == ["cam00", "cam01", "cam02"]
    cameras.cameras_of(root)[1].hide_viewport = True
    assert cameras.in_use(root) == ["cam00", "cam02"]


def test_a_render_puts_a_dot_where_the_engine_says():
    """world_to_camera_view could share our mistake; Workbench's rasteriser cannot."""
    scene, told = scenes.fresh(), scenes.description()
    root = cameras.load_cameras(told, scene)
    spot = np.array([0.04, 0.03, 0.02])
    bpy.ops.mesh.primitive_ico_sphere_add(radius=0.004, location=arrays.CAPTURE_TO_BLENDER @ Vector(spot))
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.film_transparent = True
    scene.display.render_aa = "OFF"
    for camera, obj in zip(told["cameras"], cameras.cameras_of(root), strict=True):
        cameras.look_through(obj, scene)
        scene.render.filepath = f"{bpy.app.tempdir}dot.png"
        bpy.ops.render.render(write_still=True)
        alpha = np.asarray(Image.open(scene.render.filepath))[..., 3]
        rows, columns = np.nonzero(alpha)
        pixel = engine_camera(camera).project(spot[None])[0][0]
        assert np.abs([columns.mean() + 0.5 - pixel[0], rows.mean() + 0.5 - pixel[1]]).max() < 0.5, camera["name"]


def test_a_mesh_imported_with_default_settings_lies_in_capture_space(tmp_path):
    scene = scenes.fresh()
    (tmp_path / "start.obj").write_text("v 1 2 3\nv 2 2 3\nv 1 3 3\nf 1 2 3\n")
    bpy.ops.wm.obj_import(filepath=str(tmp_path / "start.obj"))
    obj, root = bpy.context.object, cameras.load_cameras(scenes.description(), scene)
    assert arrays.capture_to_object(obj, root) is None
    assert list(obj.data.vertices[0].co) == [1, 2, 3]


def test_loading_again_replaces_the_cameras_and_keeps_the_root_where_it_was():
    scene, told = scenes.fresh(), scenes.description()
    root = cameras.load_cameras(told, scene)
    root.location.x = 5
    again = cameras.load_cameras({**told, "cameras": told["cameras"][:2]}, scene)
    assert len(bpy.data.cameras) == 2 and len(cameras.find_roots(scene)) == 1
    assert again.location.x == 5
    assert len(bpy.data.collections) == 1


def numbered(folder, pattern, frames, camera_names=("cam00", "cam01", "cam02")):
    images = {}
    for frame in frames:
        for name in camera_names:
            path = folder / pattern.format(camera=name, frame=frame)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (4, 4), (frame, 0, 0)).save(path)
            images.setdefault(str(frame), {})[name] = str(path)
    return images


@pytest.mark.parametrize("pattern", ["images/{camera}/{frame:06d}.png", "{frame:06d}/{camera}.png"])
def test_backgrounds_show_the_plate_of_the_scene_frame(tmp_path, pattern):
    scene = scenes.fresh()
    told = scenes.description(images=numbered(tmp_path, pattern, range(11, 15)))
    root = cameras.load_cameras(told, scene, links=tmp_path / "links")
    for obj in cameras.cameras_of(root):
        background = obj.data.background_images[0]
        assert obj.data.show_background_images and background.image.colorspace_settings.name == "sRGB"
        user = background.image_user
        assert (user.frame_start, user.frame_duration, user.frame_offset) == (11, 4, 10)
        assert obj.name in background.image.filepath
        assert plates.is_sequence(
            {f: tmp_path / pattern.format(camera=obj.name, frame=f) for f in range(11, 15)}
        ) == pattern.startswith("images")


def test_without_a_place_for_links_a_camera_shows_its_first_plate(tmp_path):
    told = scenes.description(images=numbered(tmp_path, "{frame:06d}/{camera}.png", (5, 6)))
    root = cameras.load_cameras(told, scenes.fresh())
    image = cameras.cameras_of(root)[1].data.background_images[0].image
    assert image.source == "FILE" and image.filepath.endswith("cam01.png")
