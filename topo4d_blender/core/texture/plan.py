"""Which views a texel chooses from, how many it blends, and how many plate pixels it spans there."""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np

from .kernels import project

Array = np.ndarray
CANDIDATES = 16  # views a triangle's texels choose from
_FEWEST = 3  # views blended in a texel of clean plates: few keep pores sharp, three let an outlier be outvoted
_MOST = 16  # and of noisy ones
PREFERENCE = 4.0  # power of angle times resolution in the weight of a view, where plates are clean
_STRENGTH = 1.4  # of back-projection on plates without noise
_LEAST_STRENGTH = 0.4  # less is not seen and takes the same time
_MOST_SAMPLES = 8  # along each axis of a texel, where plates are finer than the texture
_SAMPLE_PX = 1.5  # of the plate, at most, between two of them: each takes 16 pixels in


@dataclass(frozen=True)
class Choice:
    """How many views a texel blends and how strongly the better ones are preferred."""

    views: int
    power: float  # of the cosine times resolution of a view
    strength: float = 0.0  # of what is added by back-projection (backproject.py)
    sources: int = 8  # views that it takes it from
    span: float = 0.0  # of the whole map's side along a pixel of the best plates: see texels_a_pixel

    @classmethod
    def of(cls, detail: float, noise: float) -> Choice:
        """As many views as the plates' noise asks for, given its variance and that of the detail they share.

        The mean of n views keeps 1/n of the noise; every view but the best takes from the detail. Back-projection
        brings detail back with noise: wanted of clean plates, not of those with more noise than detail.
        """
        ratio = noise / max(detail, 1e-9) if noise > 0 else 0.0
        views = int(np.clip(np.ceil(_FEWEST * (1 + 4 * ratio)), _FEWEST, _MOST))
        strength = _STRENGTH / (1 + (1.5 * ratio) ** 2)
        return cls(views, max(PREFERENCE / (1 + 4 * ratio), 1.0), strength if strength > _LEAST_STRENGTH else 0.0)

    @classmethod
    def asked(cls, detail: float) -> Choice:
        """What an artist asks for, 0..1: at 0 many views and little grain, at 1 the best view alone, grain and all."""
        views = max(1, round(_MOST ** (1 - detail)))
        return cls(views, 1.0 + (PREFERENCE - 1) * detail, 1.5 * detail, max(2 * (views - 1), 1))


@nb.njit(parallel=True, cache=True)
def rank_views(scores: Array, present: Array, triangles: Array) -> Array:
    """For each triangle the views to try, best first, from `scores` [V, K].  # [T, CANDIDATES] int16; -1: none."""
    total, count = len(triangles), len(present)
    order = np.full((total, CANDIDATES), -1, np.int16)
    for t in nb.prange(total):
        best = np.zeros(CANDIDATES, np.float32)
        for k in range(count):
            if not present[k]:
                continue
            s = max(scores[triangles[t, 0], k], scores[triangles[t, 1], k], scores[triangles[t, 2], k])
            if s <= best[CANDIDATES - 1]:
                continue
            i = CANDIDATES - 1
            while i > 0 and best[i - 1] < s:
                best[i], order[t, i] = best[i - 1], order[t, i - 1]
                i -= 1
            best[i], order[t, i] = s, k
    return order


@nb.njit(parallel=True, cache=True)
def samples_per_axis(order: Array, projections: Array, vertices: Array, triangles: Array, corners: Array) -> Array:
    """How many samples of its best plate a texel of each triangle takes along an axis.  # [T] int16."""
    samples = np.ones(len(triangles), np.int16)
    for t in nb.prange(len(triangles)):
        if order[t, 0] >= 0:
            samples[t] = _samples(projections[order[t, 0]], vertices, triangles[t], corners[t])
    return samples


@nb.njit(cache=True)
def _samples(projection, vertices, triangle, corner):
    """How many samples of the plate a texel of the triangle takes; 1 where the texture is as fine as the plate."""
    u0, v0, z0 = project(projection, vertices[triangle[0]])
    u1, v1, z1 = project(projection, vertices[triangle[1]])
    u2, v2, z2 = project(projection, vertices[triangle[2]])
    ax, ay = corner[1, 0] - corner[0, 0], corner[1, 1] - corner[0, 1]
    bx, by = corner[2, 0] - corner[0, 0], corner[2, 1] - corner[0, 1]
    area = ax * by - ay * bx
    if z0 <= 0 or z1 <= 0 or z2 <= 0 or area == 0:
        return 1
    au, av, bu, bv = u1 - u0, v1 - v0, u2 - u0, v2 - v0
    ux, uy, vx, vy = au * by - bu * ay, bu * ax - au * bx, av * by - bv * ay, bv * ax - av * bx
    span = np.sqrt((ux * ux + uy * uy + vx * vx + vy * vy) / 2) / abs(area)
    return max(1, min(_MOST_SAMPLES, int(np.ceil(span / _SAMPLE_PX))))


def texels_a_pixel(order: Array, linear: Array, triangles: Array, corners: Array) -> float:
    """How many texels the middling triangle has along a pixel of its best plate; 0 if no triangle is seen."""
    seen = np.flatnonzero(order[:, 0] >= 0)
    if len(seen) == 0:
        return 0.0
    values = linear[order[seen, :1], triangles[seen]]  # [S, 3, 9]
    texels = _area(corners[seen])
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = texels / _area(values[..., :2] / values[..., 2:3])
    good = np.isfinite(ratio) & (values[..., 2] > 0).all(axis=1) & (texels > 0)
    return float(np.sqrt(np.median(ratio[good]))) if good.any() else 0.0


def _area(corners: Array) -> Array:
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
