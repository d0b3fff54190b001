"""Detail that blending blurred, brought back: the map is drawn as each plate saw it, and what is missing added.

A plate's pixel is a mean over what it covers, and a texel blended from plates a mean of such means: blurred twice.
Drawn into the views with the pixels' own footprint, a true map would give the plates; what ours lacks of them is laid
back onto it, each pixel onto the texels it covers. This is iterative back-projection (Irani and Peleg, Improving
Resolution by Image Registration, CVGIP 1991): one step of Landweber's iteration for the least-squares map of all
plates. One step brings what most pixels agree on; more would mostly bring their noise.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numba as nb
import numpy as np

from .blend import CORRECTION, SCORE, SHIFT, begin_lines
from .kernels import sees
from .uv import EMPTY, UvMap
from .views import Views

Array = np.ndarray
BANDS = 32  # so many steps a map is laid back in
_FINE = 2.0  # texels along a pixel that the map is drawn from: a pixel then takes four samples, bilinear
_BEYOND = 1.0  # texels: a triangle so near to the map's border goes on from it
_LEAST = 0.8  # texels along a pixel: a coarser map holds means over several pixels, which nothing blurred twice
OUTLIER = 16.0  # luminance, of 255: a pixel that lacks so much (gloss, a hair) counts half
STEPS = 4  # of an int8 a level


def back_project(
    texture: Array,  # [R, R, 3] uint8 or uint16, changed
    uv_map: UvMap,
    span: float,  # texels along a pixel of the best plates: see plan.texels_a_pixel
    strength: float,  # of the step: 1 adds what is missing once
    order: Array,  # [T, C] int16: see plan.rank_views
    triangles: Array,  # [T, 3] int32
    ignored: Array,  # [T] bool: never look at pixels here
    views: Views,
    linear: Array,  # [K, V, 9]: see blend.linear_values
    gains: Array,  # [K, 3] float32
    power: float,  # of the scores in `linear`: pixels count by their number on a texel, which is quality as it is
    step: Callable[[], None] = lambda: None,  # called BANDS times; may raise
) -> None:
    """Add to `texture` what the plates hold beyond it; nothing where it is coarser than they are."""
    white, size = np.iinfo(texture.dtype).max, uv_map.resolution
    shrink = drawn_at(span, strength, size)
    if shrink == 0:
        for _ in range(BANDS):
            step()
        return
    drawn, corners = texture, uv_map.corners / shrink
    if shrink > 1:
        drawn = cv2.resize(texture, (size // shrink, size // shrink), interpolation=cv2.INTER_AREA)
    skip = tell_nothing(ignored, uv_map)
    missing = np.zeros(len(views.pixels), np.int8)
    plates = order, triangles, skip, views.boxes, views.starts, views.depth_range, views.tolerance, views.codes, linear
    for band in range(BANDS // 2):
        part = slice(band * len(triangles) * 2 // BANDS, (band + 1) * len(triangles) * 2 // BANDS)
        _miss(
            part.start, part.stop, missing, drawn.reshape(-1), drawn.shape[1], np.float32(255 / white), corners,
            *plates, views.pixels, gains,
        )  # fmt: skip
        step()
    rows = size // shrink
    for band in range(BANDS // 2):
        first, last = band * rows * 2 // BANDS, (band + 1) * rows * 2 // BANDS
        # A row more on either side, to interpolate with.
        low, high = max(first - 1, 0), min(last + 1, rows)
        lacking = np.zeros((high - low, rows, 3), np.float32)
        _gather(lacking, low, shrink, uv_map.ids, corners, *plates, missing, np.float32(1 / power))
        _add(texture, np.float32(strength * white / 255), white, lacking, low, first, last, shrink, uv_map.ids)
        step()


def tell_nothing(ignored: Array, uv_map: UvMap) -> Array:
    """Triangles whose pixels are not compared with this map: ignored, on top of others, or elsewhere in UV.  # [T].

    Of those on another tile the map holds nothing: they would lack all that they show, and the texels next to them,
    which share a pixel with them, would get it. One that touches the map's border is drawn from there.
    """
    low, high = uv_map.corners.min(axis=1), uv_map.corners.max(axis=1)
    near = ((high >= -_BEYOND) & (low <= uv_map.resolution + _BEYOND)).all(axis=1)  # not where UV is no number
    return ignored | uv_map.overlapping | ~near


def drawn_at(span: float, strength: float, size: int) -> int:
    """By how much a map of `size` texels is shrunk to be drawn from, a power of 2; 0: there is nothing to add."""
    if not span > _LEAST or strength <= 0:
        return 0
    shrink = 2 ** max(0, int(np.floor(np.log2(span / _FINE) + 0.5)))
    while size % shrink:
        shrink //= 2
    return shrink


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _miss(
    first, last, missing, drawn, width, to_255, corners, order, triangles, skip, boxes, starts, depth_range, tolerance,
    codes, linear, pixels, gains,
):  # fmt: skip
    """What each trusted pixel of each plate has beyond the map `drawn` into it, to `missing`."""
    height = len(drawn) // (3 * width)
    for t in nb.prange(first, last):
        if skip[t]:
            continue
        plane, rgb = np.zeros((8, 3)), np.zeros(3, np.float32)
        for i in range(order.shape[1]):
            k = order[t, i]
            if k < 0:
                break
            left, right, top, bottom = _lay_out(plane, linear[k], triangles[t], corners[t], boxes[k])
            near, step = depth_range[k, 0], depth_range[k, 1]
            for y in range(top, bottom):
                row = starts[k] + y * boxes[k, 2]
                for x in range(left, right):
                    w0 = plane[0, 0] + plane[0, 1] * x + plane[0, 2] * y
                    w1 = plane[1, 0] + plane[1, 1] * x + plane[1, 2] * y
                    if w0 < 0 or w1 < 0 or w0 + w1 > 1 or not _trusted(codes, row + x, boxes[k, 2]):
                        continue
                    z = 1 / (plane[2, 0] + plane[2, 1] * x + plane[2, 2] * y)
                    if z > near + step * codes[row + x] + tolerance:
                        continue
                    _draw(rgb, drawn, width, height, plane, x, y, z)
                    n, luma = 3 * (row + x), np.float32(0)
                    for d in range(3):
                        own = pixels[n + d] * gains[k, d]
                        own += np.float32(plane[5 + d, 0] + plane[5 + d, 1] * x + plane[5 + d, 2] * y)
                        rgb[d] = own - rgb[d] * to_255
                        luma += rgb[d] / np.float32(3 * OUTLIER)
                    trust = np.float32(STEPS) / (1 + luma * luma)
                    for d in range(3):
                        missing[n + d] = np.int8(np.rint(min(max(rgb[d] * trust, np.float32(-127)), np.float32(127))))


@nb.njit(cache=True, inline="always")
def _trusted(codes, at, width):
    """Whether a pixel and its neighbours are: then the texels that it covers are seen, and not filled in."""
    for row in (at - width, at, at + width):
        for i in range(row - 1, row + 2):
            if codes[i] == 0:
                return False
    return True


@nb.njit(cache=True, error_model="numpy")
def _lay_out(plane, values, triangle, corner, box):
    """The pixels that a triangle may cover inside a plate: first and past the last column, then row; none out of view.

    `plane` [8, 3] is filled with what is affine in the pixel, at pixel (0, 0) and added by x, by y: weights of
    the first two corners; 1 / z; where it lies in the map, over z (2); the correction (3).
    """
    xs, ys, best = np.zeros(3), np.zeros(3), 0.0
    each = np.zeros((8, 3))  # the same at the corners
    for i in range(3):
        value = values[triangle[i]]
        if value[2] <= 0:
            return 0, 0, 0, 0
        xs[i], ys[i] = value[0] / value[2] + value[SHIFT], value[1] / value[2] + value[SHIFT + 1]
        best = max(best, value[SCORE])
        each[2, i], each[3, i], each[4, i] = 1 / value[2], corner[i, 0] / value[2], corner[i, 1] / value[2]
        for d in range(3):
            each[5 + d, i] = value[CORRECTION + d]
    each[0, 0] = each[1, 1] = 1
    area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (ys[1] - ys[0])
    if best <= 0 or area == 0:
        return 0, 0, 0, 0
    for j in range(8):
        a, b = each[j, 1] - each[j, 0], each[j, 2] - each[j, 0]
        plane[j, 1] = (a * (ys[2] - ys[0]) - b * (ys[1] - ys[0])) / area
        plane[j, 2] = (b * (xs[1] - xs[0]) - a * (xs[2] - xs[0])) / area
        plane[j, 0] = each[j, 0] + plane[j, 1] * (0.5 - xs[0]) + plane[j, 2] * (0.5 - ys[0])
    left, right = max(1, int(np.ceil(xs.min() - 0.5))), min(box[2] - 1, int(np.floor(xs.max() - 0.5)) + 1)
    top, bottom = max(1, int(np.ceil(ys.min() - 0.5))), min(box[3] - 1, int(np.floor(ys.max() - 0.5)) + 1)
    return left, right, top, bottom


@nb.njit(cache=True, inline="always")
def _draw(rgb, drawn, width, height, plane, x, y, z):
    """Mean of the map `drawn` over the pixel (x, y) at depth `z`, four samples, to `rgb`."""
    u = (plane[3, 0] + plane[3, 1] * x + plane[3, 2] * y) * z
    v = (plane[4, 0] + plane[4, 1] * x + plane[4, 2] * y) * z
    ux, uy = 0.25 * (plane[3, 1] - u * plane[2, 1]) * z, 0.25 * (plane[3, 2] - u * plane[2, 2]) * z
    vx, vy = 0.25 * (plane[4, 1] - v * plane[2, 1]) * z, 0.25 * (plane[4, 2] - v * plane[2, 2]) * z
    rgb[:] = 0
    for j in range(4):
        a, b = 2 * (j % 2) - 1, 2 * (j // 2) - 1
        left, top = u + a * ux + b * uy - 0.5, v + a * vx + b * vy - 0.5
        column, row = min(max(int(left), 0), width - 2), min(max(int(top), 0), height - 2)
        fx, fy = np.float32(left - column), np.float32(top - row)
        n = np.uint64(3 * (row * width + column))
        m = n + np.uint64(3 * width)
        p00, p01 = np.float32(0.25) * (1 - fx) * (1 - fy), np.float32(0.25) * fx * (1 - fy)
        p10, p11 = np.float32(0.25) * (1 - fx) * fy, np.float32(0.25) * fx * fy
        for d in range(np.uint64(3)):
            rgb[d] += (
                p00 * np.float32(drawn[n + d])
                + p01 * np.float32(drawn[n + d + np.uint64(3)])
                + p10 * np.float32(drawn[m + d])
                + p11 * np.float32(drawn[m + d + np.uint64(3)])
            )


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _gather(
    lacking, low, shrink, ids, corners, order, triangles, skip, boxes, starts, depth_range, tolerance, codes, linear,
    missing, root,
):  # fmt: skip
    """What pixels miss at the texels of a map `shrink` times as coarse, from its row `low` on, to `lacking`."""
    size = ids.shape[0]
    for line in nb.prange(lacking.shape[0]):
        lines, rgb = np.zeros((order.shape[1], 3, linear.shape[2])), np.zeros(3, np.float32)
        y = low + line
        row = min(y * shrink + shrink // 2, size - 1)
        run, begun, tries = EMPTY, 0, 0
        for x in range(lacking.shape[1]):
            code = ids[row, min(x * shrink + shrink // 2, size - 1)]
            if code == EMPTY:
                continue
            padded = code < 0
            t = -2 - code if padded else code
            if code != run or padded:
                run, begun = code, x
                tries = 0 if skip[t] else begin_lines(lines, order[t], linear, triangles[t], corners[t], x, y, padded)
            along = x - begun
            total, rgb[:] = np.float32(0), 0
            for i in range(tries):
                s = lines[i, 0, SCORE] + along * lines[i, 1, SCORE]
                z = lines[i, 0, 2] + along * lines[i, 1, 2]
                if s <= 0 or z <= 0:
                    continue
                k = order[t, i]
                u, v = (lines[i, 0, 0] + along * lines[i, 1, 0]) / z, (lines[i, 0, 1] + along * lines[i, 1, 1]) / z
                width, height = boxes[k, 2], boxes[k, 3]
                if not sees(codes, starts[k], width, height, depth_range[k, 0], depth_range[k, 1], tolerance, u, v, z):
                    continue
                px = int(u + lines[i, 0, SHIFT] + along * lines[i, 1, SHIFT])
                py = int(v + lines[i, 0, SHIFT + 1] + along * lines[i, 1, SHIFT + 1])
                if px < 0 or py < 0 or px >= width or py >= height:
                    continue
                # The pixel that covers the texel, as it is: between pixels, what is missing would be blurred again.
                n, w = 3 * (starts[k] + py * width + px), np.float32(s) ** root
                total += w
                for d in range(3):
                    rgb[d] += w * missing[n + d]
            if total > 0:
                for d in range(3):
                    lacking[line, x, d] = rgb[d] / (np.float32(STEPS) * total)


@nb.njit(parallel=True, cache=True)
def _add(texture, scale, white, lacking, low, first, last, shrink, ids):
    """Add `lacking`, whose first row is `low`, to the texels under its rows `first` to `last`, bilinear in between."""
    rows, columns = lacking.shape[:2]
    for y in nb.prange(first * shrink, last * shrink):
        v = (y + 0.5) / shrink - 0.5 - low
        y0 = max(int(np.floor(v)), 0)
        y1, fy = min(y0 + 1, rows - 1), np.float32(max(v - y0, 0))
        for x in range(ids.shape[1]):
            if ids[y, x] == EMPTY:
                continue
            u = (x + 0.5) / shrink - 0.5
            x0 = max(int(np.floor(u)), 0)
            x1, fx = min(x0 + 1, columns - 1), np.float32(max(u - x0, 0))
            for d in range(3):
                upper = lacking[y0, x0, d] + fx * (lacking[y0, x1, d] - lacking[y0, x0, d])
                lower = lacking[y1, x0, d] + fx * (lacking[y1, x1, d] - lacking[y1, x0, d])
                value = texture[y, x, d] + scale * (upper + fy * (lower - upper)) + np.float32(0.5)
                texture[y, x, d] = np.uint16(min(max(value, np.float32(0)), np.float32(white)))
