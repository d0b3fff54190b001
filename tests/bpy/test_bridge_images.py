"""Baked textures on a mesh."""

from __future__ import annotations

import json

import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

import bridge_scenes as scenes  # noqa: E402
import numpy as np  # noqa: E402
from PIL import Image  # noqa: E402

from topo4d_blender import registration  # noqa: E402
from topo4d_blender.bridge import images, maps, shape_keys, show  # noqa: E402
from topo4d_blender.bridge.errors import BridgeError  # noqa: E402
from topo4d_blender.core.texture.formats import format_of  # noqa: E402


def bake(take, frames, folder="texture", ending=".png", red=lambda frame: frame * 10):
    (take / folder).mkdir(parents=True, exist_ok=True)
    for frame in frames:
        Image.new("RGB", (8, 8), (red(frame), 0, 0)).save(take / folder / f"{frame:06d}{ending}")


def wear(obj, take, uv_map="", masters=False):
    return images.show_maps(obj, maps.as_sequences(maps.find(take, masters), take), uv_map)


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
    tree.links.new(tree.nodes[images.NODE].outputs[0], shader.inputs["Color"])
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
    emit(wear(obj, tmp_path))
    assert {frame: rendered_red(scene, frame) for frame in expected} == pytest.approx(expected, abs=1)


def test_more_frames_later_replace_the_keyed_gaps(tmp_path):
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    bake(tmp_path, [3, 5])
    first = wear(obj, tmp_path)
    bake(tmp_path, [4])
    emit(wear(obj, tmp_path))
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
    ours = wear(obj, tmp_path)
    assert [slot.material for slot in obj.material_slots] == [ours, ours]
    assert list(obj.data.materials) == [skin, eyes] and obj.data.polygons[0].material_index == 1


def test_the_nodes_name_the_uv_map_and_the_colour_space(tmp_path):
    scenes.fresh()
    obj = scenes.head()
    obj.data.uv_layers.new(name="second")
    bake(tmp_path, [7, 8, 9])
    nodes = wear(obj, tmp_path, "second").node_tree.nodes
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
        wear(obj, tmp_path)
    bake(tmp_path, [1])
    obj.data.uv_layers.remove(obj.data.uv_layers[0])
    with pytest.raises(BridgeError, match="no UV map"):
        wear(obj, tmp_path)


def test_frames_before_the_first_map_show_that(tmp_path):
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    for frame in range(1, 6):
        shape_keys.append(obj, frame, np.array([v.co for v in obj.data.vertices], np.float32))
    bake(tmp_path, [3, 4])
    emit(wear(obj, tmp_path))
    assert [rendered_red(scene, frame) for frame in (1, 3, 4, 5)] == pytest.approx([30, 30, 40, 40], abs=1)


def test_one_switch_shows_the_masters_or_what_plays(tmp_path):
    scene = scenes.fresh()
    registration.register()
    try:
        obj = plane_before_camera(scene)
        (tmp_path / "texture.json").write_text('{"format": "tiff", "tiles": null}')
        bake(tmp_path, [1, 2], "texture_2k")
        bake(tmp_path, [1, 2], "texture", ".tif", lambda frame: 100 + frame * 10)
        show.show_textures(obj, tmp_path)
        emit(obj.material_slots[0].material)
        assert rendered_red(scene, 2) == pytest.approx(20, abs=1)
        assert show.show_textures(obj, tmp_path, masters=True) == 2 and obj.topo4d.masters
        assert rendered_red(scene, 2) == pytest.approx(120, abs=1)
        show.show_textures(obj, tmp_path)
        assert rendered_red(scene, 1) == pytest.approx(10, abs=1)
    finally:
        registration.unregister()


@pytest.mark.parametrize(
    ("kind", "ending", "space"),
    [("png16", ".png", "sRGB"), ("jpeg", ".jpg", "sRGB"), ("tiff", ".tif", "sRGB"), ("exr", ".exr", "Linear Rec.709")],
)
def test_every_format_shows_the_colour_that_the_engine_wrote(tmp_path, kind, ending, space):
    """A pixel of the render is the sRGB value that was baked, whatever the file holds."""
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    (tmp_path / "texture.json").write_text(json.dumps({"format": kind, "tiles": None}))
    (tmp_path / "texture").mkdir()
    for frame, red in ((3, 200), (4, 64), (7, 128)):
        kept = format_of(kind)
        texels = np.zeros((16, 16, 3), kept.texels)
        texels[..., 0] = red * (np.iinfo(kept.texels).max // 255)
        kept.write(tmp_path / "texture" / f"{frame:06d}{ending}", texels)
    material = wear(obj, tmp_path, masters=True)
    assert material.node_tree.nodes[images.NODE].image.colorspace_settings.name == space
    emit(material)
    shown = {frame: rendered_red(scene, frame) for frame in (3, 4, 5, 7)}
    assert shown == pytest.approx({3: 200, 4: 64, 5: 64, 7: 128}, abs=2)


def write_tiles(take, frames, folder, tiles):
    (take / folder).mkdir(parents=True, exist_ok=True)
    for frame in frames:
        for k, tile in enumerate(tiles):
            Image.new("RGB", (8, 8), (frame * 10 + 50 * k, 0, 0)).save(take / folder / f"{frame:06d}.{tile}.png")


def test_udim_tiles_play_as_sequences_each_where_it_belongs(tmp_path):
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    tiles = [1001, 1002, 1012]
    (tmp_path / "texture.json").write_text(json.dumps({"format": "png", "tiles": tiles}))
    write_tiles(tmp_path, [3, 4, 7], "texture", tiles)
    (tmp_path / "texture" / "000009.1001.png").write_bytes(b"")  # a frame that lacks tiles is none
    emit(wear(obj, tmp_path))
    uv = obj.data.uv_layers.active.uv
    inside = 0.25 + 0.5 * np.array([[0, 0], [1, 0], [0, 1], [1, 1]])
    for k, corner in enumerate(((0, 0), (1, 0), (1, 1))):
        uv.foreach_set("vector", (inside + corner).astype(np.float32).ravel())
        obj.data.update()
        shown = {frame: rendered_red(scene, frame) for frame in (2, 3, 4, 5, 9)}
        expected = {2: 30, 3: 30, 4: 40, 5: 40, 9: 70}
        assert shown == pytest.approx({frame: red + 50 * k for frame, red in expected.items()}, abs=1)


def test_other_tiles_later_keep_what_the_artist_made_of_the_colour(tmp_path):
    scene = scenes.fresh()
    obj = plane_before_camera(scene)
    bake(tmp_path / "one", [1, 2])
    material = wear(obj, tmp_path / "one")
    emit(material)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "texture.json").write_text('{"format": "png", "tiles": [1001, 1002]}')
    write_tiles(tmp_path / "two", [1, 2], "texture", [1001, 1002])
    wear(obj, tmp_path / "two")
    assert rendered_red(scene, 2) == pytest.approx(20, abs=1)
    wear(obj, tmp_path / "one")
    assert rendered_red(scene, 1) == pytest.approx(10, abs=1)
    ours = [node.name for node in material.node_tree.nodes if node.name.startswith(images.NODE)]
    assert sorted(ours) == [images.NODE, images.UV_NODE]
    assert len([image for image in bpy.data.images if image.source == "SEQUENCE"]) == 1
