"""What every camera saw in the reference frame, and how a frame is held against it: the tracker's only memory.

Colours are compared camera by camera, so view-dependent shading and camera gains cancel; and as the reference stays,
nothing drifts. The drawing and the plate are blurred *together, under one mask*: what the template does not know
(background, teeth, skin that was hidden) never mixes into what it knows, however wide the blur.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ..machine import cores
from ..raster import rasterise_views
from . import kernels
from .pyramid import LevelCameras
from .surface import Surface

Array = np.ndarray
THREADS = ThreadPoolExecutor(cores(), thread_name_prefix="cameras")  # for what OpenCV and numpy do camera by camera
SHADING = 4.0  # differences wider than this many sigmas of the blur are light, not motion


def _subtract_shading(stack: Array, sigma: float) -> None:
    """Take from the differences what changes slowly over the picture: light on skin that turns, not skin that moves.

    `stack` [H, W, 3] as in `kernels.compare`, changed in place; `sigma` in pixels.
    """
    height, width = stack.shape[:2]
    factor = shrink_factor(sigma)
    small = np.empty((height, width, 2), np.float32)
    cv2.mixChannels([stack], [small], [0, 0, 2, 1])
    if factor > 1:  # whole blocks, of which those at the border hold less
        small = cv2.copyMakeBorder(small, 0, -height % factor, 0, -width % factor, cv2.BORDER_CONSTANT)
        rows, columns = small.shape[0] // factor, small.shape[1] // factor
        small = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_AREA)
    small = cv2.GaussianBlur(small, (0, 0), sigma / factor, borderType=cv2.BORDER_CONSTANT)
    slow = small[..., 0] / np.maximum(small[..., 1], 1e-6)
    if factor > 1:
        whole = cv2.resize(slow, (columns * factor, rows * factor), interpolation=cv2.INTER_LINEAR)
        slow = whole[:height, :width]
    stack[..., 0] -= slow * stack[..., 2]


def shrink_factor(sigma: float) -> int:
    """How many times smaller a picture may be made to be blurred by `sigma` pixels; more would let detail through."""
    return max(1, int(sigma / 2))


@dataclass(frozen=True)
class Projection:
    """A mesh in every view of a level."""

    camera_space: Array  # [K, V, 3] float32
    pixels: Array  # [K, V, 2] float32
    vertex_depth: Array  # [K, V] float32
    ids: Array  # [P] int32
    depth: Array  # [P] float32


def locate(vertices: Array, level: LevelCameras) -> tuple[Array, Array, Array]:
    """`vertices` [V, 3] in every camera's space [K, V, 3] and picture [K, V, 2], and their depth [K, V]; float32."""
    count = (len(level.sizes), len(vertices))
    points, pixels, depth = (
        np.empty((*count, 3), np.float32),
        np.empty((*count, 2), np.float32),
        np.empty(count, np.float32),
    )
    kernels.locate(vertices, level.rotations, level.translations, level.intrinsics, points, pixels, depth)
    return points, pixels, depth


def project(vertices: Array, triangles: Array, level: LevelCameras) -> Projection:
    """Rasterise the mesh at `vertices` [V, 3] in every view."""
    points, pixels, vertex_depth = locate(vertices, level)
    ids, depth = rasterise_views(pixels, vertex_depth, triangles, level.sizes, level.offsets)
    return Projection(points, pixels, vertex_depth, ids, depth)


def shown_vertices(surface: Surface, level: LevelCameras, seen: Projection, k: int, border: float) -> Array:
    """Which vertices camera `k` sees by its z-buffer, `border` pixels and more within its picture.  # [V] bool."""
    depth = level.view(seen.depth, k)
    height, width = depth.shape
    x, y = seen.pixels[k].T - np.float32(0.5)
    inside = (x >= border) & (y >= border) & (x < width - 1 - border) & (y < height - 1 - border)
    column, row = np.where(inside, np.rint(x), 0).astype(int), np.where(inside, np.rint(y), 0).astype(int)
    return inside & (np.abs(depth[row, column] - seen.vertex_depth[k]) < 0.5 * surface.edge_length)


def reach(surface: Surface, level: LevelCameras, depth: Array) -> float:
    """How far from a z-buffer a point may lie and still be what it shows: an edge and two pixels, capture units.

    `depth` [K, V] is that of the vertices.
    """
    return surface.edge_length + 2.0 * float(np.median(np.median(depth, axis=1) / level.intrinsics[:, 0]))


@dataclass(frozen=True)
class Reading:
    """The plates of a frame held against the reference, at one level."""

    pixels: Array  # [N] int32: the pixels that show the mesh
    residual: Array  # [N] float32; NaN where nothing or too little around is known of the reference
    slope: Array  # [N] float32, where there is a residual: colour a pixel
    triangles: Array  # [T] bool: what was compared
    hessian: Array  # [T, 6, 6]
    gradient: Array  # [T, 3, 3]


class Memory:
    """The reference frame at one level, with the level's buffers."""

    def __init__(self, surface: Surface, level: LevelCameras, vertices: Array, image: Array, detail: Array):
        """Remember `image` [P] of the mesh at `vertices` [V, 3], and the same with the `detail` of slopes [P]."""
        self.surface, self.level, self.image, self.detail = surface, level, image, detail
        self.projection = project(vertices, surface.triangles, level)
        self.tolerance = reach(surface, level, self.projection.vertex_depth)
        count, triangles = level.pixels, len(surface.triangles)
        self._stack, self._known = np.empty((count, 3), np.float32), np.empty(count, bool)
        self._residual, self._slope = np.empty(count, np.float32), np.empty(count, np.float32)
        self._starts, self._members = np.zeros(triangles + 1, np.int32), np.empty(count, np.int32)
        self._hessian, self._gradient = np.empty((triangles, 6, 6)), np.empty((triangles, 3, 3))
        self._seen = np.empty(triangles, bool)

    def look(self, vertices: Array, light: Array | None = None, looks: Array | None = None) -> None:
        """Find what is seen where, with the mesh at `vertices` [V, 3]; holds for steps of a fraction of a pixel.

        `light` [K, V] is how much brighter the vertices are than in the reference; None: as bright (`relight`).
        `looks` [T] is how far each triangle looks (`shades`); None: as far as the artist said.
        """
        self._looks = self.surface.looks if looks is None else looks
        self._light = np.ones(self.projection.vertex_depth.shape, np.float32) if light is None else light
        self._now = project(vertices, self.surface.triangles, self.level)
        kernels.list_pixels(self._now.ids, self._starts, self._members)

    def read(self, vertices: Array, image: Array, scale: float) -> Reading:
        """Hold `image` [P] against the memory drawn at `vertices` [V, 3], and linearise.

        The arrays of the result are buffers that the next call overwrites.
        """
        s, level = self.surface, self.level
        now = self._now
        _, pixels, depth = locate(vertices, level)
        kernels.compare(
            pixels, depth, self.projection.camera_space, s.triangles, self._looks, level.sizes, level.offsets,
            level.intrinsics, now.ids, image, self.image, self.detail, self.projection.depth, self.tolerance,
            self._light, self._stack, self._known,
        )  # fmt: skip
        self._blur(now.ids)
        kernels.normal_equations(
            self._starts, self._members, level.camera_of, s.triangles, pixels, depth, level.rotations,
            level.intrinsics, level.sizes, level.offsets, self._stack, self._known, scale, self._hessian,
            self._gradient, self._residual, self._slope, self._seen,
        )  # fmt: skip
        count = self._starts[-1]
        members, residual, slope = self._members[:count], self._residual[:count], self._slope[:count]
        return Reading(members, residual, slope, self._seen, self._hessian, self._gradient)

    def _blur(self, ids: Array) -> None:
        """Blur the stack in place, each camera inside the rectangle where the mesh is."""
        margin = int(np.ceil(3 * self.level.blur)) + 1

        def work(k: int) -> None:
            seen = self.level.view(ids, k) >= 0
            rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            if not len(rows):
                return
            stack = self.level.view(self._stack, k)
            part = stack[
                max(0, rows[0] - margin) : rows[-1] + margin + 1, max(0, columns[0] - margin) : columns[-1] + margin + 1
            ]
            part[:] = cv2.GaussianBlur(part, (0, 0), self.level.blur, borderType=cv2.BORDER_CONSTANT)
            _subtract_shading(part, SHADING * self.level.blur)

        list(THREADS.map(work, range(len(self.level.sizes))))
