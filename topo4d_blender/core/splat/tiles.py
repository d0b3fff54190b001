"""Projected Gaussians blended front to back and gradients back, in numba: one thread a tile of the picture.

Each tile walks the Gaussians that reach it, nearest first, and each Gaussian the few pixels it reaches. Gradients are
kept apart for every pair of a Gaussian and a tile and added up in one order: the same bits on any number of threads.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from .gaussians import LEAST_ALPHA, MOST_ALPHA, OPAQUE

TILE = 16  # px
GRADIENTS = 9  # numbers a pair: centre 2, conic 3, opacity 1, colour 3

_jit = nb.njit(parallel=True, cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nsz"})


@nb.njit(cache=True, nogil=True)
def list_pairs(
    order,  # [M] int64: the Gaussians that can be seen, nearest first
    boxes,  # [N, 4] int32
    width,
    height,
):
    """Which Gaussians each tile draws.

    Returns where each tile's pairs begin in its list [tiles + 1], the list of pairs by tile, nearest first [P], the
    Gaussian of each pair [P], and where the pairs of each of `order` begin [M + 1]; pairs are numbered Gaussian by
    Gaussian.
    """
    columns, rows = (width + TILE - 1) // TILE, (height + TILE - 1) // TILE
    starts = np.zeros(columns * rows + 1, np.int64)
    first_pair = np.zeros(len(order) + 1, np.int64)
    for m in range(len(order)):
        box = boxes[order[m]]
        for row in range(box[2] // TILE, (box[3] - 1) // TILE + 1):
            for column in range(box[0] // TILE, (box[1] - 1) // TILE + 1):
                starts[row * columns + column + 1] += 1
                first_pair[m + 1] += 1
        first_pair[m + 1] += first_pair[m]
    for t in range(columns * rows):
        starts[t + 1] += starts[t]
    pairs = np.empty(first_pair[-1], np.int64)
    owners = np.empty(first_pair[-1], np.int64)
    filled = starts[:-1].copy()
    pair = 0
    for m in range(len(order)):
        box = boxes[order[m]]
        for row in range(box[2] // TILE, (box[3] - 1) // TILE + 1):
            for column in range(box[0] // TILE, (box[1] - 1) // TILE + 1):
                tile = row * columns + column
                pairs[filled[tile]] = pair
                filled[tile] += 1
                owners[pair] = order[m]
                pair += 1
    return starts, pairs, owners, first_pair


@nb.njit(inline="always")
def _reach(opacity):
    """Twice the sigma at which a Gaussian of this opacity becomes too faint, and a little more against rounding."""
    return 2 * np.log(opacity / LEAST_ALPHA) + 1e-3


@nb.njit(inline="always", error_model="numpy")
def _span(a, b, c, centre, dy, reach, left, right):
    """The first and the past-the-last column of `left`..`right` where a row of the Gaussian is bright enough."""
    root = b * b * dy * dy - a * (c * dy * dy - reach)
    if root < 0:
        return left, left
    half, middle = np.sqrt(root) / a, centre - b * dy / a
    return max(left, int(np.ceil(middle - half - 0.5))), min(right, int(np.floor(middle + half - 0.5)) + 1)


@_jit
def blend(
    starts, pairs, owners,  # as from `list_pairs`
    centres, conics, boxes,  # as from `project`
    opacities,  # [N]
    colours,  # [N, 3]
    picture,  # out [H, W, 3]
    transmittance,  # out [H, W]
    last,  # out [H, W] int64: place in `pairs` past the last Gaussian that counts in a pixel
):  # fmt: skip
    """Draw all tiles."""
    height, width = transmittance.shape
    columns = (width + TILE - 1) // TILE
    real = transmittance.dtype.type
    for tile in nb.prange(len(starts) - 1):
        top, left = tile // columns * TILE, tile % columns * TILE
        bottom, right = min(top + TILE, height), min(left + TILE, width)
        picture[top:bottom, left:right] = 0
        transmittance[top:bottom, left:right] = 1
        last[top:bottom, left:right] = -1  # while a pixel may still get darker: -1 - (past the last place)
        remaining = (bottom - top) * (right - left)
        for place in range(starts[tile], starts[tile + 1]):
            if remaining == 0:
                break
            n = owners[pairs[place]]
            a, b, c = conics[n, 0], conics[n, 1], conics[n, 2]
            opacity, reach = opacities[n], _reach(opacities[n])
            for y in range(max(top, boxes[n, 2]), min(bottom, boxes[n, 3])):
                dy = real(y + 0.5) - centres[n, 1]
                first, past = _span(a, b, c, centres[n, 0], dy, reach, left, right)
                for x in range(first, past):
                    if last[y, x] >= 0:
                        continue
                    dx = real(x + 0.5) - centres[n, 0]
                    sigma = real(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
                    alpha = min(opacity * np.exp(-sigma), real(MOST_ALPHA))
                    if not alpha >= real(LEAST_ALPHA):
                        continue
                    after = transmittance[y, x] * (real(1) - alpha)
                    if not after > real(OPAQUE):
                        last[y, x] = -1 - last[y, x]
                        remaining -= 1
                        continue
                    weight = alpha * transmittance[y, x]
                    for k in range(3):
                        picture[y, x, k] += weight * colours[n, k]
                    transmittance[y, x] = after
                    last[y, x] = -2 - place
        for y in range(top, bottom):
            for x in range(left, right):
                if last[y, x] < 0:
                    last[y, x] = -1 - last[y, x]


@_jit
def blend_back(
    starts, pairs, owners,  # as from `list_pairs`
    centres, conics, boxes, opacities, colours, transmittance, last,  # as in `blend`
    of_picture,  # [H, W, 3] gradient
    of_transmittance,  # [H, W] gradient
    behind,  # [H, W] scratch
    before,  # [H, W] scratch
    out,  # out [P, GRADIENTS]: centre 2, conic 3, opacity 1, colour 3
):  # fmt: skip
    """Gradients of every pair of a Gaussian and a tile, walking back to front from the transmittance that was left."""
    height, width = transmittance.shape
    columns = (width + TILE - 1) // TILE
    real = transmittance.dtype.type
    for tile in nb.prange(len(starts) - 1):
        top, left = tile // columns * TILE, tile % columns * TILE
        bottom, right = min(top + TILE, height), min(left + TILE, width)
        for y in range(top, bottom):
            for x in range(left, right):
                before[y, x] = transmittance[y, x]
                behind[y, x] = transmittance[y, x] * of_transmittance[y, x]
        for place in range(starts[tile + 1] - 1, starts[tile] - 1, -1):
            n = owners[pairs[place]]
            a, b, c = conics[n, 0], conics[n, 1], conics[n, 2]
            opacity, reach = opacities[n], _reach(opacities[n])
            g0, g1, g2 = real(0), real(0), real(0)
            s, sx, sy, sxx, sxy, syy = (
                real(0),
                real(0),
                real(0),
                real(0),
                real(0),
                real(0),
            )  # moments of sigma's gradient
            for y in range(max(top, boxes[n, 2]), min(bottom, boxes[n, 3])):
                dy = real(y + 0.5) - centres[n, 1]
                m, mx, mxx = real(0), real(0), real(0)  # of the row
                first, past = _span(a, b, c, centres[n, 0], dy, reach, left, right)
                for x in range(first, past):
                    if last[y, x] <= place:
                        continue
                    dx = real(x + 0.5) - centres[n, 0]
                    sigma = real(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
                    bright = opacity * np.exp(-sigma)
                    alpha = min(bright, real(MOST_ALPHA))
                    if not alpha >= real(LEAST_ALPHA):
                        continue
                    through = real(1) / (real(1) - alpha)
                    front = before[y, x] * through
                    before[y, x] = front
                    weight = alpha * front
                    gp0, gp1, gp2 = of_picture[y, x, 0], of_picture[y, x, 1], of_picture[y, x, 2]
                    g0 += weight * gp0
                    g1 += weight * gp1
                    g2 += weight * gp2
                    light = colours[n, 0] * gp0 + colours[n, 1] * gp1 + colours[n, 2] * gp2
                    if bright <= real(MOST_ALPHA):
                        of_sigma = (behind[y, x] * through - front * light) * bright
                        m += of_sigma
                        mx += of_sigma * dx
                        mxx += of_sigma * dx * dx
                    behind[y, x] += weight * light
                s += m
                sx += mx
                sy += m * dy
                sxx += mxx
                sxy += mx * dy
                syy += m * dy * dy
            pair = pairs[place]
            out[pair, 0], out[pair, 1] = -(a * sx + b * sy), -(b * sx + c * sy)
            out[pair, 2], out[pair, 3], out[pair, 4] = real(0.5) * sxx, sxy, real(0.5) * syy
            out[pair, 5] = -s / opacity
            out[pair, 6], out[pair, 7], out[pair, 8] = g0, g1, g2


@_jit
def add_pairs(
    order,  # [M] int64
    first_pair,  # [M + 1] int64
    by_pair,  # [P, GRADIENTS]
    out,  # out [N, GRADIENTS]; zero before
):
    """The gradients of each Gaussian from those of its pairs."""
    for m in nb.prange(len(order)):
        for pair in range(first_pair[m], first_pair[m + 1]):
            for k in range(GRADIENTS):
                out[order[m], k] += by_pair[pair, k]
