"""Coordinates between Blender's spaces and numpy, and the one axis change of this add-on.

A capture's world is right-handed with y up; Blender's is z up. The capture stands in a scene under one root empty
whose default rotation is +90 degrees about x, the rotation Blender's own OBJ importer gives a mesh, so that a template
imported with default settings lies where the cameras look and its own coordinates *are* capture coordinates.
"""

from __future__ import annotations

import bpy
import numpy as np
from mathutils import Matrix

Array = np.ndarray

REST = "topo4d_rest"  # on an object that carries a head's motion (`head_motion`): its channels without it
CAPTURE_TO_BLENDER = Matrix(((1, 0, 0, 0), (0, 0, -1, 0), (0, 1, 0, 0), (0, 0, 0, 1)))


def capture_to_object(obj: bpy.types.Object, root: bpy.types.Object | None) -> Array | None:
    """Takes capture coordinates to `obj`'s own.  # [4, 4] float64, or None where they are the same.

    `root` is the capture's root empty; without one the capture stands in its default rotation. None (rather than an
    identity) lets callers copy vertices bit by bit: a rotation through float32 matrices would cost the last digits.
    """
    capture = _world(root) if root is not None else CAPTURE_TO_BLENDER
    matrix = np.array(_world(obj).inverted_safe() @ capture, np.float64)
    return None if np.allclose(matrix, np.eye(4), atol=1e-6) else matrix


def object_world(obj: bpy.types.Object) -> Array:
    """`obj`'s world matrix, where it rests if it carries a head's motion.  # [4, 4] float64."""
    return np.array(_world(obj), np.float64)


def rest_basis(obj: bpy.types.Object) -> Matrix:
    """The matrix of `obj`'s own channels, where it rests if it carries a head's motion."""
    if REST not in obj:
        return obj.matrix_basis
    values = list(obj[REST]["basis"])
    return Matrix([values[i : i + 4] for i in (0, 4, 8, 12)])


def _world(obj: bpy.types.Object) -> Matrix:
    """`obj`'s world matrix, also right after it was moved, when `matrix_world` still waits for a depsgraph update."""
    basis = rest_basis(obj)
    if REST not in obj and obj.constraints:
        return obj.matrix_world
    if obj.parent is None:
        return basis
    if obj.parent_type == "OBJECT":
        return _world(obj.parent) @ obj.matrix_parent_inverse @ basis
    return obj.matrix_world @ obj.matrix_basis.inverted_safe() @ basis


def transform(points: Array, matrix: Array | None) -> Array:
    """`points` [V, 3] moved by `matrix` [4, 4] (None: as they are), as contiguous float32.  # [V, 3]."""
    if matrix is not None:
        points = np.asarray(points, np.float64) @ matrix[:3, :3].T + matrix[:3, 3]
    return np.ascontiguousarray(points, np.float32)


def get_points(collection, attribute: str = "co", width: int = 3) -> Array:
    """Read `attribute` of every element of a bpy collection.  # [N, width] float32."""
    values = np.empty(len(collection) * width, np.float32)
    collection.foreach_get(attribute, values)
    return values.reshape(-1, width)
