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

_jit = nb.njit(parallel=True, cache=True, nogil=True, error_model="numpy")


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
            for y in range(max(top, boxes[n, 2]), min(bottom, boxes[n, 3])):
                dy = real(y + 0.5) - centres[n, 1]
                for x in range(max(left, boxes[n, 0]), min(right, boxes[n, 1])):
                    if last[y, x] >= 0:
                        continue
                    dx = real(x + 0.5) - centres[n, 0]
                    sigma = real(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
                    alpha = min(opacities[n] * np.exp(-sigma), real(MOST_ALPHA))
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
            gu, gv, ga, gb, gc, go, g0, g1, g2 = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
            for y in range(max(top, boxes[n, 2]), min(bottom, boxes[n, 3])):
                dy = real(y + 0.5) - centres[n, 1]
                for x in range(max(left, boxes[n, 0]), min(right, boxes[n, 1])):
                    if last[y, x] <= place:
                        continue
                    dx = real(x + 0.5) - centres[n, 0]
                    sigma = real(0.5) * (a * dx * dx + c * dy * dy) + b * dx * dy
                    fall = np.exp(-sigma)
                    alpha = min(opacities[n] * fall, real(MOST_ALPHA))
                    if not alpha >= real(LEAST_ALPHA):
                        continue
                    through = real(1) / (real(1) - alpha)
                    before[y, x] *= through
                    weight = alpha * before[y, x]
                    gp0, gp1, gp2 = of_picture[y, x, 0], of_picture[y, x, 1], of_picture[y, x, 2]
                    g0 += weight * gp0
                    g1 += weight * gp1
                    g2 += weight * gp2
                    light = colours[n, 0] * gp0 + colours[n, 1] * gp1 + colours[n, 2] * gp2
                    of_alpha = before[y, x] * light - behind[y, x] * through
                    behind[y, x] += weight * light
                    if opacities[n] * fall <= real(MOST_ALPHA):
                        go += fall * of_alpha
                        of_sigma = -opacities[n] * fall * of_alpha
                        gu -= of_sigma * (a * dx + b * dy)
                        gv -= of_sigma * (b * dx + c * dy)
                        ga += real(0.5) * of_sigma * dx * dx
                        gb += of_sigma * dx * dy
                        gc += real(0.5) * of_sigma * dy * dy
            pair = pairs[place]
            out[pair, 0], out[pair, 1], out[pair, 2], out[pair, 3], out[pair, 4] = gu, gv, ga, gb, gc
            out[pair, 5], out[pair, 6], out[pair, 7], out[pair, 8] = go, g0, g1, g2


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
