"""A mesh object as the engine's template: template.npz, in capture space, vertex order untouched."""

from __future__ import annotations

import os
from pathlib import Path

import bpy
import numpy as np

from .arrays import Array, capture_to_object, get_points, transform
from .errors import BridgeError

ROLES = ("t4d_static", "t4d_ignore", "t4d_stiff")


def template_arrays(obj: bpy.types.Object, root: bpy.types.Object | None, uv_map: str = "") -> dict[str, Array]:
    """What core.template.Template holds, from `obj`'s own mesh (no modifiers, no shape keys).

    vertices [V, 3] float64 in the space of the capture at `root`, loops [L] int32, face_starts [F + 1] int32, and,
    where there are, uv [L, 2] float32 and role_<name> [V] float32 in 0..1 for each role that has a vertex group.
    """
    mesh = obj.data
    if not len(mesh.polygons):
        raise BridgeError(f"'{obj.name}' has no faces; choose the mesh to track.")
    matrix = capture_to_object(obj, root)
    to_capture = None if matrix is None else np.linalg.inv(matrix)
    loops = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", loops)
    starts = np.empty(len(mesh.polygons) + 1, np.int32)
    mesh.polygons.foreach_get("loop_start", starts[:-1])
    starts[-1] = len(loops)
    arrays = {
        "vertices": transform(get_points(mesh.vertices), to_capture).astype(np.float64),
        "loops": loops,
        "face_starts": starts,
    }
    layer = mesh.uv_layers.get(uv_map) if uv_map else mesh.uv_layers.active
    if layer is not None:
        arrays["uv"] = get_points(layer.uv, "vector", 2)
    arrays.update(_roles(obj))
    return arrays


def write_template(obj: bpy.types.Object, root: bpy.types.Object | None, path: Path, uv_map: str = "") -> None:
    """Write `template_arrays` to `path`, whole or not at all. Raises BridgeError if the place cannot be written."""
    arrays = template_arrays(obj, root, uv_map)
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            np.savez(file, **arrays)
        os.replace(part, path)
    except OSError as error:
        raise BridgeError(f"The template could not be written to {path}: {error.strerror}.") from error


def _roles(obj: bpy.types.Object) -> dict[str, Array]:
    groups = {obj.vertex_groups[name].index: f"role_{name}" for name in ROLES if name in obj.vertex_groups}
    roles = {name: np.zeros(len(obj.data.vertices), np.float32) for name in groups.values()}
    if groups:
        for vertex in obj.data.vertices:
            for element in vertex.groups:
                if element.group in groups:
                    roles[groups[element.group]][vertex.index] = element.weight
    return roles
