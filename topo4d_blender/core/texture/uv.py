"""The UV map as pixels: which triangle every texel shows. Depends on the template alone, so it is made once a bake.

Texel (x, y) of a map of R x R texels has its centre at u = (x + 0.5) / R, v = 1 - (y + 0.5) / R.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba as nb
import numpy as np

from ..errors import RequestError
from ..raster import rasterise
from ..template import Template

Array = np.ndarray
EMPTY = -1  # a texel no triangle covers
_INSIDE = 1e-3  # barycentric: nearer to an edge, a texel shared by two neighbours is no overlap


@dataclass(frozen=True)
class UvMap:
    """Texels of one template at one resolution."""

    resolution: int
    corners: Array  # [T, 3, 2] float64, the triangles in texels, y down
    ids: Array = field(repr=False)  # [R, R] int32: triangle; EMPTY; or `padding_id(triangle)` past an island's border
    overlapping: int  # triangles that share texels with an earlier one
    warnings: tuple[str, ...] = ()


def map_uv(template: Template, resolution: int) -> UvMap:
    """Rasterise the UV triangles of `template` and pad the islands; where triangles overlap the first one wins.

    Triangles without area in UV and triangles wholly outside the tile [0, 1]^2 are left out, with a warning.
    Raises RequestError for a template without UV, or with none inside the tile.
    """
    if template.uv is None:
        raise RequestError("The template has no UV map, so there is nothing to bake onto; unwrap it and track again.")
    size = float(resolution)
    pixels = np.asarray(template.uv, np.float64) * (size, -size) + (0.0, size)
    corners = pixels[template.triangle_loops]
    low, high = corners.min(axis=1), corners.max(axis=1)
    finite = np.isfinite(corners).all(axis=(1, 2))
    outside = finite & ((low >= size) | (high <= 0)).any(axis=1)
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    flat = ~finite | (np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) < 1e-9 * size * size)
    good = np.flatnonzero(~(outside | flat))
    if len(good) == 0:
        raise RequestError("The template's UV map has no face inside the tile 0 to 1; unwrap it there and track again.")
    ids, _ = rasterise(pixels, np.ones(len(pixels)), template.triangle_loops[good], resolution, resolution)
    covered = ids >= 0
    ids[covered] = good[ids[covered]]
    del covered
    overlapping = int(_count_overlaps(corners, good, ids))
    _pad(ids, padding_width(resolution))
    return UvMap(resolution, corners, ids, overlapping, _warnings(flat & ~outside, outside, overlapping))


def padding_width(resolution: int) -> int:
    """Texels an island is continued past its border: two texels of the 1/8 mip level at 1024 and above."""
    return int(np.clip(resolution // 512, 2, 16))


def padding_id(triangle: int) -> int:
    """How `UvMap.ids` marks a texel past the border of the island of `triangle`; its own inverse."""
    return -2 - triangle


def _warnings(flat: Array, outside: Array, overlapping: int) -> tuple[str, ...]:
    said = []
    if flat.any():
        said.append(f"{flat.sum()} triangles have no area in the UV map; they get no texture.")
    if outside.any():
        said.append(f"{outside.sum()} triangles lie outside the UV tile 0 to 1; only that tile is baked.")
    if overlapping:
        said.append(f"{overlapping} triangles overlap others in the UV map; the first face keeps the texels.")
    return tuple(said)


@nb.njit(cache=True)
def _count_overlaps(corners, triangles, ids):
    """How many of `triangles` lost a texel well inside them to another one."""
    size = ids.shape[0]
    count = 0
    for t in triangles:
        x0, y0, x1, y1 = corners[t, 0, 0], corners[t, 0, 1], corners[t, 1, 0], corners[t, 1, 1]
        x2, y2 = corners[t, 2, 0], corners[t, 2, 1]
        inv = 1.0 / ((y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2))
        top, bottom = max(0, int(np.ceil(min(y0, y1, y2) - 0.5))), min(size - 1, int(np.floor(max(y0, y1, y2) - 0.5)))
        left, right = max(0, int(np.ceil(min(x0, x1, x2) - 0.5))), min(size - 1, int(np.floor(max(x0, x1, x2) - 0.5)))
        lost = False
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if ids[y, x] != t:
                    px, py = x + 0.5, y + 0.5
                    w0 = ((y1 - y2) * (px - x2) + (x2 - x1) * (py - y2)) * inv
                    w1 = ((y2 - y0) * (px - x2) + (x0 - x2) * (py - y2)) * inv
                    if w0 > _INSIDE and w1 > _INSIDE and w0 + w1 < 1 - _INSIDE:
                        lost = True
                        break
            if lost:
                break
        count += lost
    return count


@nb.njit(cache=True)
def _pad(ids, width):
    """Continue every island `width` texels past its border (8-neighbours), a ring at a time along a frontier."""
    size = ids.shape[0]
    xs, ys = [np.int32(0)], [np.int32(0)]
    xs.clear()
    ys.clear()
    for y in range(size):
        for x in range(size):
            if ids[y, x] >= 0:
                border = False
                for v in range(max(0, y - 1), min(size, y + 2)):
                    for u in range(max(0, x - 1), min(size, x + 2)):
                        border |= ids[v, u] == EMPTY
                if border:
                    xs.append(np.int32(x))
                    ys.append(np.int32(y))
    begin = 0
    for _ in range(width):
        end = len(xs)
        for i in range(begin, end):
            x, y = xs[i], ys[i]
            owner = ids[y, x] if ids[y, x] <= -2 else -2 - ids[y, x]
            for v in range(max(0, y - 1), min(size, y + 2)):
                for u in range(max(0, x - 1), min(size, x + 2)):
                    if ids[v, u] == EMPTY:
                        ids[v, u] = owner
                        xs.append(np.int32(u))
                        ys.append(np.int32(v))
        begin = end
