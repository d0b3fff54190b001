"""A z-buffer in numba: nearest triangle and its depth at every pixel centre, multi-threaded over bands of rows.

Deterministic: each band of rows belongs to one thread, and triangles are visited in order.
"""

from __future__ import annotations

import numba as nb
import numpy as np

Array = np.ndarray
BACKGROUND = np.float32(np.inf)
_BANDS = 32  # bands of rows: enough for the threads to share the work evenly, few enough to keep the skip test cheap


def rasterise(
    pixels: Array,  # [V, 2] float32, continuous pixel coordinates
    depth: Array,  # [V] float32, positive in front of the camera; equal depths keep the lower triangle
    triangles: Array,  # [T, 3] int32
    width: int,
    height: int,
) -> tuple[Array, Array]:
    """Triangle at every pixel centre and its depth.

    Returns (ids [H, W] int32, -1 where nothing is; depth [H, W] float32, infinite where nothing is). Depth is
    interpolated linearly in the image (exact for equal depths; its error within one small triangle is negligible beside
    an edge length). Triangles with a vertex behind the camera are skipped.
    """
    ids = np.full((height, width), -1, np.int32)
    zbuf = np.full((height, width), BACKGROUND, np.float32)
    _rasterise(
        np.ascontiguousarray(pixels, np.float32),
        np.ascontiguousarray(depth, np.float32),
        np.ascontiguousarray(triangles, np.int32),
        ids,
        zbuf,
    )
    return ids, zbuf


def rasterise_here(pixels: Array, depth: Array, triangles: Array, width: int, height: int) -> tuple[Array, Array]:
    """`rasterise` in the calling thread alone, so that several may be at it; lets go of the interpreter meanwhile."""
    ids = np.full((height, width), -1, np.int32)
    zbuf = np.full((height, width), BACKGROUND, np.float32)
    _rasterise_here(
        np.ascontiguousarray(pixels, np.float32),
        np.ascontiguousarray(depth, np.float32),
        np.ascontiguousarray(triangles, np.int32),
        ids,
        zbuf,
    )
    return ids, zbuf


def depth_buffer(pixels: Array, depth: Array, triangles: Array, width: int, height: int) -> Array:
    """Depth of the nearest triangle at every pixel centre.  # [H, W] float32, infinite where nothing is."""
    return rasterise(pixels, depth, triangles, width, height)[1]


def rasterise_views(
    pixels: Array,  # [K, V, 2] float32
    depth: Array,  # [K, V] float32
    triangles: Array,  # [T, 3] int32
    sizes: Array,  # [K, 2] int64: height, width
    offsets: Array,  # [K] int64: where each view begins in the results
) -> tuple[Array, Array]:
    """`rasterise` for one mesh in many views, one thread a view; (ids, depth) in flat buffers.  # [sum of H * W]."""
    count = int((sizes[:, 0] * sizes[:, 1]).sum())
    ids = np.full(count, -1, np.int32)
    zbuf = np.full(count, BACKGROUND, np.float32)
    _rasterise_views(pixels, depth, triangles, sizes, offsets, ids, zbuf)
    return ids, zbuf


@nb.njit(parallel=True, cache=True)
def _rasterise(pixels, depth, triangles, ids, zbuf):
    height = zbuf.shape[0]
    for band in nb.prange(_BANDS):
        _fill(pixels, depth, triangles, ids, zbuf, band * height // _BANDS, (band + 1) * height // _BANDS - 1)


@nb.njit(cache=True, nogil=True)
def _rasterise_here(pixels, depth, triangles, ids, zbuf):
    _fill(pixels, depth, triangles, ids, zbuf, 0, zbuf.shape[0] - 1)


@nb.njit(parallel=True, cache=True)
def _rasterise_views(pixels, depth, triangles, sizes, offsets, ids, zbuf):
    for k in nb.prange(sizes.shape[0]):
        height, width = sizes[k]
        first, last = offsets[k], offsets[k] + height * width
        view, names = zbuf[first:last].reshape((height, width)), ids[first:last].reshape((height, width))
        _fill(pixels[k], depth[k], triangles, names, view, 0, height - 1)


@nb.njit(cache=True)
def _fill(pixels, depth, triangles, ids, zbuf, first, last):
    """Rasterise the rows `first`..`last` of one view."""
    width = zbuf.shape[1]
    for t in range(triangles.shape[0]):
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        y0, y1, y2 = pixels[a, 1], pixels[b, 1], pixels[c, 1]
        top, bottom = np.ceil(min(y0, y1, y2) - 0.5), np.floor(max(y0, y1, y2) - 0.5)
        if not (top <= last and bottom >= first and top <= bottom):  # also drops NaN
            continue
        if not (depth[a] > 0 and depth[b] > 0 and depth[c] > 0):
            continue
        x0, x1, x2 = pixels[a, 0], pixels[b, 0], pixels[c, 0]
        left, right = np.ceil(min(x0, x1, x2) - 0.5), np.floor(max(x0, x1, x2) - 0.5)
        if not (left <= width - 1 and right >= 0):
            continue
        area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
        if area == 0:
            continue
        inv = np.float32(1.0) / area
        slack = np.float32(-1e-5)  # a centre on a shared edge must not fall between the two triangles
        for y in range(max(first, int(top)), min(last, int(bottom)) + 1):
            py = np.float32(y) + np.float32(0.5)
            for x in range(max(0, int(left)), min(width - 1, int(right)) + 1):
                px = np.float32(x) + np.float32(0.5)
                w0 = ((y1 - y2) * (px - x2) + (x2 - x1) * (py - y2)) * inv
                w1 = ((y2 - y0) * (px - x2) + (x0 - x2) * (py - y2)) * inv
                w2 = np.float32(1.0) - w0 - w1
                if w0 >= slack and w1 >= slack and w2 >= slack:
                    z = w0 * depth[a] + w1 * depth[b] + w2 * depth[c]
                    if z < zbuf[y, x]:
                        zbuf[y, x] = z
                        ids[y, x] = t
