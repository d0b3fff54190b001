"""Surface samples: the Gaussians of the Gaussian Mesh, densified from one a vertex to as many as plates can tell apart.

Each triangle carries a regular grid of n x n barycentric samples (the centres of its n^2 congruent sub-triangles), n
chosen per triangle so that neighbouring samples lie about one chosen length apart. Any topology densifies. The paper:
section 3.3 (there: bilinear grids on quads).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Array = np.ndarray
MAX_DIVISIONS = 12


@dataclass(frozen=True)
class SurfaceSamples:
    """Points fixed to the surface, sorted by triangle."""

    starts: Array  # [T + 1] int32: triangle t owns samples starts[t] : starts[t + 1]
    barycentric: Array  # [S, 3] float32, weights of the triangle's three vertices

    @property
    def triangle(self) -> Array:
        """The triangle of each sample.  # [S] int32."""
        return np.repeat(np.arange(len(self.starts) - 1, dtype=np.int32), np.diff(self.starts))

    def positions(self, vertices: Array, triangles: Array) -> Array:
        """Where the samples lie on a mesh with these vertices.  # [S, 3]."""
        return np.einsum("sc,scd->sd", self.barycentric, vertices[triangles[self.triangle]])


def barycentric_grid(divisions: int) -> Array:
    """Centres of the `divisions`^2 congruent sub-triangles of a triangle.  # [divisions^2, 3] float32."""
    n = divisions
    rows = []
    for i in range(n):
        for j in range(n - i):
            rows.append(((i + 1 / 3) / n, (j + 1 / 3) / n))
            if j < n - i - 1:
                rows.append(((i + 2 / 3) / n, (j + 2 / 3) / n))
    ab = np.array(rows)
    return np.column_stack([1 - ab.sum(1), ab]).astype(np.float32)


def sample_surface(vertices: Array, triangles: Array, spacing: float) -> SurfaceSamples:
    """Samples about `spacing` (capture units) apart; at least one, at most `MAX_DIVISIONS`^2 a triangle."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    area = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1)
    divisions = np.clip(np.rint(np.sqrt(area) / spacing), 1, MAX_DIVISIONS).astype(np.int64)
    grids = {n: barycentric_grid(n) for n in np.unique(divisions).tolist()}
    starts = np.concatenate([[0], np.cumsum(divisions**2)]).astype(np.int32)
    barycentric = np.empty((starts[-1], 3), np.float32)
    for n, grid in grids.items():
        rows = starts[:-1][divisions == n][:, None] + np.arange(n * n)
        barycentric[rows] = grid
    return SurfaceSamples(starts, barycentric)
