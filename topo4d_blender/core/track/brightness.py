"""How bright each camera sees each vertex: in the reference, and in a frame wherever both of them tell.

What light does to skin (`relight`, `shades`) is told by the ratio of the two. Knows the reference's plates and mesh.
"""

from __future__ import annotations

import numpy as np

from ..raster import sample
from .appearance import THREADS, Projection, shown_vertices
from .pyramid import LevelCameras
from .surface import Surface

Array = np.ndarray
DARKEST, BRIGHTEST = 0.02, 0.98  # of full scale: beyond lies noise, or nothing
FACING = 0.2  # cosine between a vertex's normal and the way to a camera, below which it is about to vanish
BORDER = 0.5  # pixels within the outermost pixels' centres: all that is read between pixels lies in the picture


class Brightness:
    """Of some vertices, S of them, in all K cameras."""

    def __init__(
        self, surface: Surface, level: LevelCameras, seen: Projection, normals: Array, image: Array, some: Array
    ):
        """For the reference's `image` [P] of vertices with `normals` [V, 3], `seen` there; of `some` of them [S]."""
        self._level, self._some = level, some
        self._side = np.sign(_facing(normals[some], seen.camera_space[:, some], level))
        self.before = _read(level, image, seen.pixels[:, some])  # [K, S] float32, NaN where it says nothing
        for k, bright in enumerate(self.before):
            bright[~shown_vertices(surface, level, seen, k, BORDER)[some]] = np.nan

    def __call__(self, points: Array, pixels: Array, normals: Array, image: Array) -> Array:
        """In `image` [P], the vertices at `points` [K, V, 3] in camera space and `pixels` [K, V, 2] of the pictures.

        NaN where a camera no longer faces one with `normals` [V, 3] as in the reference.  # [K, S] float32.
        """
        points = points[:, self._some]
        now = _read(self._level, image, pixels[:, self._some])
        toward = self._side * _facing(normals[self._some], points, self._level) > FACING
        now[~(toward & (points[..., 2] > 0))] = np.nan
        return now


def _read(level: LevelCameras, image: Array, pixels: Array) -> Array:
    """Brightness of `image` [P] at every camera's `pixels` [K, S, 2]; NaN where it says nothing.  # [K, S] float32."""
    bright = np.full(pixels.shape[:2], np.nan, np.float32)

    def work(k: int) -> None:
        height, width = level.sizes[k]
        at = pixels[k]
        inside = ((at > BORDER + 0.5) & (at < (width - BORDER - 0.5, height - BORDER - 0.5))).all(axis=1)
        values = sample(level.view(image, k), np.where(inside[:, None], at, np.float32(1)))
        with np.errstate(invalid="ignore"):
            inside &= (values > DARKEST) & (values < BRIGHTEST)
        bright[k, inside] = values[inside]

    list(THREADS.map(work, range(len(pixels))))
    return bright


def _facing(normals: Array, points: Array, level: LevelCameras) -> Array:
    """Cosine between `normals` [S, 3] and the line from each camera to its `points` [K, S, 3].  # [K, S] float32."""
    facing = np.empty(points.shape[:2], np.float32)

    def work(k: int) -> None:
        along = np.einsum("sa,sa->s", normals @ level.rotations[k].T, points[k])
        facing[k] = along / np.maximum(np.sqrt(np.einsum("sa,sa->s", points[k], points[k])), 1e-30)

    list(THREADS.map(work, range(len(points))))
    return facing
