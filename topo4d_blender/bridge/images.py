"""The baked textures on a mesh: one material with an image sequence on the existing UV map."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import bpy

from . import curves, plates
from .errors import BridgeError

MARK = "topo4d_texture"  # on our materials
NODE = "Topo4D Sequence"
MIN_FRAME = -1048574  # MINAFRAME: the lowest frame Blender knows


def show_sequence(obj: bpy.types.Object, folder: Path, frames: Iterable[int], uv_map: str = "") -> bpy.types.Material:
    """Let `obj` wear `folder`/000123.png on scene frame 123, on its UV map `uv_map` (default: the active one).

    A frame between two baked ones shows the earlier. The artist's materials stay as they are: where `obj` has material
    slots they are overridden on the object (slot link *Object*), and linking a slot to *Data* brings the old one back.
    Raises BridgeError if there is no such UV map or no picture.
    """
    layers = obj.data.uv_layers
    layer = layers.get(uv_map) if uv_map else layers.active
    if layer is None:
        raise BridgeError(f"'{obj.name}' has no UV map{f' {uv_map!r}' if uv_map else ''}; textures need one.")
    paths = {frame: Path(folder) / f"{frame:06d}.png" for frame in sorted(frames)}
    if not paths or not paths[min(paths)].is_file():
        raise BridgeError(f"There are no baked textures in {folder}; bake some frames first.")
    material = _own_material(obj)
    texture = _build_nodes(material, layer.name)
    _replace_image(texture, plates.load_sequence(paths, f"{obj.name} texture"))
    _time(material.node_tree, texture, list(paths))
    _wear(obj, material)
    return material


def _own_material(obj: bpy.types.Object) -> bpy.types.Material:
    for slot in obj.material_slots:
        if slot.material is not None and MARK in slot.material:
            return slot.material
    material = bpy.data.materials.new(f"{obj.name} Topo4D")
    material[MARK] = True
    return material


def _build_nodes(material: bpy.types.Material, uv_map: str) -> bpy.types.Node:
    """UV Map -> Image Texture -> Principled; an artist's changes to a material built earlier are kept."""
    if material.node_tree is None:  # Blender before 5.0
        material.use_nodes = True
    tree = material.node_tree
    texture = tree.nodes.get(NODE)
    if texture is None:
        texture = tree.nodes.new("ShaderNodeTexImage")
        texture.name = texture.label = NODE
        texture.location = (-320, 300)
        uv = tree.nodes.new("ShaderNodeUVMap")
        uv.name, uv.location = f"{NODE} UV", (-540, 180)
        tree.links.new(uv.outputs["UV"], texture.inputs["Vector"])
        shader = next(node for node in tree.nodes if node.type == "BSDF_PRINCIPLED")
        tree.links.new(texture.outputs["Color"], shader.inputs["Base Color"])
    tree.nodes[f"{NODE} UV"].uv_map = uv_map
    tree.nodes.active = texture  # Solid shading with Texture colour shows the active image node
    return texture


def _replace_image(texture: bpy.types.Node, image: bpy.types.Image) -> None:
    old, texture.image = texture.image, image
    if old is not None and old.users == 0:
        bpy.data.images.remove(old)


def _time(tree: bpy.types.NodeTree, texture: bpy.types.Node, frames: list[int]) -> None:
    """Contiguous frames play as they are; gaps need the file number keyed, or Blender shows missing files in pink."""
    path = f'nodes["{NODE}"].image_user.frame_offset'
    plates.play(texture.image_user, frames[0], frames[-1])
    if tree.animation_data and tree.animation_data.action:
        curves.remove(tree, path)
    if frames != list(range(frames[0], frames[-1] + 1)):
        texture.image_user.frame_start, texture.image_user.frame_duration = MIN_FRAME, 1  # the number is 1 + offset
        curve = curves.ensure(tree, path, f"{tree.name} texture")
        curves.write(curve, frames, [frame - 1 for frame in frames], "CONSTANT")


def _wear(obj: bpy.types.Object, material: bpy.types.Material) -> None:
    if not obj.material_slots:
        obj.data.materials.append(material)
        return
    for slot in obj.material_slots:
        if slot.material != material:
            slot.link = "OBJECT"
            slot.material = material
