"""Which vertices of a filmed mesh count as its face: those that enough cameras see in the first frame. Knows no bpy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.capture import Camera
from ..core.raster import depth_buffer

Array = np.ndarray
MIN_CAMERAS = 3  # two would do for a point; three bear one that loses it
MIN_COSINE = 0.25  # between the normal and the ray to the camera: not seen edge on


def face_mask(
    vertices: Array, triangles: Array, cameras: Sequence[Camera], before: tuple[Array, Array] | None = None
) -> Array:
    """The vertices that at least three cameras see, neither edge on nor hidden, with neighbours around. [V] bool.

    Hidden means farther than the z-buffer by more than the typical edge length (the pixel grid is not finer than that).
    A vertex in a crease that is seen while none of its neighbours is would count by chance, so it does not.
    `before` are vertices [W, 3] and triangles [U, 3] of what else may stand before the face: eyeballs, teeth.
    """
    corners = vertices[triangles]
    normals = np.zeros_like(vertices)
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], area)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
    slack = np.median(np.linalg.norm(corners[:, 1] - corners[:, 0], axis=1))
    views = np.zeros(len(vertices), int)
    for camera in cameras:
        views += _seen(vertices, normals, triangles, camera, slack, before)
    seen = views >= MIN_CAMERAS
    # Closing then opening by one ring: no pinholes, no stray vertices.
    return _grow(_shrink(_shrink(_grow(seen, triangles), triangles), triangles), triangles)


def _seen(
    vertices: Array,
    normals: Array,
    triangles: Array,
    camera: Camera,
    slack: float,
    before: tuple[Array, Array] | None,
) -> Array:
    pixels, depth = camera.project(vertices)
    buffer = depth_buffer(pixels, depth, triangles, camera.width, camera.height)
    if before is not None:
        buffer = np.minimum(buffer, depth_buffer(*camera.project(before[0]), before[1], camera.width, camera.height))
    ray = camera.centre - vertices
    facing = (normals * ray).sum(1) > MIN_COSINE * np.linalg.norm(ray, axis=1)
    column, row = np.floor(pixels[:, 0]).astype(int), np.floor(pixels[:, 1]).astype(int)
    inside = (depth > 0) & (column >= 0) & (column < camera.width) & (row >= 0) & (row < camera.height)
    seen = inside & facing
    seen[seen] = depth[seen] <= buffer[row[seen], column[seen]] + slack
    return seen


def _grow(mask: Array, triangles: Array) -> Array:
    grown = mask.copy()
    grown[triangles[mask[triangles].any(axis=1)]] = True
    return grown


def _shrink(mask: Array, triangles: Array) -> Array:
    return ~_grow(~mask, triangles)
