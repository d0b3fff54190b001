"""Detail that blending blurred, brought back: the map is drawn as each plate's pixels saw it, and what is missing added.

A plate's pixel is a mean over what it covers, and a texel blended from plates a mean of such means: blurred twice.
Drawn into the views with the pixels' own footprint, a true map would give the plates; what ours lacks of them is laid
back onto it, every view with the weight of its pixels there. This is iterative back-projection (Irani and Peleg,
Improving Resolution by Image Registration, CVGIP 1991), which is Landweber's iteration for the least-squares map of all
plates: the first rounds bring what most pixels agree on, later ones would bring their noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numba as nb
import numpy as np

from .blend import _CORRECTION, _SCORE, _SHIFT, _begin
from .kernels import sees
from .plan import texels_a_pixel
from .uv import EMPTY, UvMap
from .views import Views

Array = np.ndarray
_FINE = 2.0  # texels along a pixel that the map is drawn at: a pixel then takes 4 samples, bilinear
_LEAST = 0.8  # texels a pixel: a coarser map holds no more than means over several pixels, which nothing blurred twice
_OUTLIER = 16.0  # luminance, of 255: a pixel that lacks so much (gloss, hair) counts half


def sharpen(
    texture: Array,  # [R, R, 3] uint8 or uint16, changed
    uv_map: UvMap,
    order: Array,  # [T, C] int16
    triangles: Array,  # [T, 3] int32
    ignored: Array,  # [T] bool
    views: Views,
    linear: Array,  # [K, V, 9]: see blend.linear_values
    gains: Array,  # [K, 3]
    power: float,  # of the scores in `linear`
    rounds: int,
) -> None:
    """Do `rounds` of back-projection; nothing where the map is coarser than the plates."""
    span = texels_a_pixel(order, views, linear, triangles, uv_map.corners)
    if rounds < 1 or not span > _LEAST:
        return
    step = 2 ** max(0, int(np.floor(np.log2(span / _FINE) + 0.5)))  # texels of the map along one it is drawn from
    size = uv_map.resolution
    white = np.float32(np.iinfo(texture.dtype).max)
    skip = ignored | uv_map.overlapping
    missing = np.zeros(views.pixels.shape, np.int8)
    for _ in range(rounds):
        drawn = texture
        if step > 1:
            drawn = cv2.resize(texture, (size // step, size // step), interpolation=cv2.INTER_AREA)
        _miss(
            missing, drawn, np.float32(255) / white, uv_map.corners / step, order, triangles, skip, views.boxes,
            views.starts, views.depth_range, views.tolerance, views.pixels, views.codes, linear, gains,
        )  # fmt: skip
        lacking = np.zeros((-(-size // step), -(-size // step), 3), np.float32)
        _gather(
            lacking, step, uv_map.ids, uv_map.corners / step, order, triangles, skip, views.boxes, views.starts,
            views.depth_range, views.tolerance, missing, views.codes, linear, np.float32(1 / power),
        )  # fmt: skip
        _add(texture, white, lacking, step, uv_map.ids)


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _miss(
    missing, drawn, to_255, corners, order, triangles, skip, boxes, starts, depth_range, tolerance, pixels, codes,
    linear, gains,
):  # fmt: skip
    """What each trusted pixel of each plate has beyond the map `drawn` into it, to `missing`, -127..127."""
    for t in nb.prange(len(triangles)):
        if skip[t]:
            continue
        at, place = np.zeros((3, 3)), np.zeros((3, 3 + 3 + 1))
        rgb = np.zeros(3, np.float32)
        for i in range(order.shape[1]):
            k = order[t, i]
            if k < 0:
                break
            left, right, top, bottom, area = _lay_out(at, place, linear[k], triangles[t], corners[t], boxes[k])
            if area == 0:
                continue
            near, step, start, width = depth_range[k, 0], depth_range[k, 1], starts[k], boxes[k, 2]
            for y in range(top, bottom):
                for x in range(left, right):
                    code = codes[start + y * width + x]
                    if code == 0:
                        continue
                    w0 = at[0, 0] + at[0, 1] * (x + 0.5) + at[0, 2] * (y + 0.5)
                    w1 = at[1, 0] + at[1, 1] * (x + 0.5) + at[1, 2] * (y + 0.5)
                    w2 = 1 - w0 - w1
                    if w0 < 0 or w1 < 0 or w2 < 0:
                        continue
                    z = 1 / (w0 * place[0, 0] + w1 * place[1, 0] + w2 * place[2, 0])
                    if z > near + step * code + tolerance:
                        continue
                    rgb[:] = 0
                    for j in range(4):
                        dx, dy = 0.5 * (j % 2) - 0.25, 0.5 * (j // 2) - 0.25
                        a = w0 + at[0, 1] * dx + at[0, 2] * dy
                        b = w1 + at[1, 1] * dx + at[1, 2] * dy
                        c = 1 - a - b
                        q = a * place[0, 0] + b * place[1, 0] + c * place[2, 0]
                        u = (a * place[0, 1] + b * place[1, 1] + c * place[2, 1]) / q
                        v = (a * place[0, 2] + b * place[1, 2] + c * place[2, 2]) / q
                        _add_bilinear(drawn, u, v, rgb)
                    n = 3 * (start + y * width + x)
                    luma = np.float32(0)
                    for d in range(3):
                        own = pixels[n + d] * gains[k, d]
                        own += w0 * place[0, 3 + d] + w1 * place[1, 3 + d] + w2 * place[2, 3 + d]
                        rgb[d] = own - rgb[d] * to_255 * np.float32(0.25)
                        luma += rgb[d] / 3
                    trust = 1 / (1 + (luma / np.float32(_OUTLIER)) ** 2)
                    for d in range(3):
                        missing[n + d] = np.int8(np.rint(min(max(rgb[d] * trust * _STEPS, -127), 127)))


_STEPS = 4.0  # of `missing` a level


@nb.njit(cache=True, inline="always")
def _add_bilinear(picture, u, v, rgb):
    x, y = int(np.floor(u - 0.5)), int(np.floor(v - 0.5))
    fx, fy = np.float32(u - 0.5 - x), np.float32(v - 0.5 - y)
    x0, x1 = min(max(x, 0), picture.shape[1] - 1), min(max(x + 1, 0), picture.shape[1] - 1)
    y0, y1 = min(max(y, 0), picture.shape[0] - 1), min(max(y + 1, 0), picture.shape[0] - 1)
    for d in range(3):
        upper = picture[y0, x0, d] + fx * (np.float32(picture[y0, x1, d]) - np.float32(picture[y0, x0, d]))
        lower = picture[y1, x0, d] + fx * (np.float32(picture[y1, x1, d]) - np.float32(picture[y1, x0, d]))
        rgb[d] += upper + fy * (lower - upper)


@nb.njit(cache=True, error_model="numpy")
def _lay_out(at, place, values, triangle, corner, box):
    """Where a triangle lies in a plate: bounds, and its area (0: not in view).

    `at` [3, 3]: the weights of its corners at a pixel, as affine functions; `place` [3, 7]: 1 / z, u / z, v / z of the
    corners in the map, and their corrections.
    """
    xs, ys = np.zeros(3), np.zeros(3)
    best = 0.0
    for i in range(3):
        value = values[triangle[i]]
        if value[2] <= 0:
            return 0, 0, 0, 0, 0.0
        xs[i], ys[i] = value[0] / value[2] + value[_SHIFT], value[1] / value[2] + value[_SHIFT + 1]
        best = max(best, value[_SCORE])
        place[i, 0] = 1 / value[2]
        place[i, 1], place[i, 2] = corner[i, 0] / value[2], corner[i, 1] / value[2]
        for d in range(3):
            place[i, 3 + d] = value[_CORRECTION + d]
    area = (xs[1] - xs[0]) * (ys[2] - ys[0]) - (xs[2] - xs[0]) * (ys[1] - ys[0])
    if best <= 0 or area == 0:
        return 0, 0, 0, 0, 0.0
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        at[i, 1], at[i, 2] = (ys[j] - ys[k]) / area, (xs[k] - xs[j]) / area
        at[i, 0] = (xs[j] * ys[k] - xs[k] * ys[j]) / area
    left, right = max(0, int(np.ceil(xs.min() - 0.5))), min(box[2], int(np.floor(xs.max() - 0.5)) + 1)
    top, bottom = max(0, int(np.ceil(ys.min() - 0.5))), min(box[3], int(np.floor(ys.max() - 0.5)) + 1)
    return left, right, top, bottom, area


@nb.njit(parallel=True, cache=True, error_model="numpy")
def _gather(
    lacking, reduce, ids, corners, order, triangles, skip, boxes, starts, depth_range, tolerance, missing, codes,
    linear, root,
):  # fmt: skip
    """What the plates miss at the texels of a map `reduce` times as coarse, to `lacking`, weighted by their pixels."""
    size = ids.shape[0]
    for y in nb.prange(lacking.shape[0]):
        lines = np.zeros((order.shape[1], 3, linear.shape[2]))
        row = min(y * reduce + reduce // 2, size - 1)
        run, begun, tries = EMPTY, 0, 0
        total_rgb = np.zeros(3, np.float32)
        for x in range(lacking.shape[1]):
            code = ids[row, min(x * reduce + reduce // 2, size - 1)]
            if code == EMPTY:
                continue
            padded = code < 0
            t = -2 - code if padded else code
            if code != run or padded:
                run, begun = code, x
                tries = 0 if skip[t] else _begin(lines, order[t], linear, triangles[t], corners[t], x, y, padded)
            along = x - begun
            total, total_rgb[:] = np.float32(0), 0
            for i in range(tries):
                s = lines[i, 0, _SCORE] + along * lines[i, 1, _SCORE]
                z = lines[i, 0, 2] + along * lines[i, 1, 2]
                if s <= 0 or z <= 0:
                    continue
                k = order[t, i]
                u, v = (lines[i, 0, 0] + along * lines[i, 1, 0]) / z, (lines[i, 0, 1] + along * lines[i, 1, 1]) / z
                width, height = boxes[k, 2], boxes[k, 3]
                if not sees(codes, starts[k], width, height, depth_range[k, 0], depth_range[k, 1], tolerance, u, v, z):
                    continue
                px = int(u + lines[i, 0, _SHIFT] + along * lines[i, 1, _SHIFT])
                py = int(v + lines[i, 0, _SHIFT + 1] + along * lines[i, 1, _SHIFT + 1])
                if px < 0 or py < 0 or px >= width or py >= height:
                    continue
                # The pixel that covers the texel, as it is: between pixels, what is missing would be blurred again.
                n = 3 * (starts[k] + py * width + px)
                w = np.float32(s) ** root
                total += w
                for d in range(3):
                    total_rgb[d] += w * missing[n + d]
            if total > 0:
                for d in range(3):
                    lacking[y, x, d] = total_rgb[d] / (np.float32(_STEPS) * total)


@nb.njit(parallel=True, cache=True)
def _add(texture, white, lacking, step, ids):
    """Add `lacking` to the texels, bilinear between its own."""
    scale = white / np.float32(255)
    for y in nb.prange(ids.shape[0]):
        rgb = np.zeros(3, np.float32)
        for x in range(ids.shape[1]):
            if ids[y, x] == EMPTY:
                continue
            rgb[:] = 0
            _add_bilinear(lacking, (x + 0.5) / step, (y + 0.5) / step, rgb)
            for d in range(3):
                value = texture[y, x, d] + rgb[d] * scale + np.float32(0.5)
                texture[y, x, d] = np.uint16(min(max(value, 0), white))
