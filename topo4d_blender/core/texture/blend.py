"""The texels: every one finds its surface point, takes the few best views that see it and blends their detail.

What a view says of a point is linear along a row of texels of one triangle (where it projects to, before the division;
its shift; its score; its correction). So it is worked out where a row enters a triangle, and stepped along from there.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from .colour import Colours
from .kernels import barycentric, sample_plate, sees
from .plan import CANDIDATES, Choice
from .uv import EMPTY, UvMap
from .views import Views

Array = np.ndarray
OUTLIER = 24.0  # luminance, of 255, from the median of the views: such a view counts half
TILE = 64  # texels along a side of what is blended together
TRUST = 1e-4  # scores below this fade into the shared colour
SHIFT, SCORE, CORRECTION, _CELLS = 3, 5, 6, 9  # where they begin in what is linear, after the homogeneous pixel


def linear_values(vertices: Array, views: Views, scores: Array, colours: Colours, shifts: Array) -> Array:
    """What is linear on the surface, of every view at every vertex.  # [K, V, 9] float64.

    From `vertices` [V, 3], `scores` [V, K] and `shifts` [K, V, 2] px (align.Alignment).
    """
    out = np.empty((len(views.cameras), len(vertices), _CELLS))
    out[..., :SHIFT] = vertices @ views.projections[:, :, :3].transpose(0, 2, 1) + views.projections[:, None, :, 3]
    out[..., SHIFT:SCORE] = shifts
    out[..., SCORE] = scores.T
    out[..., CORRECTION:] = colours.corrections
    return out


def blend_rows(
    rows: slice,
    texture: Array,  # [R, R, 3] uint8 or uint16, written: 255 or 65535 is white
    coverage: Array,  # [R, R] uint8, written: how well the best camera sees the texel; 0: none does
    uv_map: UvMap,
    order: Array,  # [T, C] int16: see plan.rank_views
    samples: Array,  # [T] int16: see plan.samples_per_axis
    triangles: Array,  # [T, 3] int32
    ignored: Array,  # [T] bool: never look at pixels here
    views: Views,
    linear: Array,  # [K, V, 9]: see linear_values
    colours: Colours,
    choice: Choice,
) -> None:
    """Blend the texels of `rows`. Texels outside every island are left alone."""
    _blend(
        rows.start, rows.stop, texture, np.float32(np.iinfo(texture.dtype).max), coverage, uv_map.ids, uv_map.corners,
        order, samples, triangles, ignored, views.boxes, views.starts, views.depth_range, views.tolerance,
        views.pixels, views.codes, linear, colours.gains, colours.shared, choice.views, np.float32(1 / choice.power),
    )  # fmt: skip


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _blend(
    first, last, texture, white, coverage, ids, corners, order, samples, triangles, ignored, boxes, starts,
    depth_range, tolerance, pixels, codes, linear, gains, shared, best, root,
):  # fmt: skip
    # In tiles rather than whole rows: what a tile shows of every plate stays in the processor's cache from row to row.
    across, down = -(-ids.shape[1] // TILE), -(-(last - first) // TILE)
    for tile in nb.prange(across * down):
        left, top = tile % across * TILE, first + tile // across * TILE
        for y in range(top, min(top + TILE, last)):
            _blend_row(
                y, left, min(left + TILE, ids.shape[1]), texture, white, coverage, ids, corners, order, samples,
                triangles, ignored, boxes, starts, depth_range, tolerance, pixels, codes, linear, gains, shared, best,
                root,
            )  # fmt: skip


@nb.njit(cache=True, error_model="numpy")
def _blend_row(
    y, left, right, texture, white, coverage, ids, corners, order, samples, triangles, ignored, boxes, starts,
    depth_range, tolerance, pixels, codes, linear, gains, shared, best, root,
):  # fmt: skip
    lines, ground = np.zeros((order.shape[1], 3, _CELLS)), np.zeros((3, 3))
    slots, score = np.zeros(best + 1, np.int64), np.zeros(best + 1, np.float32)
    us, vs = np.zeros(best + 1), np.zeros(best + 1)
    colour, weight = np.zeros((best, 3), np.float32), np.zeros(best, np.float32)
    luma, scratch = np.full(CANDIDATES, np.inf, np.float32), np.zeros(16, np.float32)
    run, begun, tries = EMPTY, 0, 0
    for x in range(left, right):
        code = ids[y, x]
        coverage[y, x] = 0
        if code == EMPTY:
            continue
        padded = code < 0
        t = -2 - code if padded else code
        if code != run or padded:  # a padded texel shows the nearest point of its triangle, which is not linear
            run, begun = code, x
            tries = 0 if ignored[t] else begin_lines(lines, order[t], linear, triangles[t], corners[t], x, y, padded)
            _lay(ground, shared, triangles[t], _weights(corners[t], x, y, padded))
        along = x - begun
        # The best views that see this point.
        found = 0
        for i in range(tries):
            s = np.float32(lines[i, 0, SCORE] + along * lines[i, 1, SCORE])
            z = lines[i, 0, 2] + along * lines[i, 1, 2]
            if s <= 0 or z <= 0 or (found == best + 1 and s <= score[best]):
                continue
            k = order[t, i]
            u, v = (lines[i, 0, 0] + along * lines[i, 1, 0]) / z, (lines[i, 0, 1] + along * lines[i, 1, 1]) / z
            near, step = depth_range[k, 0], depth_range[k, 1]
            if not sees(codes, starts[k], boxes[k, 2], boxes[k, 3], near, step, tolerance, u, v, z):
                continue
            u += lines[i, 0, SHIFT] + along * lines[i, 1, SHIFT]
            v += lines[i, 0, SHIFT + 1] + along * lines[i, 1, SHIFT + 1]
            j = min(found, best)
            while j > 0 and score[j - 1] < s:
                score[j], slots[j], us[j], vs[j] = score[j - 1], slots[j - 1], us[j - 1], vs[j - 1]
                j -= 1
            score[j], slots[j], us[j], vs[j] = s, i, u, v
            found = min(found + 1, best + 1)
        # Their colours, each brought to the shared low frequencies.
        next_best = score[best] if found > best else np.float32(0)
        used = min(found, best)
        for i in range(used):
            n = slots[i]
            k = order[t, n]
            width, height = boxes[k, 2], boxes[k, 3]
            if samples[t] == 1 or padded:
                rgb = sample_plate(pixels, starts[k], width, height, us[i], vs[i], scratch)
            else:
                rgb = _sample_texel(pixels, starts[k], width, height, lines, n, along, samples[t], scratch)
            for d in range(3):
                missing = lines[n, 0, CORRECTION + d] + along * lines[n, 1, CORRECTION + d]
                colour[i, d] = rgb[d] * gains[k, d] + missing
            fade = next_best / score[i]
            fade *= fade
            fade *= fade
            weight[i] = score[i] * (1 - fade * fade)  # nothing by the time that another view takes its place
        if used >= 3:
            _hold_down_outliers(colour, weight, luma, used)
        total = np.float32(TRUST)
        for i in range(used):
            total += weight[i]
        for d in range(3):
            value = np.float32(TRUST * (ground[0, d] + along * ground[1, d]))
            for i in range(used):
                value += weight[i] * colour[i, d]
            value *= white / (np.float32(255) * total)
            texture[y, x, d] = np.uint16(min(max(value + np.float32(0.5), 0), white))
        if used > 0 and not padded:  # cosine times resolution, of the best there is
            coverage[y, x] = np.uint8(max(255 * min(score[0], 1) ** root + 0.5, 1))


@nb.njit(cache=True)
def begin_lines(lines, views, linear, triangle, corner, x, y, padded):
    """Lay out `lines` for the `views` of a triangle from the texel (x, y) on; returns how many there are."""
    weights = _weights(corner, x, y, padded)
    for i in range(len(views)):
        if views[i] < 0:
            return i
        _lay(lines[i], linear[views[i]], triangle, weights)
    return len(views)


@nb.njit(cache=True, inline="always")
def _weights(corner, x, y, padded):
    """Weights of the corners of a triangle at the texel (x, y), and what is added to them by x, by y.

    Where `padded`, they are those of the nearest point of the triangle, the same all over the texel.
    """
    w0, w1, w2 = barycentric(corner, x + 0.5, y + 0.5, padded)
    if padded:
        return w0, w1, w2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    x0, x1, x2 = barycentric(corner, x + 1.5, y + 0.5, False)
    y0, y1, y2 = barycentric(corner, x + 0.5, y + 1.5, False)
    return w0, w1, w2, x0 - w0, x1 - w1, x2 - w2, y0 - w0, y1 - w1, y2 - w2


@nb.njit(cache=True, error_model="numpy")
def _lay(line, values, triangle, weights):
    """`values` [V, n], linear on the surface, into `line` [3, n]: at a texel, and what is added by x, by y."""
    w0, w1, w2, x0, x1, x2, y0, y1, y2 = weights
    for d in range(line.shape[1]):
        a, b, c = values[triangle[0], d], values[triangle[1], d], values[triangle[2], d]
        line[0, d] = w0 * a + w1 * b + w2 * c
        line[1, d] = x0 * a + x1 * b + x2 * c
        line[2, d] = y0 * a + y1 * b + y2 * c


@nb.njit(cache=True, error_model="numpy")
def _sample_texel(pixels, start, width, height, lines, n, along, count, scratch):
    """Mean of the plate over a texel, `count` samples along each axis."""
    r, g, b = np.float32(0), np.float32(0), np.float32(0)
    for j in range(count):
        dy = (j + 0.5) / count - 0.5
        for i in range(count):
            dx = along + (i + 0.5) / count - 0.5
            z = lines[n, 0, 2] + dx * lines[n, 1, 2] + dy * lines[n, 2, 2]
            u = (lines[n, 0, 0] + dx * lines[n, 1, 0] + dy * lines[n, 2, 0]) / z
            v = (lines[n, 0, 1] + dx * lines[n, 1, 1] + dy * lines[n, 2, 1]) / z
            u += lines[n, 0, SHIFT] + dx * lines[n, 1, SHIFT] + dy * lines[n, 2, SHIFT]
            v += lines[n, 0, SHIFT + 1] + dx * lines[n, 1, SHIFT + 1] + dy * lines[n, 2, SHIFT + 1]
            sr, sg, sb = sample_plate(pixels, start, width, height, u, v, scratch)
            r += sr
            g += sg
            b += sb
    m = np.float32(count * count)
    return r / m, g / m, b / m


@nb.njit(cache=True, inline="always")
def _hold_down_outliers(colour, weight, luma, used):
    """Take weight off what lies far from the median of the views."""
    for i in range(used):
        luma[i] = np.float32(0.3) * colour[i, 0] + np.float32(0.6) * colour[i, 1] + np.float32(0.1) * colour[i, 2]
    for i in range(used, CANDIDATES):
        luma[i] = np.inf
    # Ranks by counting, all at once: sorting branches at every step, which takes longer.
    low, high, median_low, median_high = (used - 1) // 2, used // 2, np.float32(0), np.float32(0)
    for i in range(used):
        value, below, upto = luma[i], 0, 0
        for j in range(CANDIDATES):
            below += luma[j] < value
            upto += luma[j] <= value
        if below <= low < upto:
            median_low = value
        if below <= high < upto:
            median_high = value
    median = np.float32(0.5) * (median_low + median_high)
    for i in range(used):
        weight[i] /= 1 + ((luma[i] - median) / np.float32(OUTLIER)) ** 2
