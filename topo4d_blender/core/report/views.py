"""Pictures of a mesh as one of its cameras sees it: over the plate, shaded, coloured by error, wearing its texture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from ..capture import Camera
from ..raster import rasterise, sample
from ..template import Template

Array = np.ndarray
_OVERSAMPLE = 2
_GROUND = np.array([24, 26, 30], np.float32)  # RGB behind the mesh: the page's own


@dataclass(frozen=True)
class View:
    """A camera cropped to the subject, enlarged, and turned upright by quarters for the eye."""

    camera: Camera  # of the enlarged crop, oversampled
    source: Camera  # of the plate
    scale: float  # from the plate to the crop
    corner: tuple[float, float]  # of the crop in the plate, px
    turns: int  # quarter turns anticlockwise that make it upright

    @property
    def name(self) -> str:
        """The camera's name."""
        return self.source.name


def make_view(camera: Camera, points: Array, height: int = 480) -> View:
    """A view of all `points` [N, 3] (capture units) that ends up `height` px tall; the world's y points up in it."""
    pinhole = camera.undistorted()
    pixels, _ = pinhole.project(points)
    low, high = np.percentile(pixels, 0.5, axis=0), np.percentile(pixels, 99.5, axis=0)
    middle, half = 0.5 * (low + high), 0.58 * (high - low)
    low, high = np.maximum(middle - half, 0), np.minimum(middle + half, [camera.width, camera.height])
    up = camera.rotation @ np.array([0.0, 1.0, 0.0])
    turns = int(np.rint(np.arctan2(-up[0], -up[1]) / (np.pi / 2))) % 4
    size = np.maximum(high - low, 1.0)
    scale = _OVERSAMPLE * height / size[0 if turns % 2 else 1]
    width, tall = (int(round(v)) for v in size * scale)
    cropped = replace(
        pinhole,
        width=width,
        height=tall,
        fx=pinhole.fx * scale,
        fy=pinhole.fy * scale,
        cx=(pinhole.cx - low[0]) * scale,
        cy=(pinhole.cy - low[1]) * scale,
    )
    return View(cropped, camera, scale, (float(low[0]), float(low[1])), -turns % 4)


def finish(view: View, picture: Array) -> Array:
    """`picture` [H, W, 3] of the view's oversampled size, at its own size and upright.  # uint8."""
    size = (view.camera.width // _OVERSAMPLE, view.camera.height // _OVERSAMPLE)
    small = cv2.resize(np.clip(picture, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    return np.ascontiguousarray(np.rot90(small, view.turns))


def crop_plate(view: View, plate: Array) -> Array:
    """The part of an undistorted RGB plate that the view shows.  # [H, W, 3] float32 in 0..255."""
    picture = plate.astype(np.float32) / (257.0 if plate.dtype == np.uint16 else 1.0)
    s, (x, y) = view.scale, view.corner
    # Pixel centres lie at half numbers: index i of the crop is (i + 0.5) / s + corner - 0.5 in the plate.
    matrix = np.array([[s, 0, 0.5 * s - x * s - 0.5], [0, s, 0.5 * s - y * s - 0.5]])
    size = (view.camera.width, view.camera.height)
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


class Drawn:
    """The mesh of one frame, rasterised once for a view; the pictures are made from it."""

    def __init__(self, view: View, template: Template, vertices: Array) -> None:
        """`vertices` [V, 3], capture units."""
        self.view, self._template, self._vertices = view, template, np.asarray(vertices, np.float64)
        self._pixels, self._depth = view.camera.project(self._vertices)
        triangles = template.triangles
        self._ids, self._zbuffer = rasterise(
            self._pixels, self._depth, triangles, view.camera.width, view.camera.height
        )
        self._rows, self._columns = np.nonzero(self._ids >= 0)
        self._hit = self._ids[self._rows, self._columns]
        self._weights = self._barycentric(triangles)

    def wireframe(self, ground: Array, colour: Sequence[float] = (90, 225, 255), opacity: float = 0.6) -> Array:
        """The visible edges of the polygons drawn over `ground` [H, W, 3]."""
        ends = self._template.edges[self._seen()[self._template.edges].all(axis=1)]
        lines = np.rint((self._pixels[ends] - 0.5) * 16).astype(np.int32)  # cv2 counts from pixel centres, in 1/16 px
        mask = np.zeros(ground.shape[:2], np.uint8)
        cv2.polylines(mask, list(lines), False, 255, 1, cv2.LINE_AA, 4)
        alpha = (mask.astype(np.float32) / 255.0 * opacity)[..., None]
        return ground * (1 - alpha) + np.array(colour, np.float32) * alpha

    def textured(self, texture: Array) -> Array:
        """The mesh wearing `texture` [R, R, 3], unlit."""
        corners = self._template.triangle_loops[self._hit]
        uv = (self._template.uv[corners] * self._weights[..., None]).sum(axis=1)
        pixels = np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1) * (texture.shape[1], texture.shape[0])
        return self._fill(sample(texture, pixels))

    def coloured(self, colours: Array) -> Array:
        """The mesh with `colours` [V, 3] (0..255), shaded by a light at the camera."""
        shade = self._interpolate(self._shading()[:, None])
        return self._fill(self._interpolate(colours) * shade)

    def _fill(self, colours: Array) -> Array:
        picture = np.broadcast_to(_GROUND, (*self._ids.shape, 3)).copy()
        picture[self._rows, self._columns] = colours
        return picture

    def _interpolate(self, values: Array) -> Array:
        """Values [V, C] at the pixels of the mesh.  # [N, C]."""
        corners = self._template.triangles[self._hit]
        return (values[corners] * self._weights[..., None]).sum(axis=1)

    def _barycentric(self, triangles: Array) -> Array:
        a, b, c = (self._pixels[triangles[self._hit, k]] for k in range(3))
        p = np.stack([self._columns + 0.5, self._rows + 0.5], axis=1)
        area = _cross(b - a, c - a)
        wb, wc = _cross(p - a, c - a) / area, _cross(b - a, p - a) / area
        return np.stack([1 - wb - wc, wb, wc], axis=1)

    def _shading(self) -> Array:
        """Brightness of each vertex under a light beside the camera.  # [V]."""
        corners = self._vertices[self._template.triangles]
        faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals = np.zeros_like(self._vertices)
        for corner in range(3):
            np.add.at(normals, self._template.triangles[:, corner], faces)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)
        light = self.view.camera.rotation.T @ _unit(np.array([-0.25, -0.45, -0.85]))
        return 0.35 + 0.7 * np.clip(normals @ light, 0.0, 1.0)

    def _seen(self) -> Array:
        """Vertices that nothing hides: not behind the depth around their own pixel.  # [V] bool."""
        near = cv2.dilate(np.where(np.isfinite(self._zbuffer), self._zbuffer, 0), np.ones((5, 5)))
        x, y = (np.floor(self._pixels[:, k]).astype(int) for k in range(2))
        height, width = near.shape
        inside = (x >= 0) & (x < width) & (y >= 0) & (y < height) & (self._depth > 0)
        edges = self._vertices[self._template.edges]
        slack = 0.25 * np.median(np.linalg.norm(edges[:, 0] - edges[:, 1], axis=1))
        seen = inside.copy()
        seen[inside] = self._depth[inside] <= near[y[inside], x[inside]] + slack
        return seen


def _cross(a: Array, b: Array) -> Array:
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _unit(v: Array) -> Array:
    return v / np.linalg.norm(v)
