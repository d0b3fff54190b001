"""What the cameras see of a mesh, on small, soft pictures: what second looks at a frame are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..capture import Camera
from ..raster import rasterise_views, sample
from ..template import Template
from .appearance import THREADS

Array = np.ndarray
LONGEST = 200  # pixels: the longer side of the pictures
SOFT = 1.0  # pixels of those: sigma of their blur
FACING = 0.25  # least cosine between a vertex's normal and the way to the camera


@dataclass(frozen=True)
class Sight:
    """The vertices as the cameras see them in one frame.  K cameras."""

    colours: Array  # [V, K, 3] float32
    slopes: Array  # [V, K] float32: squared colour slope, per squared pixel of the small pictures
    visible: Array  # [V, K] bool


class SmallViews:
    """The cameras of a capture with pictures at most `LONGEST` pixels long."""

    def __init__(self, template: Template, cameras: tuple[Camera, ...]):
        """For plates of `cameras` (no lens distortion), at any size."""
        self.cameras = tuple(_small(camera) for camera in cameras)
        self._triangles = np.ascontiguousarray(template.triangles, np.int32)
        self._sizes = np.array([(c.height, c.width) for c in self.cameras], np.int64)
        self._rotations = np.stack([c.rotation for c in self.cameras])
        self._translations = np.stack([c.translation for c in self.cameras])
        self.focal = np.array([(c.fx, c.fy) for c in self.cameras])
        self._principal = np.array([(c.cx, c.cy) for c in self.cameras])
        self._offsets = np.concatenate([[0], np.cumsum(self._sizes.prod(axis=1))])
        edges = template.edges
        sides = template.vertices[edges[:, 0]] - template.vertices[edges[:, 1]]
        self._slack = float(np.median(np.linalg.norm(sides, axis=1)))

    def pictures(self, plates: list[Array | None]) -> list[Array | None]:
        """`plates` (float32 [H, W, 3], None: missing) made small and soft."""

        def soften(camera: Camera, plate: Array | None) -> Array | None:
            if plate is None:
                return None
            small = cv2.resize(plate, (camera.width, camera.height), interpolation=cv2.INTER_AREA)
            return cv2.GaussianBlur(small, (0, 0), SOFT)

        return list(THREADS.map(soften, self.cameras, plates))

    def see(self, vertices: Array, pictures: list[Array | None], slopes: bool = False) -> Sight:
        """`vertices` [V, 3] in `pictures`; `slopes` are zero unless asked for."""
        count = (len(vertices), len(self.cameras))
        sight = Sight(np.zeros((*count, 3), np.float32), np.zeros(count, np.float32), np.zeros(count, bool))
        pixels, depth = self.project(vertices)
        nearest = self.nearest(pixels, depth)
        facing = self._facing(vertices)

        def look(k: int) -> None:
            camera, picture = self.cameras[k], pictures[k]
            if picture is None:
                return
            seen = np.flatnonzero(facing[:, k] & inside(camera, pixels[k], depth[k]))
            x, y = pixels[k, seen].astype(int).T
            seen = seen[depth[k, seen] <= nearest[k][y, x] + self._slack]
            sight.visible[seen, k] = True
            sight.colours[seen, k] = sample(picture, pixels[k, seen])
            if slopes:
                sight.slopes[seen, k] = sample(_squared_slope(picture), pixels[k, seen])

        list(THREADS.map(look, range(len(self.cameras))))
        return sight

    def project(self, vertices: Array) -> tuple[Array, Array]:
        """Pixels [K, V, 2] and depths [K, V] of the vertices in the small pictures, float32."""
        points = np.matmul(vertices, self._rotations.transpose(0, 2, 1)) + self._translations[:, None]
        depth = points[..., 2]
        with np.errstate(divide="ignore", invalid="ignore"):
            pixels = points[..., :2] / depth[..., None] * self.focal[:, None] + self._principal[:, None]
        return np.ascontiguousarray(pixels, np.float32), np.ascontiguousarray(depth, np.float32)

    def nearest(self, pixels: Array, depth: Array) -> list[Array]:
        """Depth of the mesh, projected to `pixels` and `depth`, in every camera.  # K x [H, W]; infinite beside it."""
        flat = rasterise_views(pixels, depth, self._triangles, self._sizes, self._offsets[:-1])[1]
        return [
            flat[a:b].reshape(size) for a, b, size in zip(self._offsets, self._offsets[1:], self._sizes, strict=False)
        ]

    def _facing(self, vertices: Array) -> Array:
        """Which vertices face which camera.  # [V, K] bool."""
        arm = vertices - vertices.mean(axis=0)  # lengths below are of differences: keep them small
        centres = np.stack([camera.centre for camera in self.cameras]) - vertices.mean(axis=0)
        normals = vertex_normals(vertices, self._triangles)
        cosine = normals @ centres.T - (normals * arm).sum(axis=1)[:, None]
        squared = (arm**2).sum(axis=1)[:, None] - 2 * arm @ centres.T + (centres**2).sum(axis=1)
        return (cosine > 0) & (cosine**2 > FACING**2 * squared)


def inside(camera: Camera, pixels: Array, depth: Array) -> Array:
    """Which of `pixels` [N, 2] at `depth` [N] lie in the camera's picture.  # [N] bool."""
    return (depth > 0) & (pixels > 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)


def face_normals(vertices: Array, triangles: Array) -> Array:
    """Normals of the triangles, as long as twice their areas.  # [T, 3]."""
    a, b, c = (vertices[triangles[:, k]] for k in range(3))
    return np.cross(b - a, c - a)


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals of the vertices, weighted by area.  # [V, 3]; zero where there is no area."""
    area = np.repeat(face_normals(vertices, triangles), 3, axis=0)
    sums = np.stack([np.bincount(triangles.ravel(), area[:, d], len(vertices)) for d in range(3)], axis=1)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)


def _small(camera: Camera) -> Camera:
    """`camera` with pictures at most `LONGEST` pixels long."""
    factor = min(1.0, LONGEST / max(camera.width, camera.height))
    width, height = max(2, round(camera.width * factor)), max(2, round(camera.height * factor))
    x, y = width / camera.width, height / camera.height
    return replace(
        camera, width=width, height=height, fx=camera.fx * x, fy=camera.fy * y, cx=camera.cx * x, cy=camera.cy * y
    )


def _squared_slope(picture: Array) -> Array:
    """Squared colour slope of the pixels in any one direction, summed over channels.  # [H, W] float32."""
    x = cv2.Scharr(picture, cv2.CV_32F, 1, 0, scale=1 / 32)
    y = cv2.Scharr(picture, cv2.CV_32F, 0, 1, scale=1 / 32)
    return (x**2 + y**2).sum(axis=2) / 2
