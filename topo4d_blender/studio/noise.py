"""Gradient noise at points in space, so that a painted skin has no seams wherever its UV map is cut."""

from __future__ import annotations

import numba as nb
import numpy as np

Array = np.ndarray


def fractal_noise(points: Array, wavelength: float, octaves: int = 1, seed: int = 0) -> Array:
    """Sum of `octaves` gradient noises, each of half the wavelength and half the height of the one before.

    `points` [N, 3] in the unit of `wavelength`. Returns [N] float32, about zero, rarely beyond -1..1.
    K. Perlin, "Improving Noise", SIGGRAPH 2002 (the quintic fade), with an integer hash for the gradients.
    """
    result = np.zeros(len(points), np.float32)
    for octave in range(octaves):
        scale = 2.0**octave
        _add_noise(
            np.ascontiguousarray(points, np.float32), scale / wavelength, 1.0 / scale, seed * 64 + octave, result
        )
    return result


@nb.njit(inline="always")
def _fade(t):
    return t * t * t * (t * (t * 6 - 15) + 10)


@nb.njit(inline="always")
def _corner(i, j, k, x, y, z, seed):
    """Dot product of (x, y, z) with the gradient that lattice point (i, j, k) hashes to."""
    h = nb.uint32(i * 374761393 + j * 668265263 + k * 2147483647 + seed * 1274126177)
    h = nb.uint32((h ^ (h >> nb.uint32(13))) * nb.uint32(1274126177))
    h = nb.uint32((h ^ (h >> nb.uint32(16))) * nb.uint32(2246822519))
    h = (h ^ (h >> nb.uint32(15))) & nb.uint32(15)
    u = x if h < 8 else y
    v = y if h < 4 else (x if h == 12 or h == 14 else z)
    return (u if h & 1 == 0 else -u) + (v if h & 2 == 0 else -v)


@nb.njit(parallel=True, cache=True)
def _add_noise(points, frequency, height, seed, result):
    for n in nb.prange(points.shape[0]):
        x, y, z = points[n, 0] * frequency, points[n, 1] * frequency, points[n, 2] * frequency
        i, j, k = int(np.floor(x)), int(np.floor(y)), int(np.floor(z))
        x, y, z = x - i, y - j, z - k
        u, v, w = _fade(x), _fade(y), _fade(z)
        total = 0.0
        for dk in range(2):
            wk = w if dk else 1 - w
            for dj in range(2):
                wj = v if dj else 1 - v
                for di in range(2):
                    wi = u if di else 1 - u
                    total += wi * wj * wk * _corner(i + di, j + dj, k + dk, x - di, y - dj, z - dk, seed)
        result[n] += height * total
