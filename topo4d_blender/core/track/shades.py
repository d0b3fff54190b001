"""Where the light on the skin has changed sharply since the reference: the edges of cast shadows, looked at less.

A shadow's edge that has moved over the skin looks like skin that has moved under a line, in all cameras alike, and no
light that depends on the normal explains it (`relight`); on a head that turns under lamps it makes a third of the
error. But it shows: all cameras see the skin beside it brighter or darker by one factor, and not the skin on its other
side. So each vertex's factor is measured as the median of its cameras', and a triangle counts the less the more the
factor differs between its corners. It is not put right by that factor: skin drawn in the wrong place differs as well,
and would be right wherever it is. Knows the reference's plates and mesh; runs on the host for every device.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from .appearance import Projection, locate, shown_vertices
from .pyramid import LevelCameras
from .relight import BORDER, FACING, brightness, facing
from .sight import vertex_normals
from .surface import Surface

Array = np.ndarray
LEAST = 3  # cameras that a vertex's factor is the median of, at least
SHARP = 8.0  # times the median triangle's difference: counts a half (4 lost quick lips, which differ as well)
FAINT = 0.12  # of the logarithm: the least difference that counts a half, for plates without noise or light


class Shades:
    """The reference's brightness at its vertices; called for every frame."""

    def __init__(self, surface: Surface, level: LevelCameras, seen: Projection, vertices: Array, image: Array):
        """For the reference's `image` [P] of the mesh at `vertices` [V, 3], which is `seen` there."""
        self._surface, self._level = surface, level
        self._before = brightness(level, image, seen.pixels)
        ignored = np.ones(surface.vertex_count, bool)
        ignored[surface.triangles[surface.looks > 0]] = False
        for k, bright in enumerate(self._before):
            bright[ignored | ~shown_vertices(surface, level, seen, k, BORDER)] = np.nan
        self._side = np.sign(facing(vertex_normals(vertices, surface.triangles), seen.camera_space, level))
        count, (i, j) = surface.vertex_count, surface.edges.T
        ends = np.r_[i, j, np.arange(count)], np.r_[j, i, np.arange(count)]
        self._ring = sp.coo_matrix((np.ones(len(ends[0])), ends), shape=(count, count)).tocsr()

    def __call__(self, vertices: Array, image: Array, light: Array) -> Array:
        """How far each triangle looks, for `image` [P] of the mesh at `vertices` [V, 3].  # [T] float32.

        `light` [K, V] is what `Relight` finds there or near.
        """
        factor = self._factors(vertices, image, light)
        known = np.isfinite(factor)
        around = self._ring @ known
        factor = self._ring @ np.where(known, factor, 0.0) / np.maximum(around, 1)
        corners = factor[self._surface.triangles]
        measured = known[self._surface.triangles].all(axis=1) & (self._surface.looks > 0)
        if not measured.any():
            return self._surface.looks
        apart = np.where(measured, np.ptp(corners, axis=1), 0.0)
        sharp = max(SHARP * float(np.median(apart[measured])), FAINT)
        return (self._surface.looks / (1 + (apart / sharp) ** 2)).astype(np.float32)

    def _factors(self, vertices: Array, image: Array, light: Array) -> Array:
        """Logarithm of how much brighter each vertex is than its `light` says, median of cameras.  # [V], or NaN."""
        points, pixels, depth = locate(vertices, self._level)
        now = brightness(self._level, image, pixels)
        normals = vertex_normals(vertices, self._surface.triangles)
        now[(depth <= 0) | (self._side * facing(normals, points, self._level) <= FACING)] = np.nan
        off = np.sort(np.log(now / (self._before * light)).T, axis=1)  # [V, K], NaN last
        count = np.isfinite(off).sum(axis=1)
        middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=1)
        median = np.take_along_axis(off, np.minimum(middle, off.shape[1] - 1), axis=1).mean(axis=1)
        return np.where(count >= LEAST, median, np.nan)
