"""The UV map as pixels: which triangle every texel shows. Depends on the template alone.

Texel (x, y) of a map of R x R texels has its centre at u = (x + 0.5) / R, v = 1 - (y + 0.5) / R.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numba as nb
import numpy as np

from ..template import Template
from .layout import FIRST, Layout, faces_of, lay_out, name_faces, tile_corner
from .rasterise import rasterise_uv

Array = np.ndarray
EMPTY = -1  # a texel no triangle covers
_INSIDE = 1e-3  # barycentric: nearer to an edge, a texel shared by two neighbours is no overlap


@dataclass(frozen=True)
class UvMap:
    """Texels of one tile of a template at one resolution."""

    resolution: int
    corners: Array  # [T, 3, 2] float64, the triangles in texels, y down
    ids: Array = field(repr=False)  # [R, R] int32: triangle; EMPTY; or `padding_id(triangle)` past an island's border
    overlapping: Array = field(repr=False)  # [T] bool: triangles that share texels with an earlier one

    def halved(self) -> UvMap:
        """The same at half the resolution, which must be even: of four texels a covered one, else a padded one."""
        return UvMap(self.resolution // 2, self.corners / 2, _halve(self.ids), self.overlapping)


def map_uv(
    template: Template, resolution: int, layout: Layout | None = None, tile: int = FIRST, device: str = "cpu"
) -> UvMap:
    """Rasterise what lies in `tile`, on `device`, and pad the islands; where triangles overlap the first one wins.

    `layout` is the template's, made anew where it is not given. Raises RequestError as `lay_out` does.
    """
    layout = layout or lay_out(template)
    size = float(resolution)
    pixels = (np.asarray(template.uv, np.float64) - tile_corner(tile)) * (size, -size) + (0.0, size)
    corners = pixels[template.triangle_loops]
    low, high = corners.min(axis=1), corners.max(axis=1)
    good = np.flatnonzero(layout.usable & ~((low >= size) | (high <= 0)).any(axis=1))
    ids = rasterise_uv(corners[good], resolution, device)
    covered = ids >= 0
    ids[covered] = good[ids[covered]]
    del covered
    overlapping = np.zeros(len(corners), bool)
    overlapping[good] = _lose_texels(corners, good, ids)
    _pad(ids, padding_width(resolution))
    return UvMap(resolution, corners, ids, overlapping)


def overlap_warning(template: Template, uv_map: UvMap) -> str | None:
    """The sentence for faces that overlap, with their numbers; None where none does."""
    if not uv_map.overlapping.any():
        return None
    named = name_faces(faces_of(template, uv_map.overlapping))
    return f"{named} on top of others in the UV map: those with the lower number keep the texels."


def padding_width(resolution: int) -> int:
    """Texels an island is continued past its border: two texels of the 1/8 mip level at 1024 and above."""
    return int(np.clip(resolution // 512, 2, 16))


def padding_id(triangle: int) -> int:
    """How `UvMap.ids` marks a texel past the border of the island of `triangle`; its own inverse."""
    return -2 - triangle


@nb.njit(parallel=True, cache=True)
def _halve(ids):
    out = np.empty((ids.shape[0] // 2, ids.shape[1] // 2), np.int32)
    for y in nb.prange(out.shape[0]):
        for x in range(out.shape[1]):
            found = EMPTY
            for v in range(2 * y, 2 * y + 2):
                for u in range(2 * x, 2 * x + 2):
                    if found < 0 and (ids[v, u] >= 0 or found == EMPTY):
                        found = ids[v, u]
            out[y, x] = found
    return out


@nb.njit(cache=True)
def _lose_texels(corners, triangles, ids):
    """Which of `triangles` lost a texel well inside them to another one."""
    size = ids.shape[0]
    losers = np.zeros(len(triangles), np.bool_)
    for i in range(len(triangles)):
        t = triangles[i]
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
        losers[i] = lost
    return losers


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
