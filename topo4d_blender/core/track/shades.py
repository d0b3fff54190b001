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

from .appearance import Projection, locate
from .brightness import Brightness
from .pyramid import LevelCameras
from .sight import vertex_normals
from .surface import Surface, neighbourhoods

Array = np.ndarray
LEAST = 3  # cameras that a vertex's factor is the median of, at least
SHARP = 8.0  # times the median triangle's difference: counts a half (4 lost quick lips, which differ as well)
FAINT = 0.12  # of the logarithm: the least difference that counts a half, for plates without noise or light


class Shades:
    """The reference's brightness at its vertices; called for every frame."""

    def __init__(self, surface: Surface, level: LevelCameras, seen: Projection, vertices: Array, image: Array):
        """For the reference's `image` [P] of the mesh at `vertices` [V, 3], which is `seen` there."""
        self._surface, self._level = surface, level
        self._looked_at = surface.looked_at()
        normals = vertex_normals(vertices, surface.triangles)
        self._brightness = Brightness(surface, level, seen, normals, image, self._looked_at)
        self._ring = neighbourhoods(surface)

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
        points, pixels, _ = locate(vertices, self._level)
        now = self._brightness(points, pixels, vertex_normals(vertices, self._surface.triangles), image)
        off = np.log(now / (self._brightness.before * light[:, self._looked_at]))
        off = np.sort(off.T, axis=1)  # [S, K], NaN last
        count = np.isfinite(off).sum(axis=1)
        middle = np.stack([np.maximum(count - 1, 0) // 2, count // 2], axis=1)
        median = np.take_along_axis(off, np.minimum(middle, off.shape[1] - 1), axis=1).mean(axis=1)
        factor = np.full(self._surface.vertex_count, np.nan)
        factor[self._looked_at] = np.where(count >= LEAST, median, np.nan)
        return factor
