"""Texels outside every island: filled from the islands by a pull-push pyramid, so that no mip level sees black.

Gortler et al., The Lumigraph, SIGGRAPH 1996, section 3.4 (pull: average what is known; push: fill what is not).
"""

from __future__ import annotations

import numba as nb
import numpy as np

Array = np.ndarray


def fill_empty(texture: Array, empty: Array) -> None:
    """Fill `texture` [R, R, 3] uint8 or uint16 in place where `empty` [R, R] bool, smoothly from everything else."""
    if not empty.any() or empty.all():
        return
    levels = [_pull_first(texture, empty)]
    while min(levels[-1].shape[:2]) > 1:
        levels.append(_pull(levels[-1]))
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        _push(fine, coarse)
    _push_last(texture, empty, levels[0])


def extend(texture: Array, known: Array, rings: int) -> None:
    """Continue `texture` [R, R, 3] in place by `rings` texels past where it is `known` [R, R] bool."""
    for _ in range(rings):
        grown = known.copy()
        _extend(texture, known, grown)
        known = grown


@nb.njit(parallel=True, cache=True)
def _extend(texture, known, grown):
    """Give texels not `known` the mean of their neighbours that are."""
    height, width = known.shape
    for y in nb.prange(height):
        for x in range(width):
            if known[y, x]:
                continue
            r, g, b, count = 0, 0, 0, 0
            for v in range(max(y - 1, 0), min(y + 2, height)):
                for u in range(max(x - 1, 0), min(x + 2, width)):
                    if known[v, u]:
                        r, g, b, count = r + texture[v, u, 0], g + texture[v, u, 1], b + texture[v, u, 2], count + 1
            if count > 0:
                half = count // 2
                texture[y, x, 0], texture[y, x, 1], texture[y, x, 2] = (
                    (r + half) // count,
                    (g + half) // count,
                    (b + half) // count,
                )
                grown[y, x] = True


@nb.njit(parallel=True, cache=True)
def _pull_first(texture, empty):
    """The level at half the size: mean colour of the known texels of each 2x2 and, fourth, whether there are any."""
    height, width = empty.shape
    out = np.zeros(((height + 1) // 2, (width + 1) // 2, 4), np.float32)
    for y in nb.prange(out.shape[0]):
        for x in range(out.shape[1]):
            for v in range(2 * y, min(2 * y + 2, height)):
                for u in range(2 * x, min(2 * x + 2, width)):
                    if not empty[v, u]:
                        for c in range(3):
                            out[y, x, c] += texture[v, u, c]
                        out[y, x, 3] += 1
            _normalise(out[y, x])
    return out


@nb.njit(parallel=True, cache=True)
def _pull(fine):
    height, width = fine.shape[:2]
    out = np.zeros(((height + 1) // 2, (width + 1) // 2, 4), np.float32)
    for y in nb.prange(out.shape[0]):
        for x in range(out.shape[1]):
            for v in range(2 * y, min(2 * y + 2, height)):
                for u in range(2 * x, min(2 * x + 2, width)):
                    if fine[v, u, 3] > 0:
                        for c in range(4):
                            out[y, x, c] += fine[v, u, c]
            _normalise(out[y, x])
    return out


@nb.njit(cache=True, inline="always")
def _normalise(pixel):
    if pixel[3] > 0:
        for c in range(3):
            pixel[c] /= pixel[3]
        pixel[3] = 1


@nb.njit(cache=True)
def _interpolate(coarse, y, x, c):
    """Channel `c` of `coarse` at the centre of pixel (x, y) of the level twice as fine."""
    v, u = (y + 0.5) / 2 - 0.5, (x + 0.5) / 2 - 0.5
    v0, u0 = int(np.floor(v)), int(np.floor(u))
    fv, fu = v - v0, u - u0
    bottom, right = min(v0 + 1, coarse.shape[0] - 1), min(u0 + 1, coarse.shape[1] - 1)
    v0, u0 = max(v0, 0), max(u0, 0)
    upper = (1 - fu) * coarse[v0, u0, c] + fu * coarse[v0, right, c]
    lower = (1 - fu) * coarse[bottom, u0, c] + fu * coarse[bottom, right, c]
    return (1 - fv) * upper + fv * lower


@nb.njit(parallel=True, cache=True)
def _push(fine, coarse):
    for y in nb.prange(fine.shape[0]):
        for x in range(fine.shape[1]):
            if fine[y, x, 3] == 0:
                for c in range(3):
                    fine[y, x, c] = _interpolate(coarse, y, x, c)


@nb.njit(parallel=True, cache=True)
def _push_last(texture, empty, coarse):
    for y in nb.prange(texture.shape[0]):
        for x in range(texture.shape[1]):
            if empty[y, x]:
                for c in range(3):
                    texture[y, x, c] = np.uint16(_interpolate(coarse, y, x, c) + 0.5)
