"""The baked textures on a mesh: one material with an image sequence, or one a UDIM tile, on the existing UV map."""

from __future__ import annotations

import bpy

from . import curves, plates, shape_keys
from .errors import BridgeError
from .maps import Maps

MARK = "topo4d_texture"  # on our materials
NODE = "Topo4D Sequence"  # the node whose output is the colour
UV_NODE = f"{NODE} UV"
MIN_FRAME = -1048574  # MINAFRAME: the lowest frame Blender knows


def show_maps(obj: bpy.types.Object, maps: Maps, uv_map: str = "") -> bpy.types.Material:
    """Let `obj` wear the map of frame 123 on scene frame 123, on its UV map `uv_map` (default: the active one).

    A frame between two baked ones shows the earlier, one before the first the first. `maps` are sequences
    (`maps.as_sequences`). The artist's materials stay as they are: where `obj` has material slots they are overridden
    on the object (slot link *Object*), and linking a slot to *Data* brings the old one back. Raises BridgeError if
    there is no such UV map or no picture.
    """
    layers = obj.data.uv_layers
    layer = layers.get(uv_map) if uv_map else layers.active
    if layer is None:
        raise BridgeError(f"'{obj.name}' has no UV map{f' {uv_map!r}' if uv_map else ''}; textures need one.")
    if not maps.frames:
        raise BridgeError("There are no baked textures in this take; bake some frames first.")
    material = _own_material(obj)
    if material.node_tree is None:  # Blender before 5.0
        material.use_nodes = True
    tree = material.node_tree
    textures = _build_nodes(tree, list(maps.tiles))
    tree.nodes[UV_NODE].uv_map = layer.name
    begin = min([maps.frames[0], *shape_keys.frames_on(obj)])
    for tile, paths in maps.tiles.items():
        name = f"{obj.name} texture" if tile is None else f"{obj.name} texture {tile}"
        _replace_image(textures[tile], plates.load_sequence(paths, name, linear=maps.linear))
        _time(tree, textures[tile], maps.frames, begin)
    _wear(obj, material)
    return material


def _own_material(obj: bpy.types.Object) -> bpy.types.Material:
    for slot in obj.material_slots:
        if slot.material is not None and MARK in slot.material:
            return slot.material
    material = bpy.data.materials.new(f"{obj.name} Topo4D")
    material[MARK] = True
    return material


def _build_nodes(tree: bpy.types.NodeTree, tiles: list[int | None]) -> dict[int | None, bpy.types.Node]:
    """Our nodes in `tree`, by tile; an artist's changes around them are kept, also where the tiles are others now."""
    names = {tile: NODE if tile is None else f"{NODE} {tile}" for tile in tiles}
    there = {node.name for node in tree.nodes if node.type == "TEX_IMAGE" and node.name.startswith(NODE)}
    if there != set(names.values()):
        fed = _remove_nodes(tree)
        colour = _one_map(tree) if tiles == [None] else _tile_maps(tree, names)
        if not fed:
            shader = next((node for node in tree.nodes if node.type == "BSDF_PRINCIPLED"), None)
            fed = [shader.inputs["Base Color"]] if shader else []
        for socket in fed:
            tree.links.new(colour, socket)
    textures = {tile: tree.nodes[name] for tile, name in names.items()}
    tree.nodes.active = textures[tiles[0]]  # Solid shading with Texture colour shows the active image node
    return textures


def _remove_nodes(tree: bpy.types.NodeTree) -> list[bpy.types.NodeSocket]:
    """Take our nodes out of `tree`; the sockets that their colour went into."""
    ours = [node for node in tree.nodes if node.name.startswith(NODE)]
    last = tree.nodes.get(NODE)
    fed = [link.to_socket for link in tree.links if link.from_node == last] if last else []
    for node in ours:
        if node.type == "TEX_IMAGE":
            _unkey(tree, node)
            _replace_image(node, None)
        tree.nodes.remove(node)
    return fed


def _one_map(tree: bpy.types.NodeTree) -> bpy.types.NodeSocket:
    """UV Map -> Image Texture; the colour."""
    uv, texture = _add(tree, "UVMap", UV_NODE, (-540, 180)), _add(tree, "TexImage", NODE, (-320, 300))
    tree.links.new(uv.outputs["UV"], texture.inputs["Vector"])
    return texture.outputs["Color"]


def _tile_maps(tree: bpy.types.NodeTree, names: dict[int, str]) -> bpy.types.NodeSocket:
    """An Image Texture a tile, each where the whole part of UV is its tile's: a UDIM image cannot be a sequence.

    The sum of all of them, the others zero, is the colour.
    """
    uv = _add(tree, "UVMap", UV_NODE, (-1400, 180))
    within, corner = (
        _add_math(tree, f"{NODE} {word}", operation, (-1200, y))
        for word, operation, y in (("within", "FRACTION", 300), ("tile", "FLOOR", 100))
    )
    for node in (within, corner):
        tree.links.new(uv.outputs["UV"], node.inputs[0])
    total = None
    for row, (tile, name) in enumerate(names.items()):
        y = 300 - 300 * row
        texture = _add(tree, "TexImage", name, (-1000, y))
        tree.links.new(within.outputs["Vector"], texture.inputs["Vector"])
        texture.extension = "EXTEND"  # or a tile's first column would run into its last
        away = _add_math(tree, f"{name} away", "DISTANCE", (-700, y - 150))
        tree.links.new(corner.outputs["Vector"], away.inputs[0])
        away.inputs[1].default_value = ((tile - 1001) % 10, (tile - 1001) // 10, 0)
        here = _add(tree, "Math", f"{name} here", (-520, y - 150))
        here.operation, here.inputs[1].default_value = "LESS_THAN", 0.5
        tree.links.new(away.outputs["Value"], here.inputs[0])
        last = row == len(names) - 1
        add = _add_math(tree, NODE if last else f"{name} add", "MULTIPLY_ADD", (-320, y))
        tree.links.new(texture.outputs["Color"], add.inputs[0])
        tree.links.new(here.outputs["Value"], add.inputs[1])
        if total is not None:
            tree.links.new(total.outputs["Vector"], add.inputs[2])
        total = add
    return total.outputs["Vector"]


def _add(tree: bpy.types.NodeTree, kind: str, name: str, place: tuple[int, int]) -> bpy.types.Node:
    node = tree.nodes.new(f"ShaderNode{kind}")
    node.name = node.label = name
    node.location = place
    return node


def _add_math(tree: bpy.types.NodeTree, name: str, operation: str, place: tuple[int, int]) -> bpy.types.Node:
    node = _add(tree, "VectorMath", name, place)
    node.operation = operation
    return node


def _replace_image(texture: bpy.types.Node, image: bpy.types.Image | None) -> None:
    old, texture.image = texture.image, image
    if old is not None and old.users == 0:
        bpy.data.images.remove(old)


def _unkey(tree: bpy.types.NodeTree, texture: bpy.types.Node) -> str:
    """Take the keys off the number of the file; the path of that number."""
    path = f'nodes["{texture.name}"].image_user.frame_offset'
    if tree.animation_data and tree.animation_data.action:
        curves.remove(tree, path)
    return path


def _time(tree: bpy.types.NodeTree, texture: bpy.types.Node, frames: list[int], begin: int) -> None:
    """Let `texture` show file number f on scene frame f, from `begin` on.

    Contiguous frames play as they are. Gaps, and frames before the first, need the file's number keyed, or Blender
    shows missing files in pink.
    """
    path = _unkey(tree, texture)
    plates.play(texture.image_user, frames[0], frames[-1])
    if frames != list(range(begin, frames[-1] + 1)):
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
