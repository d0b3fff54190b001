"""What each camera does to colours, a gain and an offset a channel, found from what several cameras see in common.

White balance is the gains' difference between channels. Two steps, each robust:
1. gains alone, of logarithms, where the problem is linear and its solution exact: a good start from anywhere;
2. gains and offsets together, by turns with the surface's own colours (alternating least squares).
A later frame's cameras are held to the colours of the reference frame as if it were one more camera, known well.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray
_SAMPLES = 20000
_OUTLIER_LOG = 0.1  # a sample this far from the others (10 percent) counts half in the first step
_OUTLIER = 10.0  # levels, of 255: the same in the second
_PRIOR = 0.01  # pull of a gain towards what it was expected to be, in shares of the mean camera's own weight
_OFFSET = 4.0  # levels an offset is expected to be off
_INDEPENDENT = 300.0  # samples whose errors are of their own: gloss and shading err alike over wide areas
_ROUNDS = 12


def solve_gains(
    colours: Array,  # [N, K, 3] float32: what K cameras saw of N samples, 0..255
    weights: Array,  # [N, K] float32; 0 where a camera does not see one
    reference: Array | None = None,  # [N, 3]: the samples' colours in the reference frame; NaN where not known
    expected: Array | None = None,  # [K, 3]: gains that a camera keeps where it shares nothing with others; 1
) -> tuple[Array, Array]:
    """Gains [K, 3] and offsets [K, 3] float32 with which `gain * colour + offset` of all cameras agree.

    Without `reference` the gains' geometric mean over the cameras is 1 and the offsets' mean 0.
    """
    step = -(-len(colours) // _SAMPLES)
    colours, weights = colours[::step], weights[::step].astype(np.float64)
    count = colours.shape[1]
    gains, offsets = np.ones((count, 3)), np.zeros((count, 3))
    for channel in range(3):
        value = colours[..., channel].astype(np.float64)
        base = np.where((value > 8) & (value < 250), weights, 0)
        known = np.full(len(value), np.nan) if reference is None else reference[::step, channel].astype(np.float64)
        anchor = np.where(np.isfinite(known) & (known > 8) & (known < 250), base.sum(axis=1), 0)
        base[(base > 0).sum(axis=1) + (anchor > 0) < 2] = 0
        anchor[~(base > 0).any(axis=1)] = 0
        start = np.ones(count) if expected is None else expected[:, channel].astype(np.float64)
        gains[:, channel] = start
        if base.any():
            known = np.where(anchor > 0, known, 128.0)
            first = _solve_logs(value, base, known, anchor, np.log(start))
            gains[:, channel], offsets[:, channel] = _solve_offsets(value, base, known, anchor, first)
    return gains.astype(np.float32), offsets.astype(np.float32)


def _solve_logs(value: Array, base: Array, known: Array, anchor: Array, expected: Array) -> Array:
    """Gains [K] of one channel: least sum_nk w_nk rho(log I_nk + a_k - c_n), c eliminated, rho (Cauchy) reweighted."""
    count = base.shape[1]
    logs, target = np.log(np.maximum(value, 1.0)), np.log(known)[:, None]
    w, held, a = base, anchor[:, None], expected.copy()
    for _ in range(8):
        total = np.maximum(w.sum(axis=1, keepdims=True) + held, 1e-12)
        centre = ((w * logs).sum(axis=1, keepdims=True) + held * target) / total
        matrix = np.diag(w.sum(axis=0)) - (w / total).T @ w
        scale = w.sum() / count
        matrix += scale * _PRIOR * np.eye(count)
        right = (w * (centre - logs)).sum(axis=0) + scale * _PRIOR * expected
        if not held.any():  # nothing says how bright all are together
            matrix += scale / count
        a = np.linalg.solve(matrix, right)
        adjusted = logs + a
        centre = ((w * adjusted).sum(axis=1, keepdims=True) + held * target) / total
        w = base / (1 + ((adjusted - centre) / _OUTLIER_LOG) ** 2)
    used = base.any(axis=0)
    if not anchor.any():
        a[used] -= a[used].mean()
    return np.where(used, np.exp(a), np.exp(expected))


def _solve_offsets(value: Array, base: Array, known: Array, anchor: Array, gains: Array) -> tuple[Array, Array]:
    """Gains and offsets [K] of one channel from `gains`, which the offsets correct."""
    used = base.any(axis=0)
    a, b, w = gains.copy(), np.zeros_like(gains), base
    for _ in range(_ROUNDS):
        adjusted = a * value + b
        total = np.maximum(w.sum(axis=1) + anchor, 1e-12)
        mean = ((w * adjusted).sum(axis=1) + anchor * known) / total
        residual = adjusted - mean[:, None]
        w = base / (1 + (residual / _OUTLIER) ** 2)
        amount = np.maximum(w.sum(axis=0), 1e-12)
        spread = (w * residual**2).sum(axis=0) / amount
        # Each camera's line through (value, mean), its offset held to nothing and its gain to the first step's.
        x, y = (w * value).sum(axis=0) / amount, (w * mean[:, None]).sum(axis=0) / amount
        xx, xy = (w * value**2).sum(axis=0) / amount, (w * value * mean[:, None]).sum(axis=0) / amount
        hold = np.maximum(spread, 1.0) / (_INDEPENDENT * _OFFSET**2)
        a[used] = ((xy * (1 + hold) - x * y) / np.maximum(xx * (1 + hold) - x * x, 1e-9))[used]
        b[used] = ((y - a * x) / (1 + hold))[used]
        if not anchor.any():
            common = np.exp(np.log(np.maximum(a[used], 1e-3)).mean())
            a[used], b[used] = a[used] / common, b[used] / common
            b[used] -= b[used].mean()
    return a, b
