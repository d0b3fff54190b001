"""What every camera says of the surface, on the mesh itself: scores of the views, and colours at samples.

Colours are gathered at fixed samples of the triangles and scores at vertices, so neither knows of UV seams or of the
texture's resolution, and both cost the same at 512 as at 8192.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numba as nb
import numpy as np
import scipy.sparse as sp

from .kernels import project, sees
from .views import Views

Array = np.ndarray
SAMPLES = np.array([[4, 1, 1], [1, 4, 1], [1, 1, 4]], np.float64) / 6.0  # barycentric, the degree 2 quadrature
FEATHER_RINGS = 4  # a view fades in over so many rings from where it stops seeing the surface
_COARSE_PX = 3.0  # px an edge where colours are gathered: fine detail is not asked of them
_HIDDEN = 0.02  # share of its score a view keeps at a vertex it does not see: its triangle may be seen in part


@dataclass(frozen=True)
class Surface:
    """The template's topology as sparse matrices; made once a bake."""

    triangles: Array  # [T, 3] int32
    spread: sp.csr_matrix  # [N, V]: vertices to samples (barycentric); N = 3 T
    gather: sp.csr_matrix  # [V, N]: its transpose
    average: sp.csr_matrix  # [V, V]: mean of a vertex and its ring

    @classmethod
    def of(cls, triangles: Array, edges: Array, count: int) -> Surface:
        """The surface of `triangles` [T, 3] and `edges` [E, 2] over `count` vertices."""
        rows = np.repeat(np.arange(3 * len(triangles)), 3)
        columns = np.repeat(triangles, 3, axis=0).ravel()
        weights = np.tile(SAMPLES, (len(triangles), 1)).ravel()
        spread = sp.csr_matrix((weights.astype(np.float32), (rows, columns)), shape=(3 * len(triangles), count))
        i, j = edges.T
        ones = np.ones(len(edges), np.float32)
        ring = sp.csr_matrix((ones, (i, j)), shape=(count, count))
        ring = ring + ring.T + sp.identity(count, np.float32, "csr")
        average = sp.diags(1 / np.asarray(ring.sum(axis=1)).ravel()) @ ring
        return cls(triangles, spread, spread.T.tocsr(), average.astype(np.float32).tocsr())


@dataclass(frozen=True)
class Survey:
    """One frame seen by K cameras."""

    quality: Array  # [V, K] float32, 0..1: cosine times resolution at a vertex; 0 where the surface faces away
    fade: Array  # [V, K] float32, 0..1: 1 well inside of what a view sees, falling to a little where it sees nothing
    colours: Array  # [N, K, 3] float32: what the cameras saw at the samples, 0..255
    weights: Array  # [N, K] float32: trust in them, broad: cosine squared, faded in; 0 where not seen

    def scores(self, power: float) -> Array:
        """How good each view is at each vertex, the better ones preferred by `power`.  # [V, K] float32."""
        return self.quality ** np.float32(power) * self.fade


def vertex_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals, area-weighted; zero for a loose vertex.  # [V, 3]."""
    a, b, c = (vertices[triangles[:, i]] for i in range(3))
    face = np.cross(b - a, c - a)
    index = triangles.ravel()
    normals = np.stack(
        [np.bincount(index, np.repeat(face[:, d], 3), minlength=len(vertices)) for d in range(3)], axis=1
    )
    return normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-30)


Ask = Callable[[Views, int, Array, Array, tuple[int, int]], tuple[Array, Array, Array]]


def ask(views: Views, k: int, vertices: Array, points: Array, size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """What camera `k` sees: of `vertices` [V, 3] whether, [V] bool; of `points` [N, 3] the colour [N, 3] and whether.

    Colours are float32, 0..255, bilinear in the plate's crop shrunk to `size` (width, height); 0 where not seen.
    """
    crop = views.crop(k)
    coarse = crop if size == crop.shape[1::-1] else cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    arrays = views.projections[k], views.codes_of(k), views.depth_range[k], views.tolerance
    visible = _ask(vertices, *arrays, coarse, np.zeros((0, 3), np.float32))
    colours = np.zeros((len(points), 3), np.float32)
    return visible, colours, _ask(points, *arrays, coarse, colours)


def survey(views: Views, vertices: Array, surface: Surface, edge: float, ask: Ask = ask) -> Survey:
    """Ask every camera of `views` about the surface with `vertices` [V, 3] and median edge length `edge`."""
    count = len(views.cameras)
    normals = vertex_normals(vertices, surface.triangles)
    points, directions = surface.spread @ vertices, surface.spread @ normals
    visible = np.zeros((len(vertices), count), bool)
    angles = np.zeros((len(vertices), count), np.float32)
    resolution = np.zeros((len(vertices), count), np.float32)
    colours = np.zeros((len(points), count, 3), np.float32)
    weights = np.zeros((len(points), count), np.float32)
    for k in np.flatnonzero(views.present):
        camera = views.cameras[k]
        depth = vertices @ camera.rotation[2] + camera.translation[2]
        resolution[:, k] = np.where(depth > 0, (camera.fx + camera.fy) / 2 / np.maximum(depth, 1e-30), 0)
        angles[:, k] = _cosines(vertices, normals, views.centres[k])
        px_an_edge = float(np.median(resolution[:, k])) * edge
        shrink = max(1, int(px_an_edge / _COARSE_PX))
        size = max(1, round(views.boxes[k, 2] / shrink)), max(1, round(views.boxes[k, 3] / shrink))
        visible[:, k], colours[:, k], seen = ask(views, k, vertices, points, size)
        weights[:, k] = seen * np.maximum(_cosines(points, directions, views.centres[k]), 0) ** 2
    fade = np.maximum(_feather(visible, surface.average), _HIDDEN).astype(np.float32)
    weights *= surface.spread @ fade
    quality = np.maximum(angles, 0) * resolution / max(float(resolution.max()), 1e-30)
    return Survey(quality.astype(np.float32), fade, colours, weights)


def _cosines(points: Array, normals: Array, centre: Array) -> Array:
    ray = centre - points
    return ((ray * normals).sum(axis=1) / np.maximum(np.linalg.norm(ray, axis=1), 1e-30)).astype(np.float32)


def _feather(visible: Array, average: sp.csr_matrix) -> Array:
    """1 where a camera sees a vertex and FEATHER_RINGS around it, falling to 0 where it does not.  # [V, K] float32."""
    hidden = (~visible).astype(np.float32)
    feather = np.zeros(visible.shape, np.float32)
    for _ in range(FEATHER_RINGS):
        feather += hidden == 0
        hidden = average @ hidden
    return feather / FEATHER_RINGS


@nb.njit(parallel=True, cache=True)
def _ask(points, projection, codes, depth_range, tolerance, coarse, colours):
    """Whether each of `points` [N, 3] is seen [N]; fills `colours` [N, 3] (unless empty), bilinear in `coarse`."""
    height, width = codes.shape
    flat = codes.reshape(-1)
    rows, columns = coarse.shape[:2]
    seen = np.zeros(len(points), np.bool_)
    for i in nb.prange(len(points)):
        u, v, z = project(projection, points[i])
        seen[i] = z > 0 and sees(flat, 0, width, height, depth_range[0], depth_range[1], tolerance, u, v, z)
        if not seen[i] or len(colours) == 0:
            continue
        x, y = u * columns / width - 0.5, v * rows / height - 0.5
        x0, y0 = int(np.floor(x)), int(np.floor(y))
        fx, fy = x - x0, y - y0
        x1, y1 = min(x0 + 1, columns - 1), min(y0 + 1, rows - 1)
        x0, y0 = max(x0, 0), max(y0, 0)
        for c in range(3):
            upper = (1 - fx) * coarse[y0, x0, c] + fx * coarse[y0, x1, c]
            lower = (1 - fx) * coarse[y1, x0, c] + fx * coarse[y1, x1, c]
            colours[i, c] = (1 - fy) * upper + fy * lower
    return seen
