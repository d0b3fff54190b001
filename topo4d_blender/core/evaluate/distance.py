"""Exact distance of points to a triangle mesh.

Candidates come from a kd-tree over triangle centroids, asked for twice as many until they provably suffice: the point
of a triangle nearest to p is at most `reach` (the largest centroid-to-corner distance) from its centroid, so once the
k-th nearest centroid is farther from p than the best distance so far plus `reach`, no triangle beyond can be nearer.
Triangles are searched in classes of similar size, or one large triangle would widen the search for all.
"""

from __future__ import annotations

import numba as nb
import numpy as np
from scipy.spatial import cKDTree

Array = np.ndarray
_FIRST = 8  # candidates of the first round
_BLOCK = 8_000_000  # candidates held at once: 64 MB of indices


def surface_distance(points: Array, vertices: Array, triangles: Array) -> Array:
    """Distance of `points` [N, 3] to the nearest point of the mesh, in the points' unit.  # [N] float64."""
    points = np.ascontiguousarray(points, np.float64)
    corners = np.ascontiguousarray(np.asarray(vertices, np.float64)[triangles])  # [T, 3, 3]
    centroids = corners.mean(axis=1)
    reach = np.linalg.norm(corners - centroids[:, None], axis=2).max(axis=1)
    best = np.full(len(points), np.inf)
    for members in _size_classes(reach):
        tree = cKDTree(centroids[members])
        _search(points, corners[members], tree, reach[members].max(), best)
    return np.sqrt(best)


def _size_classes(reach: Array) -> list[Array]:
    """Triangle indices by powers of two of their size, the most populous class first (it gives the tightest bound)."""
    octave = np.floor(np.log2(np.maximum(reach, max(reach.max(initial=0.0) * 2.0**-20, 1e-300)))).astype(int)
    classes = [np.flatnonzero(octave == value) for value in np.unique(octave)]
    return sorted(classes, key=len, reverse=True)


def _search(points: Array, corners: Array, tree: cKDTree, reach: float, best: Array) -> None:
    """Lower `best` (squared distances [N], in place) by the triangles of one class."""
    open_points = np.arange(len(points))
    k = min(_FIRST, len(corners))
    while len(open_points):
        unfinished = []
        step = max(1, _BLOCK // k)
        for chunk in (open_points[i : i + step] for i in range(0, len(open_points), step)):
            far, candidates = tree.query(points[chunk], k=np.arange(1, k + 1), workers=-1)
            best[chunk] = np.minimum(best[chunk], _nearest_squared(points[chunk], corners, candidates))
            # the slack covers rounding: a tie must not end the search a triangle too early
            unfinished.append(chunk[far[:, -1] <= (np.sqrt(best[chunk]) + reach) * (1 + 1e-9)])
        if k == len(corners):
            return
        open_points = np.concatenate(unfinished)
        k = min(2 * k, len(corners))


@nb.njit(parallel=True, cache=True, nogil=True)
def _nearest_squared(points, corners, candidates):
    nearest = np.empty(len(points))
    for i in nb.prange(len(points)):
        least = np.inf
        for j in range(candidates.shape[1]):
            least = min(least, _triangle_squared(points[i], corners[candidates[i, j]]))
        nearest[i] = least
    return nearest


@nb.njit(cache=True, nogil=True)
def _triangle_squared(p, corners):
    """Squared distance of p to a triangle: C. Ericson, Real-Time Collision Detection (2005), section 5.1.5.

    Voronoi regions of the corners, then of the edges, then the face. A triangle without area ends in one of the first
    two, whose divisors are the squared lengths of edges.
    """
    a, b, c = corners[0], corners[1], corners[2]
    ab0, ab1, ab2 = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    ac0, ac1, ac2 = c[0] - a[0], c[1] - a[1], c[2] - a[2]
    ap0, ap1, ap2 = p[0] - a[0], p[1] - a[1], p[2] - a[2]
    d1 = ab0 * ap0 + ab1 * ap1 + ab2 * ap2
    d2 = ac0 * ap0 + ac1 * ap1 + ac2 * ap2
    if d1 <= 0 and d2 <= 0:
        return ap0 * ap0 + ap1 * ap1 + ap2 * ap2
    bp0, bp1, bp2 = p[0] - b[0], p[1] - b[1], p[2] - b[2]
    d3 = ab0 * bp0 + ab1 * bp1 + ab2 * bp2
    d4 = ac0 * bp0 + ac1 * bp1 + ac2 * bp2
    if d3 >= 0 and d4 <= d3:
        return bp0 * bp0 + bp1 * bp1 + bp2 * bp2
    cp0, cp1, cp2 = p[0] - c[0], p[1] - c[1], p[2] - c[2]
    d5 = ab0 * cp0 + ab1 * cp1 + ab2 * cp2
    d6 = ac0 * cp0 + ac1 * cp1 + ac2 * cp2
    if d6 >= 0 and d5 <= d6:
        return cp0 * cp0 + cp1 * cp1 + cp2 * cp2
    vc = d1 * d4 - d3 * d2
    vb = d5 * d2 - d1 * d6
    va = d3 * d6 - d5 * d4
    if vc <= 0 and d1 >= 0 and d3 <= 0 and d1 > d3:
        v, w = d1 / (d1 - d3), 0.0
    elif vb <= 0 and d2 >= 0 and d6 <= 0:
        v, w = 0.0, d2 / (d2 - d6)
    elif (va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0) or va + vb + vc <= 0:
        w = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        v = 1.0 - w
    else:
        v, w = vb / (va + vb + vc), vc / (va + vb + vc)
    x = ap0 - ab0 * v - ac0 * w
    y = ap1 - ab1 * v - ac1 * w
    z = ap2 - ab2 * v - ac2 * w
    return x * x + y * y + z * z
