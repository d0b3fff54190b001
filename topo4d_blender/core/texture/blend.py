"""The texels: every one finds its surface point, takes the few best views that see it and blends their detail."""

from __future__ import annotations

import numba as nb
import numpy as np

from .colour import Colours
from .kernels import barycentric, project, sample_plate, sees
from .survey import SHARPNESS
from .uv import EMPTY, UvMap
from .views import Views

Array = np.ndarray
BEST = 3  # views blended in a texel: few keep pores sharp, three let an outlier be outvoted
CANDIDATES = 8  # views a triangle's texels choose from
_OUTLIER = 8.0  # luminance, of 255, from the median of three views: such a view counts half
_SOFT = 0.95  # a view's weight is what it has over so much of the next best view's score: it fades out before it ends
_TRUST = 1e-4  # scores below this fade into the shared colour
_MOST_SAMPLES = 8  # along each axis of a texel, where plates are finer than the texture


def plan_triangles(scores: Array, views: Views, vertices: Array, triangles: Array, uv_map: UvMap) -> tuple:
    """For each triangle the views to try, best first [T, CANDIDATES] int16 (-1: none), and samples a texel axis [T]."""
    return _plan(scores, views.present, views.projections, vertices, triangles, uv_map.corners)


def blend_rows(
    rows: slice,
    texture: Array,  # [R, R, 3] uint8 or uint16, written: 255 or 65535 is white
    coverage: Array,  # [R, R] uint8, written: how well the best camera sees the texel; 0: none does
    uv_map: UvMap,
    plan: tuple,
    vertices: Array,  # [V, 3] float64
    triangles: Array,  # [T, 3] int32
    ignored: Array,  # [T] bool: never look at pixels here
    views: Views,
    scores: Array,  # [V, K] float32: of every view at every vertex
    colours: Colours,
) -> None:
    """Blend the texels of `rows`. Texels outside every island are left alone."""
    _blend(
        rows.start,
        rows.stop,
        texture,
        np.float32(np.iinfo(texture.dtype).max),
        coverage,
        uv_map.ids,
        uv_map.corners,
        plan[0],
        plan[1],
        vertices,
        triangles,
        ignored,
        views.boxes,
        views.projections,
        views.starts,
        views.depth_range,
        views.tolerance,
        views.pixels,
        views.codes,
        scores,
        colours.gains,
        colours.corrections,
        colours.shared,
    )


@nb.njit(parallel=True, cache=True)
def _plan(scores, present, projections, vertices, triangles, corners):
    total, count = len(triangles), len(present)
    order = np.full((total, CANDIDATES), -1, np.int16)
    samples = np.ones(total, np.int16)
    for t in nb.prange(total):
        best = np.zeros(CANDIDATES, np.float32)
        for k in range(count):
            if not present[k]:
                continue
            s = max(scores[triangles[t, 0], k], scores[triangles[t, 1], k], scores[triangles[t, 2], k])
            if s <= best[CANDIDATES - 1]:
                continue
            i = CANDIDATES - 1
            while i > 0 and best[i - 1] < s:
                best[i], order[t, i] = best[i - 1], order[t, i - 1]
                i -= 1
            best[i], order[t, i] = s, k
        if order[t, 0] >= 0:
            samples[t] = _samples_per_axis(projections[order[t, 0]], vertices, triangles[t], corners[t])
    return order, samples


@nb.njit(cache=True)
def _samples_per_axis(projection, vertices, triangle, corner):
    """How many plate pixels a texel of the triangle spans, rounded up; 1 where the texture is as fine as the plate."""
    u0, v0, z0 = project(projection, vertices[triangle[0]])
    u1, v1, z1 = project(projection, vertices[triangle[1]])
    u2, v2, z2 = project(projection, vertices[triangle[2]])
    ax, ay = corner[1, 0] - corner[0, 0], corner[1, 1] - corner[0, 1]
    bx, by = corner[2, 0] - corner[0, 0], corner[2, 1] - corner[0, 1]
    area = ax * by - ay * bx
    if z0 <= 0 or z1 <= 0 or z2 <= 0 or area == 0:
        return 1
    au, av, bu, bv = u1 - u0, v1 - v0, u2 - u0, v2 - v0
    ux, uy, vx, vy = au * by - bu * ay, bu * ax - au * bx, av * by - bv * ay, bv * ax - av * bx
    span = np.sqrt((ux * ux + uy * uy + vx * vx + vy * vy) / 2) / abs(area)
    return 1 if span < 1.3 else min(_MOST_SAMPLES, int(np.ceil(span)))


@nb.njit(parallel=True, cache=True)
def _blend(
    first,
    last,
    texture,
    white,
    coverage,
    ids,
    corners,
    order,
    samples,
    vertices,
    triangles,
    ignored,
    boxes,
    projections,
    starts,
    depth_range,
    tolerance,
    pixels,
    codes,
    scores,
    gains,
    corrections,
    shared,
):
    for y in nb.prange(first, last):
        p, q = np.zeros(3), np.zeros(3)
        view, score = np.zeros(BEST + 1, np.int64), np.zeros(BEST + 1, np.float32)
        us, vs = np.zeros(BEST + 1), np.zeros(BEST + 1)
        colour, weight = np.zeros((BEST, 3), np.float32), np.zeros(BEST, np.float32)
        for x in range(ids.shape[1]):
            t = ids[y, x]
            coverage[y, x] = 0
            if t == EMPTY:
                continue
            padded = t < 0
            if padded:
                t = -2 - t
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            w0, w1, w2 = barycentric(corners[t], x + 0.5, y + 0.5, padded)
            for d in range(3):
                p[d] = w0 * vertices[a, d] + w1 * vertices[b, d] + w2 * vertices[c, d]
            # The best views that see this point.
            found = 0
            for i in range(CANDIDATES):
                k = order[t, i]
                if k < 0 or ignored[t]:
                    break
                s = np.float32(w0 * scores[a, k] + w1 * scores[b, k] + w2 * scores[c, k])
                if s <= 0 or (found == BEST + 1 and s <= score[BEST]):
                    continue
                u, v, z = project(projections[k], p)
                near, step = depth_range[k, 0], depth_range[k, 1]
                if z <= 0 or not sees(codes, starts[k], boxes[k, 2], boxes[k, 3], near, step, tolerance, u, v, z):
                    continue
                j = min(found, BEST)
                while j > 0 and score[j - 1] < s:
                    score[j], view[j], us[j], vs[j] = score[j - 1], view[j - 1], us[j - 1], vs[j - 1]
                    j -= 1
                score[j], view[j], us[j], vs[j] = s, k, u, v
                found = min(found + 1, BEST + 1)
            # Their colours, each brought to the shared low frequencies.
            next_best = score[BEST] * np.float32(_SOFT) if found > BEST else np.float32(0)
            used = min(found, BEST)
            for i in range(used):
                k = view[i]
                width, height = boxes[k, 2], boxes[k, 3]
                if samples[t] == 1:
                    r, g, bl = sample_plate(pixels, starts[k], width, height, us[i], vs[i])
                else:
                    r, g, bl = _sample_texel(
                        pixels, starts[k], width, height, projections[k], vertices, a, b, c, corners[t], x, y,
                        samples[t], padded, q,
                    )  # fmt: skip
                colour[i, 0], colour[i, 1], colour[i, 2] = r, g, bl
                for d in range(3):
                    missing = w0 * corrections[k, a, d] + w1 * corrections[k, b, d] + w2 * corrections[k, c, d]
                    colour[i, d] = colour[i, d] * gains[k, d] + missing
                weight[i] = score[i] - next_best
            if used == 3:
                _hold_down_outliers(colour, weight)
            total = np.float32(_TRUST)
            r = np.float32(_TRUST * (w0 * shared[a, 0] + w1 * shared[b, 0] + w2 * shared[c, 0]))
            g = np.float32(_TRUST * (w0 * shared[a, 1] + w1 * shared[b, 1] + w2 * shared[c, 1]))
            bl = np.float32(_TRUST * (w0 * shared[a, 2] + w1 * shared[b, 2] + w2 * shared[c, 2]))
            for i in range(used):
                total += weight[i]
                r += weight[i] * colour[i, 0]
                g += weight[i] * colour[i, 1]
                bl += weight[i] * colour[i, 2]
            scale = white / (np.float32(255) * total)
            texture[y, x, 0] = np.uint16(min(max(r * scale + np.float32(0.5), 0), white))
            texture[y, x, 1] = np.uint16(min(max(g * scale + np.float32(0.5), 0), white))
            texture[y, x, 2] = np.uint16(min(max(bl * scale + np.float32(0.5), 0), white))
            if used > 0 and not padded:  # cosine times resolution, of the best there is
                coverage[y, x] = np.uint8(max(255 * min(score[0], 1) ** (1 / SHARPNESS) + 0.5, 1))


@nb.njit(cache=True)
def _sample_texel(
    pixels, start, width, height, projection, vertices, a, b, c, corner, x, y, count, padded, q
):  # fmt: skip
    """Mean of the plate over the texel (x, y), `count` samples along each axis."""
    r, g, bl = np.float32(0), np.float32(0), np.float32(0)
    for j in range(count):
        for i in range(count):
            w0, w1, w2 = barycentric(corner, x + (i + 0.5) / count, y + (j + 0.5) / count, padded)
            for d in range(3):
                q[d] = w0 * vertices[a, d] + w1 * vertices[b, d] + w2 * vertices[c, d]
            u, v, _ = project(projection, q)
            sr, sg, sb = sample_plate(pixels, start, width, height, u, v)
            r += sr
            g += sg
            bl += sb
    n = np.float32(count * count)
    return r / n, g / n, bl / n


@nb.njit(cache=True, inline="always")
def _hold_down_outliers(colour, weight):
    l0 = np.float32(0.3) * colour[0, 0] + np.float32(0.6) * colour[0, 1] + np.float32(0.1) * colour[0, 2]
    l1 = np.float32(0.3) * colour[1, 0] + np.float32(0.6) * colour[1, 1] + np.float32(0.1) * colour[1, 2]
    l2 = np.float32(0.3) * colour[2, 0] + np.float32(0.6) * colour[2, 1] + np.float32(0.1) * colour[2, 2]
    median = max(min(l0, l1), min(max(l0, l1), l2))
    weight[0] /= 1 + ((l0 - median) / _OUTLIER) ** 2
    weight[1] /= 1 + ((l1 - median) / _OUTLIER) ** 2
    weight[2] /= 1 + ((l2 - median) / _OUTLIER) ** 2
