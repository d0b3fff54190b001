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


@nb.njit(cache=True, fastmath=True)
def sample_plate(pixels, start, width, height, u, v, scratch):
    """RGB of the plate at the continuous pixel (u, v), bicubic, 0..255; `scratch` [16] float32 is written to.

    Columns first: four pixels of a row are twelve values side by side, which the processor takes at once; sixteen are
    taken, because that is a multiple of what it takes, and the last four left. Unsigned indices, because numba counts
    negative ones from the end, and asks each time.
    """
    x, y = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    wx = cubic(np.float32(u - 0.5 - x))
    wy = cubic(np.float32(v - 0.5 - y))
    if x < 1 or y < 1 or x + 3 >= width or y + 2 >= height:
        return _sample_border(pixels, start, width, height, x, y, wx, wy)
    w0, w1, w2, w3 = np.float32(wy[0]), np.float32(wy[1]), np.float32(wy[2]), np.float32(wy[3])
    row = np.uint64(3 * width)
    first = np.uint64(3 * (start + (y - 1) * width + x - 1))
    second, third, fourth = first + row, first + row + row, first + row + row + row
    for i in range(np.uint64(16)):
        scratch[i] = (
            w0 * np.float32(pixels[first + i])
            + w1 * np.float32(pixels[second + i])
            + w2 * np.float32(pixels[third + i])
            + w3 * np.float32(pixels[fourth + i])
        )
    w0, w1, w2, w3 = np.float32(wx[0]), np.float32(wx[1]), np.float32(wx[2]), np.float32(wx[3])
    return (
        w0 * scratch[0] + w1 * scratch[3] + w2 * scratch[6] + w3 * scratch[9],
        w0 * scratch[1] + w1 * scratch[4] + w2 * scratch[7] + w3 * scratch[10],
        w0 * scratch[2] + w1 * scratch[5] + w2 * scratch[8] + w3 * scratch[11],
    )


@nb.njit(cache=True)
def _sample_border(pixels, start, width, height, x, y, wx, wy):
    """`sample_plate` where some of the sixteen pixels lie outside: those at the border are repeated."""
    r, g, b = np.float32(0), np.float32(0), np.float32(0)
    for j in range(4):
        row = start + min(max(y - 1 + j, 0), height - 1) * width
        for i in range(4):
            at = 3 * (row + min(max(x - 1 + i, 0), width - 1))
            w = np.float32(wx[i] * wy[j])
            r += w * pixels[at]
            g += w * pixels[at + 1]
            b += w * pixels[at + 2]
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
