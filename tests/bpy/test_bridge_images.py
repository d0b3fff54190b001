"""Baked textures on a mesh."""

from __future__ import annotations

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from topo4d_blender.bridge import images  # noqa: E402
from topo4d_blender.bridge.errors import BridgeError  # noqa: E402


def bake(folder, frames):
    for frame in frames:
        Image.new("RGB", (8, 8), (frame * 10, 0, 0)).save(folder / f"{frame:06d}.png")


def rendered_red(scene, frame) -> int:
    """The red that frame shows, from a Cycles emission render: what a wrong offset or a stale cache would change."""
    scene.frame_set(frame)
    scene.render.filepath = f"{bpy.app.tempdir}red.png"
    bpy.ops.render.render(write_still=True)
    return int(np.asarray(Image.open(scene.render.filepath))[16, 16, 0])


def plane_before_camera(scene):
    bpy.ops.mesh.primitive_plane_add(size=4)
    obj = bpy.context.object
    camera = bpy.data.objects.new("view", bpy.data.cameras.new("view"))
    camera.location.z = 1
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 1, False
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.view_settings.view_transform = "Standard"
    return obj


def emit(material):
    """Colours as they are, without light."""
    tree = material.node_tree
    shader = tree.nodes.new("ShaderNodeEmission")
    tree.links.new(tree.nodes[images.NODE].outputs["Color"], shader.inputs["Color"])
    output = next(node for node in tree.nodes if node.type == "OUTPUT_MATERIAL")
    tree.links.new(shader.outputs["Emission"], output.inputs["Surface"])


@pytest.mark.parametrize(
    ("baked", "expected"),
    [([3, 4, 5], {3: 30, 4: 40, 5: 50, 9: 50}), ([3, 6], {2: 30, 3: 30, 5: 30, 6: 60, 8: 60})],
)
def test_every_scene_frame_shows_its_own_texture(tmp_path, baked, expected):
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    bake(tmp_path, baked)
    emit(images.show_sequence(obj, tmp_path, baked))
    assert {frame: rendered_red(scene, frame) for frame in expected} == pytest.approx(expected, abs=1)


def test_more_frames_later_replace_the_keyed_gaps(tmp_path):
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    bake(tmp_path, [3, 4, 5])
    first = images.show_sequence(obj, tmp_path, [3, 5])
    emit(images.show_sequence(obj, tmp_path, [3, 4, 5]))
    assert len(bpy.data.materials) == 1 and first == bpy.data.materials[0]
    assert rendered_red(scene, 4) == pytest.approx(40, abs=1)
    assert len([i for i in bpy.data.images if i.source == "SEQUENCE"]) == 1


def test_the_artists_materials_are_overridden_not_changed(tmp_path):
    scenes.fresh()
    obj = scenes.head()
    skin, eyes = bpy.data.materials.new("skin"), bpy.data.materials.new("eyes")
    for material in (skin, eyes):
        obj.data.materials.append(material)
    obj.data.polygons[0].material_index = 1
    bake(tmp_path, [1, 2])
    ours = images.show_sequence(obj, tmp_path, [1, 2])
    assert [slot.material for slot in obj.material_slots] == [ours, ours]
    assert list(obj.data.materials) == [skin, eyes] and obj.data.polygons[0].material_index == 1


def test_the_nodes_name_the_uv_map_and_the_colour_space(tmp_path):
    scenes.fresh()
    obj = scenes.head()
    obj.data.uv_layers.new(name="second")
    bake(tmp_path, [7, 8, 9])
    nodes = images.show_sequence(obj, tmp_path, [7, 8, 9], "second").node_tree.nodes
    texture = nodes[images.NODE]
    assert nodes[f"{images.NODE} UV"].uv_map == "second"
    assert texture.image.source == "SEQUENCE" and texture.image.colorspace_settings.name == "sRGB"
    user = texture.image_user
    assert (user.frame_start, user.frame_duration, user.frame_offset) == (7, 3, 6)
    assert user.use_auto_refresh and not user.use_cyclic


def test_no_uv_map_and_no_pictures_are_said_in_words(tmp_path):
    scenes.fresh()
    obj = scenes.head()
    with pytest.raises(BridgeError, match="bake some frames"):
        images.show_sequence(obj, tmp_path, [1])
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    with pytest.raises(BridgeError, match="no UV map"):
        images.show_sequence(obj, tmp_path, [1])
