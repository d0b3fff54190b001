"""The texels: every one finds its surface point, takes the few best views that see it and blends their detail."""

from __future__ import annotations

import numba as nb
import numpy as np

from .colour import Colours
from .kernels import barycentric, project, sample_plate, sees
from .plan import Choice
from .uv import EMPTY, UvMap
from .views import Views

Array = np.ndarray
_OUTLIER = 24.0  # luminance, of 255, from the median of the views: such a view counts half
_TRUST = 1e-4  # scores below this fade into the shared colour


def blend_rows(
    rows: slice,
    texture: Array,  # [R, R, 3] uint8 or uint16, written: 255 or 65535 is white
    coverage: Array,  # [R, R] uint8, written: how well the best camera sees the texel; 0: none does
    uv_map: UvMap,
    order: Array,  # [T, C] int16: see plan.rank_views
    samples: Array,  # [T] int16: see plan.samples_per_axis
    vertices: Array,  # [V, 3] float64
    triangles: Array,  # [T, 3] int32
    ignored: Array,  # [T] bool: never look at pixels here
    views: Views,
    scores: Array,  # [V, K] float32: of every view at every vertex
    colours: Colours,
    shifts: Array,  # [K, V, 2] float32, px: see align.Alignment
    choice: Choice,
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
        order,
        samples,
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
        shifts,
        choice.views,
        np.float32(1 / choice.power),
    )


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
    shifts,
    best,
    root,
):
    for y in nb.prange(first, last):
        p, q = np.zeros(3), np.zeros(3)
        view, score = np.zeros(best + 1, np.int64), np.zeros(best + 1, np.float32)
        us, vs = np.zeros(best + 1), np.zeros(best + 1)
        colour, weight = np.zeros((best, 3), np.float32), np.zeros(best, np.float32)
        luma = np.zeros(best, np.float32)
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
            for i in range(order.shape[1]):
                k = order[t, i]
                if k < 0 or ignored[t]:
                    break
                s = np.float32(w0 * scores[a, k] + w1 * scores[b, k] + w2 * scores[c, k])
                if s <= 0 or (found == best + 1 and s <= score[best]):
                    continue
                u, v, z = project(projections[k], p)
                near, step = depth_range[k, 0], depth_range[k, 1]
                if z <= 0 or not sees(codes, starts[k], boxes[k, 2], boxes[k, 3], near, step, tolerance, u, v, z):
                    continue
                u += w0 * shifts[k, a, 0] + w1 * shifts[k, b, 0] + w2 * shifts[k, c, 0]
                v += w0 * shifts[k, a, 1] + w1 * shifts[k, b, 1] + w2 * shifts[k, c, 1]
                j = min(found, best)
                while j > 0 and score[j - 1] < s:
                    score[j], view[j], us[j], vs[j] = score[j - 1], view[j - 1], us[j - 1], vs[j - 1]
                    j -= 1
                score[j], view[j], us[j], vs[j] = s, k, u, v
                found = min(found + 1, best + 1)
            # Their colours, each brought to the shared low frequencies.
            next_best = score[best] if found > best else np.float32(0)
            used = min(found, best)
            for i in range(used):
                k = view[i]
                width, height = boxes[k, 2], boxes[k, 3]
                if samples[t] == 1:
                    r, g, bl = sample_plate(pixels, starts[k], width, height, us[i], vs[i])
                else:
                    r, g, bl = _sample_texel(
                        pixels, starts[k], width, height, projections[k], vertices, a, b, c, corners[t], x, y,
                        samples[t], padded, q, shifts[k],
                    )  # fmt: skip
                colour[i, 0], colour[i, 1], colour[i, 2] = r, g, bl
                for d in range(3):
                    missing = w0 * corrections[k, a, d] + w1 * corrections[k, b, d] + w2 * corrections[k, c, d]
                    colour[i, d] = colour[i, d] * gains[k, d] + missing
                fade = next_best / score[i]
                fade *= fade
                fade *= fade
                weight[i] = score[i] * (1 - fade * fade)  # nothing by the time that another view takes its place
            if used >= 3:
                _hold_down_outliers(colour, weight, luma, used)
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
                coverage[y, x] = np.uint8(max(255 * min(score[0], 1) ** root + 0.5, 1))


@nb.njit(cache=True)
def _sample_texel(
    pixels, start, width, height, projection, vertices, a, b, c, corner, x, y, count, padded, q, shift
):  # fmt: skip
    """Mean of the plate over the texel (x, y), `count` samples along each axis."""
    r, g, bl = np.float32(0), np.float32(0), np.float32(0)
    for j in range(count):
        for i in range(count):
            w0, w1, w2 = barycentric(corner, x + (i + 0.5) / count, y + (j + 0.5) / count, padded)
            for d in range(3):
                q[d] = w0 * vertices[a, d] + w1 * vertices[b, d] + w2 * vertices[c, d]
            u, v, _ = project(projection, q)
            u += w0 * shift[a, 0] + w1 * shift[b, 0] + w2 * shift[c, 0]
            v += w0 * shift[a, 1] + w1 * shift[b, 1] + w2 * shift[c, 1]
            sr, sg, sb = sample_plate(pixels, start, width, height, u, v)
            r += sr
            g += sg
            bl += sb
    n = np.float32(count * count)
    return r / n, g / n, bl / n


@nb.njit(cache=True, inline="always")
def _hold_down_outliers(colour, weight, luma, used):
    """Take weight off what lies far from the median of the views."""
    for i in range(used):
        value = np.float32(0.3) * colour[i, 0] + np.float32(0.6) * colour[i, 1] + np.float32(0.1) * colour[i, 2]
        j = i
        while j > 0 and luma[j - 1] > value:
            luma[j] = luma[j - 1]
            j -= 1
        luma[j] = value
    median = np.float32(0.5) * (luma[(used - 1) // 2] + luma[used // 2])
    for i in range(used):
        value = np.float32(0.3) * colour[i, 0] + np.float32(0.6) * colour[i, 1] + np.float32(0.1) * colour[i, 2]
        weight[i] /= 1 + ((value - median) / np.float32(_OUTLIER)) ** 2
