"""One colour for the surface out of cameras that disagree: gains a camera, then low frequencies shared by all.

Three steps over the samples of a `Survey`:
1. a gain and an offset per camera and channel, so that samples seen by several cameras agree (gains.py);
2. the shared colour of a sample: a robust mean of all its views, broadly weighted;
3. per camera and vertex what is missing from its view to the shared colour, smoothed on the mesh: added to the plate,
   it leaves the plate's fine detail and replaces its low frequencies (gloss, shading, the rest of the gain), so that
   views may change from one texel to the next without a seam.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg

from .gains import solve_gains
from .survey import SAMPLES, Surface, Survey

Array = np.ndarray
SMOOTHING_RINGS = 2  # how far, in rings, low frequencies are taken from all views
_OUTLIER = 10.0  # levels, of 255: a view so far from the others counts half in the shared colour


@dataclass(frozen=True)
class Colours:
    """What turns plates into texture."""

    gains: Array  # [K, 3] float32; a plate is multiplied by it. In a first frame their geometric mean is 1
    corrections: Array  # [K, V, 3] float32, added then, 0..255: the camera's offset, and what its view lacks
    shared: Array  # [V, 3] float32: the low frequencies; filled smoothly where no camera looks
    samples: Array  # [N, 3] float32: the same at the survey's samples, not smoothed; NaN where no camera looks


def solve_colours(survey: Survey, surface: Surface, ignored: Array, reference: Colours | None = None) -> Colours:
    """Gains, corrections and shared colour of one frame; nothing is learnt from triangles `ignored` [T] bool.

    With `reference`, the cameras are balanced so that the surface keeps the colours it has there.
    """
    weights = survey.weights * ~np.repeat(ignored, len(SAMPLES))[:, None]
    if reference is None:
        gains, offsets = solve_gains(survey.colours, weights)
    else:
        gains, offsets = solve_gains(survey.colours, weights, reference.samples, reference.gains)
    balanced = survey.colours * gains + offsets
    mean = np.empty((len(balanced), 3), np.float32)
    _robust_mean(balanced, weights, mean)
    seen = weights > 0
    missing = (mean[:, None] - balanced) * seen[..., None]
    corrections = _smooth_on_mesh(missing, seen, surface) + offsets[:, None]
    known = seen.any(axis=1).astype(np.float32)
    amount = surface.gather @ known
    shared = (surface.gather @ (mean * known[:, None])) / np.maximum(amount, 1e-6)[:, None]
    samples = np.where(known[:, None] > 0, mean, np.float32(np.nan))
    return Colours(gains, corrections, _fill(shared, amount > 1e-3, surface.average), samples)


@nb.njit(parallel=True, cache=True)
def _robust_mean(colours, weights, out):
    """Weighted mean over the views of every sample, outliers held down (Cauchy, 5 rounds); 0 where none is."""
    samples, count = weights.shape
    for n in nb.prange(samples):
        mean = np.zeros(3, np.float32)
        for i in range(6):
            total, sums = 0.0, np.zeros(3)
            for k in range(count):
                w = weights[n, k]
                if w > 0:
                    if i > 0:
                        d = 0.0
                        for c in range(3):
                            d += (colours[n, k, c] - mean[c]) ** 2
                        w /= 1 + d / (3 * _OUTLIER * _OUTLIER)
                    total += w
                    for c in range(3):
                        sums[c] += w * colours[n, k, c]
            for c in range(3):
                mean[c] = sums[c] / total if total > 0 else 0.0
        out[n] = mean


def _smooth_on_mesh(values: Array, known: Array, surface: Surface) -> Array:
    """Mean of `values` [N, K, 3] where `known` [N, K], over some rings of every vertex.  # [K, V, 3] float32."""
    samples, count = known.shape
    packed = np.concatenate([values.reshape(samples, -1), known.astype(np.float32)], axis=1)
    packed = surface.gather @ packed
    for _ in range(SMOOTHING_RINGS):
        packed = surface.average @ packed
    sums, amount = packed[:, : 3 * count].reshape(-1, count, 3), packed[:, 3 * count :]
    smooth = np.where(amount[..., None] > 1e-6, sums / np.maximum(amount, 1e-6)[..., None], 0)
    return np.ascontiguousarray(smooth.transpose(1, 0, 2), np.float32)


def _fill(values: Array, known: Array, average: sp.csr_matrix) -> Array:
    """`values` [V, C] with the vertices not `known` set to the mean of their rings (a discrete Laplace equation)."""
    if not known.any():
        return np.full_like(values, 128.0)
    unknown = np.flatnonzero(~known)
    if len(unknown) == 0:
        return values
    centre = np.median(values[known], axis=0)
    rows = average[unknown].astype(np.float64)
    # A piece of the mesh that no camera sees has no neighbours to learn from: a whisper of the median decides there.
    system = (1 + 1e-6) * sp.identity(len(unknown)) - rows[:, unknown]
    right = rows[:, np.flatnonzero(known)] @ values[known] + 1e-6 * centre
    solve = scipy.sparse.linalg.factorized(system.tocsc())
    filled = values.copy()
    filled[unknown] = np.stack([solve(column) for column in right.T], axis=1)
    return filled
