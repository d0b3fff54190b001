"""The template and its cameras in the paper's unit, and what a mesh covers in their pictures."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from ..capture import Camera
from ..raster import rasterise
from ..template import Template
from .paper_settings import PaperSettings, paper_unit
from .pyramid import working_scale

Array = np.ndarray
_HALF_SEEN = 0.5  # of role t4d_ignore: a triangle that is ignored more than this is not looked at


class Scene:
    """The space the paper's constants belong to: the template's centre is the origin, a head is 1.5 units high."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...], settings: PaperSettings) -> None:
        """For `cameras` without lens distortion, at the size `working_pixels` allows."""
        self.unit = paper_unit(template.vertices, template.triangles)
        self.origin = template.vertices.mean(axis=0)
        self.scales = [working_scale(c, settings.working_pixels) for c in cameras]
        self.cameras = tuple(self._moved(c, s) for c, s in zip(cameras, self.scales, strict=True))
        self.triangles = template.triangles
        ignored = template.roles.get("t4d_ignore", np.zeros(len(template.vertices)))
        self._ignored = ignored[self.triangles].max(axis=1) > _HALF_SEEN  # [T]
        self._margin = settings.margin

    def _moved(self, camera: Camera, scale: int) -> Camera:
        """`camera` at working size, in the scene's space."""
        small = camera.scaled(round(camera.width / scale), round(camera.height / scale))
        matrix = small.world_to_camera.copy()
        matrix[:3, 3] = (matrix[:3, :3] @ self.origin + matrix[:3, 3]) / self.unit
        return replace(small, world_to_camera=matrix)

    def inside(self, vertices: Array) -> Array:
        """Capture space to the scene's.  # [V, 3] float32."""
        return ((vertices - self.origin) / self.unit).astype(np.float32)

    def outside(self, points: Array) -> Array:
        """The scene's space to the capture's.  # [V, 3] float64."""
        return points.astype(np.float64) * self.unit + self.origin

    def draw(self, points: Array, k: int) -> tuple[Array, Array]:
        """The mesh at `points` [V, 3] in camera `k`: triangles [H, W] int32 (-1: none) and depths [H, W]."""
        camera = self.cameras[k]
        return rasterise(*camera.project(points), self.triangles, camera.width, camera.height)

    def looked_at(self, points: Array, k: int) -> Array:
        """Pixels of camera `k` on the mesh or near it, but for what the template is told to ignore.  # [H, W] bool."""
        ids = self.draw(points, k)[0]
        depths = self.cameras[k].project(points)[1]
        if (ids < 0).all():
            return np.zeros(ids.shape, bool)
        reach = int(np.ceil(self._margin * self.cameras[k].fx / np.median(depths[depths > 0])))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        near = cv2.dilate((ids >= 0).astype(np.uint8), disc) > 0
        return near & ~((ids >= 0) & self._ignored[ids])


def ring_rotations(before: Array, after: Array, edges: Array) -> Array:
    """How each vertex's ring of `before` [V, 3] turned to that of `after` [V, 3]: least squares (Kabsch 1976).

    Returns unit quaternions w x y z [V, 4]; none where a vertex has no edge.
    """
    i, j = edges.T
    products = (after[j] - after[i])[:, :, None] * (before[j] - before[i])[:, None, :]  # [E, 3, 3]
    sums = np.stack(
        [np.bincount(end, products[:, r, c], len(before)) for r in range(3) for c in range(3) for end in (i, j)]
    )
    matrix = sums.reshape(9, 2, -1).sum(axis=1).T.reshape(-1, 3, 3)
    u, _, vt = np.linalg.svd(matrix)
    u[:, :, 2] *= np.sign(np.linalg.det(u @ vt))[:, None]
    rotation = u @ vt
    rotation[~matrix.any(axis=(1, 2))] = np.eye(3)
    x, y, z, w = Rotation.from_matrix(rotation).as_quat().T
    return np.stack([w, x, y, z], axis=1)


def quaternion_product(a: Array, b: Array) -> Array:
    """The rotation `b` followed by `a`, quaternions w x y z [V, 4].  # [V, 4]."""
    product = Rotation.from_quat(a[:, [1, 2, 3, 0]]) * Rotation.from_quat(b[:, [1, 2, 3, 0]])
    return product.as_quat()[:, [3, 0, 1, 2]]
