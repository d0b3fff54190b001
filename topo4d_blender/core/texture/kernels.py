"""What the kernels of this room share: place a texel, project a point, ask a camera whether it sees it, read its plate.

`views` reaches the kernels as plain arrays (see views.Views): boxes, projections, starts, depth_range, pixels, codes.
"""

from __future__ import annotations

import numba as nb
import numpy as np


@nb.njit(cache=True, inline="always")
def project(projection, p):
    """Pixel of the crop and depth of the world point `p`; depth is not positive behind the camera."""
    z = projection[2, 0] * p[0] + projection[2, 1] * p[1] + projection[2, 2] * p[2] + projection[2, 3]
    if z <= 0:
        return 0.0, 0.0, 0.0
    u = (projection[0, 0] * p[0] + projection[0, 1] * p[1] + projection[0, 2] * p[2] + projection[0, 3]) / z
    v = (projection[1, 0] * p[0] + projection[1, 1] * p[1] + projection[1, 2] * p[2] + projection[1, 3]) / z
    return u, v, z


@nb.njit(cache=True, inline="always")
def sees(codes, start, width, height, near, step, tolerance, u, v, z):
    """Whether a point at pixel (u, v) and depth z is the nearest surface, well away from any jump in depth.

    It is compared with the farthest of the four pixel centres around it, so that slope within a pixel hides nothing.
    """
    x, y = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    if x < 0 or y < 0 or x + 1 >= width or y + 1 >= height:
        return False
    at = start + y * width + x
    a, b, c, d = codes[at], codes[at + 1], codes[at + width], codes[at + width + 1]
    if a == 0 or b == 0 or c == 0 or d == 0:
        return False
    return z <= near + step * max(max(a, b), max(c, d)) + tolerance


@nb.njit(cache=True, inline="always")
def cubic(t):
    """Weights of four neighbours for a point `t` past the second (Catmull-Rom: keeps pores that bilinear blurs)."""
    return (
        t * (-0.5 + t * (1.0 - 0.5 * t)),
        1.0 + t * t * (-2.5 + 1.5 * t),
        t * (0.5 + t * (2.0 - 1.5 * t)),
        t * t * (-0.5 + 0.5 * t),
    )


@nb.njit(cache=True, inline="always")
def cubic_slope(t):
    """Derivatives of `cubic` by `t`."""
    return (
        -0.5 + t * (2.0 - 1.5 * t),
        t * (-5.0 + 4.5 * t),
        0.5 + t * (4.0 - 4.5 * t),
        t * (-1.0 + 1.5 * t),
    )


@nb.njit(cache=True, inline="always")
def sample_plate(pixels, start, width, height, u, v):
    """RGB of the plate at the continuous pixel (u, v), bicubic, 0..255."""
    x, y = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    wx = cubic(np.float32(u - 0.5 - x))
    wy = cubic(np.float32(v - 0.5 - y))
    r, g, b = np.float32(0), np.float32(0), np.float32(0)
    for j in range(4):
        row = start + min(max(y - 1 + j, 0), height - 1) * width
        sr, sg, sb = np.float32(0), np.float32(0), np.float32(0)
        for i in range(4):
            at = 3 * (row + min(max(x - 1 + i, 0), width - 1))
            w = np.float32(wx[i])
            sr += w * pixels[at]
            sg += w * pixels[at + 1]
            sb += w * pixels[at + 2]
        w = np.float32(wy[j])
        r += w * sr
        g += w * sg
        b += w * sb
    return r, g, b


@nb.njit(cache=True, inline="always")
def barycentric(corner, px, py, clamp):
    """Weights of the three corners; with `clamp`, of a nearby point inside the triangle."""
    x2, y2 = corner[2, 0], corner[2, 1]
    ax, ay, bx, by = corner[0, 0] - x2, corner[0, 1] - y2, corner[1, 0] - x2, corner[1, 1] - y2
    area = ax * by - ay * bx
    if area == 0:
        return 1.0, 0.0, 0.0
    w0, w1 = ((px - x2) * by - (py - y2) * bx) / area, ((py - y2) * ax - (px - x2) * ay) / area
    w2 = 1.0 - w0 - w1
    if clamp:
        w0, w1, w2 = max(w0, 0.0), max(w1, 0.0), max(w2, 0.0)
        total = w0 + w1 + w2
        w0, w1, w2 = w0 / total, w1 / total, w2 / total
    return w0, w1, w2
