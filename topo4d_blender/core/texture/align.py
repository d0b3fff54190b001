"""Views aligned on the surface: how far each plate is to be shifted, at each vertex, for all to show the same detail.

A tracked mesh is off by some tenths of a pixel, a calibration too; blended so, pores blur. For every camera a field of
2-D offsets in its own plate is sought that makes the plates agree with their mean on the surface:
minimise sum over samples n and views k of rho(L_k(u_nk + d_k) - mean_n) + prior |d_k|^2, L being luminance within one
band of frequencies. Gauss-Newton, coarse bands first: Lucas & Kanade, An Iterative Image Registration Technique with an
Application to Stereo Vision, IJCAI 1981, with the window laid on the mesh instead of the image and the noise of the
plates, measured, in the place of a threshold: where there is little detail or much noise, nothing moves. Nor does it
where views differ by more than any shift explains: by gloss, or by what they show behind a rim.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import cv2
import numba as nb
import numpy as np

from .kernels import cubic, cubic_slope, project, sees
from .survey import Surface
from .views import Views

Array = np.ndarray
WINDOW_RINGS = 4  # of the mesh: one vertex alone knows too little
_WINDOW = 3.0  # vertices of their worth of independent knowledge: fewer than are averaged, rims err alike
_LEVELS = ((3.0, 2), (1.2, 2))  # the finer bound of the band, px sigma, and steps there; coarse first
BAND = 3.0  # the band's coarser bound over its finer one
_EDGE_PX = 12.0  # px an edge at which plates are compared: larger plates are shrunk
_SHIFT_PX = 0.3  # how far a plate is expected to be off (the prior's deviation), px
_MOST_EDGES = 0.25  # and the most that is believed, in edge lengths
SCALE = 32.0  # steps of the bands' integers in one of 255 levels
_OUTLIER = 3.0  # deviations of the noise: a residual so large counts half
_SPACING = 1.2  # of samples on the surface, in sigmas of the band, px of the best view
MOST_SAMPLES = 8  # along an edge
LEAST_SURE = 0.1  # of 1: less is not compared, see `sureness`
CELLS = 7  # what is summed up: g g' (3), g r (2), r r, weight


@dataclass(frozen=True)
class Alignment:
    """Where to look instead, and what comparing the plates told of them."""

    shifts: Array  # [K, V, 2] float32, px of the plate: added to where a vertex projects
    detail: float  # variance of the finest band that all views share, levels of 255 squared
    noise: float  # and of what each adds to it alone

    @classmethod
    def none(cls, count: int, vertices: int) -> Alignment:
        """All stays where it is."""
        return cls(np.zeros((count, vertices, 2), np.float32), 0.0, 0.0)


class Comparing(Protocol):
    """How the plates of one frame are compared; made of what `align` is given and by how much plates are shrunk."""

    def to_band(self, sigma: float) -> None:
        """Look at the detail between `sigma`, in shrunk px, and `BAND` times it."""

    def __call__(self, shifts: Array, robust: np.float32, spacing: float) -> tuple[Array, Array]:
        """Sums [T, C, CELLS] over samples so far apart, each view's shifted by `shifts` [K, V, 2]; powers [n, 3]."""


def align(
    views: Views,
    vertices: Array,  # [V, 3] float64
    surface: Surface,
    scores: Array,  # [V, K] float32
    order: Array,  # [T, C] int16: the views to compare on each triangle, best first; -1: no more
    gains: Array,  # [K, 3] float32
    ignored: Array,  # [T] bool: not looked at
    edge: float,  # median edge length, capture units
    comparing: Callable[..., Comparing] | None = None,  # default: on the processor
) -> Alignment:
    """The shifts of all views of one frame."""
    count = len(views.cameras)
    if int(views.present.sum()) < 2:
        return Alignment.none(count, len(vertices))
    px_an_edge = _px_an_edge(views, vertices, edge)
    shrink = max(1, int(px_an_edge / _EDGE_PX + 0.5))
    most = _MOST_EDGES * px_an_edge
    shifts = np.zeros((count, len(vertices), 2), np.float32)
    compare = (comparing or _Comparing)(views, vertices, surface.triangles, scores, order, gains, ignored, shrink)
    detail, noise = 0.0, 0.0
    for sigma, steps in _LEVELS:
        compare.to_band(sigma)
        sigma2 = 1.0
        for step in range(steps):
            robust = np.float32(0 if step == 0 else 1 / (_OUTLIER**2 * sigma2))
            sums, powers = compare(shifts, robust, _SPACING * sigma)
            total, square, spread = powers.sum(axis=0)
            noise = float(spread / max(total, 1))
            detail = max(float(square / max(total, 1)), 0.0)
            sigma2 = max(noise, 0.05)
            cells = _to_vertices(sums, surface.triangles, order, count, len(vertices))
            for _ in range(WINDOW_RINGS):
                cells = surface.average @ cells
            # Samples nearer than the band is wide say the same twice (the area of its autocorrelation, 4 pi sigma^2).
            alike = max(1.0, 4 * np.pi / _SPACING**2)
            pull = alike / (_SHIFT_PX / shrink) ** 2 / _WINDOW
            _step(shifts, cells.reshape(len(vertices), count, CELLS), sigma2, pull, shrink, most)
    return Alignment(shifts, detail, noise)


class _Comparing:
    """`Comparing` on the processor."""

    def __init__(
        self, views: Views, vertices: Array, triangles: Array, scores: Array, order: Array, gains: Array,
        ignored: Array, shrink: int,
    ) -> None:  # fmt: skip
        self._views, self._gains, self._shrink = views, gains, shrink
        self._mesh = vertices, triangles, ignored, order, scores

    def to_band(self, sigma: float) -> None:
        self._bands = _bands(self._views, self._shrink, sigma, self._gains)

    def __call__(self, shifts: Array, robust: np.float32, spacing: float) -> tuple[Array, Array]:
        v = self._views
        return _compare(
            *self._mesh, shifts, *self._bands, float(self._shrink), v.boxes, v.projections, v.starts, v.depth_range,
            v.tolerance, v.codes, robust, spacing,
        )  # fmt: skip


def _px_an_edge(views: Views, vertices: Array, edge: float) -> float:
    """What an edge spans in the middling camera."""
    found = []
    for k in np.flatnonzero(views.present):
        camera = views.cameras[k]
        depth = vertices @ camera.rotation[2] + camera.translation[2]
        found.append((camera.fx + camera.fy) / 2 * edge / float(np.median(depth)))
    return float(np.median(found))


def shrunk_sizes(views: Views, shrink: int) -> Array:
    """Width and height of all crops shrunk: a pixel at least of what has any.  # [K, 2] int64."""
    return np.maximum(views.boxes[:, 2:] // shrink, views.boxes[:, 2:] > 0)


def sureness(share: Array) -> Array:
    """How much a band is worth, 0..255, where `share` of what it was blurred over is the mesh: at its rim nothing.

    There the blur is one-sided, which leaves steps that no other view has in the same place. Takes torch's tensors too.
    """
    return 255 * (2 * share - 1).clip(min=0) ** 2


def _bands(views: Views, shrink: int, sigma: float, gains: Array) -> tuple[Array, Array, Array, Array]:
    """Luminance of all crops between `sigma` and `BAND` times it, what is not the mesh left out of the blur.

    Returns (flat int16, how sure each is, flat uint8, starts [K], sizes [K, 2] width and height).
    """
    sizes = shrunk_sizes(views, shrink)
    starts = np.concatenate([[0], np.cumsum(sizes[:, 0] * sizes[:, 1])]).astype(np.int64)
    flat, sure = np.zeros(int(starts[-1]), np.int16), np.zeros(int(starts[-1]), np.uint8)
    for k in np.flatnonzero(views.present):
        width, height = int(sizes[k, 0]), int(sizes[k, 1])
        crop = views.crop(k)[: height * shrink, : width * shrink]
        known = 255 * (views.codes_of(k)[: height * shrink, : width * shrink] > 0).view(np.uint8)
        if shrink > 1:
            crop, known = (cv2.resize(p, (width, height), interpolation=cv2.INTER_AREA) for p in (crop, known))
        known = (known > 0.99 * 255).astype(np.float32)
        mix = gains[k] * np.array([0.3, 0.6, 0.1], np.float32)
        luma = cv2.transform(crop.astype(np.float32), mix.reshape(1, 3)) * known
        shares = [cv2.GaussianBlur(known, (0, 0), s) for s in (sigma, BAND * sigma)]
        fine, coarse = (
            cv2.GaussianBlur(luma, (0, 0), s) / np.maximum(share, 1e-3)
            for s, share in zip((sigma, BAND * sigma), shares, strict=True)
        )
        band = np.clip((fine - coarse) * SCALE, -32767, 32767).astype(np.int16)
        flat[starts[k] : starts[k + 1]] = band.ravel()
        sure[starts[k] : starts[k + 1]] = sureness(shares[1]).astype(np.uint8).ravel()
    return flat, sure, starts[:-1], sizes


@nb.njit(cache=True, inline="always")
def _look(bands, start, width, height, u, v, out):
    """Value and gradient (per px) of a band at (u, v) into `out` [3]: Catmull-Rom and its derivative."""
    x, y = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    wx, dx = cubic(np.float32(u - 0.5 - x)), cubic_slope(np.float32(u - 0.5 - x))
    wy, dy = cubic(np.float32(v - 0.5 - y)), cubic_slope(np.float32(v - 0.5 - y))
    value, gu, gv = np.float32(0), np.float32(0), np.float32(0)
    for j in range(4):
        row = start + min(max(y - 1 + j, 0), height - 1) * width
        a, b = np.float32(0), np.float32(0)
        for i in range(4):
            p = np.float32(bands[row + min(max(x - 1 + i, 0), width - 1)])
            a += np.float32(wx[i]) * p
            b += np.float32(dx[i]) * p
        value += np.float32(wy[j]) * a
        gu += np.float32(wy[j]) * b
        gv += np.float32(dy[j]) * a
    out[0], out[1], out[2] = value / np.float32(SCALE), gu / np.float32(SCALE), gv / np.float32(SCALE)


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _compare(
    vertices, triangles, ignored, order, scores, shifts, bands, sure, band_starts, sizes, shrink,
    boxes, projections, starts, depth_range, tolerance, codes, robust, spacing,
):  # fmt: skip
    """Sums over the samples of every triangle for each of its views [T, C, CELLS], and powers [T, 3]."""
    count = order.shape[1]
    sums = np.zeros((len(triangles), count, CELLS), np.float32)
    powers = np.zeros((len(triangles), 3), np.float64)
    for t in nb.prange(len(triangles)):
        if ignored[t] or order[t, 1] < 0:
            continue
        a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
        p, look = np.zeros(3), np.zeros((count, 3), np.float32)
        weight, share = np.zeros(count, np.float32), np.zeros(count, np.float32)
        k = order[t, 0]
        ua, va, za = project(projections[k], vertices[a])
        ub, vb, zb = project(projections[k], vertices[b])
        uc, vc, zc = project(projections[k], vertices[c])
        if za <= 0 or zb <= 0 or zc <= 0:
            continue
        area = abs((ua - uc) * (vb - vc) - (ub - uc) * (va - vc)) / (2 * shrink * shrink)
        n = min(max(int(np.ceil(np.sqrt(area) / spacing)), 1), MOST_SAMPLES)
        for sample in range(n * n):
            # The n^2 small triangles: row by row, those that point up and, between them, those that point down.
            i = sample // n
            j = sample % n
            up = i + j < n
            w0 = (i + 1 / 3) / n if up else (n - i - 1 / 3) / n
            w1 = (j + 1 / 3) / n if up else (n - j - 1 / 3) / n
            w2 = 1 - w0 - w1
            for d in range(3):
                p[d] = w0 * vertices[a, d] + w1 * vertices[b, d] + w2 * vertices[c, d]
            total, mean, seen = np.float32(0), np.float32(0), 0
            for slot in range(count):
                weight[slot] = 0
                k = order[t, slot]
                if k < 0:
                    break
                s = np.float32(w0 * scores[a, k] + w1 * scores[b, k] + w2 * scores[c, k])
                u, v, z = project(projections[k], p)
                near, step = depth_range[k, 0], depth_range[k, 1]
                if s <= 0 or z <= 0:
                    continue
                if not sees(codes, starts[k], boxes[k, 2], boxes[k, 3], near, step, tolerance, u, v, z):
                    continue
                u += w0 * shifts[k, a, 0] + w1 * shifts[k, b, 0] + w2 * shifts[k, c, 0]
                v += w0 * shifts[k, a, 1] + w1 * shifts[k, b, 1] + w2 * shifts[k, c, 1]
                px, py = min(max(int(u / shrink), 0), sizes[k, 0] - 1), min(max(int(v / shrink), 0), sizes[k, 1] - 1)
                share[slot] = sure[band_starts[k] + py * sizes[k, 0] + px] / np.float32(255)
                if share[slot] < LEAST_SURE:
                    continue
                _look(bands, band_starts[k], sizes[k, 0], sizes[k, 1], u / shrink, v / shrink, look[slot])
                weight[slot] = s * s * share[slot]
                total += weight[slot]
                mean += weight[slot] * look[slot, 0]
                seen += 1
            if seen < 2:
                continue
            mean /= total
            for _ in range(2):
                if robust > 0:
                    total, again = np.float32(0), np.float32(0)
                    for slot in range(count):
                        if weight[slot] > 0:
                            w = weight[slot] / (1 + (look[slot, 0] - mean) ** 2 * robust)
                            total += w
                            again += w * look[slot, 0]
                    mean = again / total
            # Equal weights measure noise without bias: the mean of n views keeps 1/n of it.
            plain, square = np.float32(0), np.float32(0)
            for slot in range(count):
                if weight[slot] > 0:
                    plain += look[slot, 0]
                    square += look[slot, 0] ** 2
                    r = look[slot, 0] - mean
                    w = share[slot] / (1 + r * r * robust)
                    gu, gv = look[slot, 1], look[slot, 2]
                    sums[t, slot, 0] += w * gu * gu
                    sums[t, slot, 1] += w * gu * gv
                    sums[t, slot, 2] += w * gv * gv
                    sums[t, slot, 3] += w * gu * r
                    sums[t, slot, 4] += w * gv * r
                    sums[t, slot, 5] += w * r * r
                    sums[t, slot, 6] += w
            plain /= seen
            own = (square - seen * plain * plain) / (seen - 1)
            powers[t, 0] += 1
            powers[t, 1] += plain * plain - own / seen
            powers[t, 2] += own
    return sums, powers


@nb.njit(cache=True)
def _to_vertices(sums, triangles, order, count, vertices):
    """Each triangle's sums given to its corners.  # [V, K * CELLS] float32."""
    out = np.zeros((vertices, count * CELLS), np.float32)
    for t in range(len(triangles)):
        for slot in range(order.shape[1]):
            k = order[t, slot]
            if k < 0:
                break
            for corner in range(3):
                v = triangles[t, corner]
                for i in range(CELLS):
                    out[v, k * CELLS + i] += sums[t, slot, i]
    return out


def _step(shifts: Array, cells: Array, noise: float, pull: float, shrink: int, most: float) -> None:
    """One damped step of `shifts` [K, V, 2] px of the plate, from `cells` [V, K, CELLS] in shrunk px.

    The prior is `pull` times the noise of what is compared: `noise` itself, or what no shift explains there where that
    is more (gloss, teeth between lips).
    """
    c = cells.transpose(1, 0, 2).astype(np.float64)
    now = shifts / shrink
    unexplained = c[..., 5] - _explained(c, pull * noise)
    prior = pull * np.maximum(noise, unexplained / np.maximum(c[..., 6], 1e-9))
    xx, xy, yy = c[..., 0] + prior, c[..., 1], c[..., 2] + prior
    bx, by = -c[..., 3] - prior * now[..., 0], -c[..., 4] - prior * now[..., 1]
    det = xx * yy - xy * xy
    dx, dy = (yy * bx - xy * by) / det, (xx * by - xy * bx) / det
    shifts[..., 0] += shrink * dx
    shifts[..., 1] += shrink * dy
    length = np.linalg.norm(shifts, axis=-1, keepdims=True)
    shifts *= np.minimum(1, most / np.maximum(length, 1e-9))


def _explained(c: Array, prior: float) -> Array:
    """How much less squared residual there would be after a step, from `c` [..., CELLS].  # [...]."""
    xx, xy, yy = c[..., 0] + prior, c[..., 1], c[..., 2] + prior
    return (yy * c[..., 3] ** 2 - 2 * xy * c[..., 3] * c[..., 4] + xx * c[..., 4] ** 2) / (xx * yy - xy * xy)
