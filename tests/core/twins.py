"""Slow plain twins of the tracker's kernels, under the kernels' names: float64, one step a line, results returned.

Each is written from the kernel's mathematics (docstrings and papers), not from its code. Where a kernel decides by a
comparison that rounding may turn, its twin also says how near the decision was, and the tests leave those out.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

Array = np.ndarray
PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (2, 0))  # of corners, as in the kernels' blocks
LEAST_MASK = 0.05


def symmetric(six: Array) -> Array:
    """(xx xy xz yy yz zz) as a matrix.  # [..., 6] -> [..., 3, 3]."""
    return np.asarray(six)[..., [[0, 1, 2], [1, 3, 4], [2, 4, 5]]]


def compare(
    pixels, depth, remembered, triangles, looks, sizes, offsets, intrinsics, ids, plate, reference, detail,
    reference_depth, tolerance, light,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(barycentric [P, 3], stack [P, 3], doubt [P]: how near, in pixels or in tolerances, a decision was)."""
    barycentric, stack = np.zeros((len(ids), 3)), np.zeros((len(ids), 3))
    doubt = np.full(len(ids), np.inf)
    for k, (height, width) in enumerate(sizes):
        fx, fy, cx, cy = intrinsics[k]
        view = slice(offsets[k], offsets[k] + height * width)
        memory, fine = (image[view].reshape(height, width).astype(float) for image in (reference, detail))
        zbuf = reference_depth[view].reshape(height, width).astype(float)
        for p in range(view.start, view.stop):
            t = ids[p]
            if t < 0 or looks[t] <= 0:
                continue
            row, column = divmod(p - view.start, width)
            corners = triangles[t]
            # Weights w with sum(w) = 1 whose sum of corner * w is the pixel's centre, then divided by depth.
            equations = np.vstack([pixels[k, corners].T.astype(float), np.ones(3)])
            weights = np.linalg.solve(equations, [column + 0.5, row + 0.5, 1.0]) / depth[k, corners]
            barycentric[p] = weights / weights.sum()
            x, y, z = barycentric[p] @ remembered[k, corners]
            doubt[p] = abs(z)
            if z <= 0:
                continue
            u, v = fx * x / z + cx - 0.5, fy * y / z + cy - 0.5
            left, top = int(np.floor(u)), int(np.floor(v))
            doubt[p] = min(abs(u - 1), abs(v - 1), abs(u - (width - 2)), abs(v - (height - 2)))
            if not (1 <= u < width - 2 and 1 <= v < height - 2):
                continue
            away = np.abs(zbuf[top : top + 2, left : left + 2] - z) / tolerance
            doubt[p] = min(doubt[p], np.abs(away - 1).min())
            if away.max() > 1:
                continue
            # A pixel's border changes which depths are asked, unless all around are within the tolerance.
            wide = np.abs(zbuf[top - 1 : top + 3, left - 1 : left + 3] - z) / tolerance
            if wide.max() > 0.9:
                doubt[p] = min(doubt[p], abs(u - round(u)), abs(v - round(v)))
            brighter = barycentric[p] @ light[k, corners]
            drawn, sloped = (brighter * cubic(image, u, v) for image in (memory, fine))
            now = float(plate[p])
            if np.isfinite(now + drawn):
                stack[p] = looks[t] * np.array([now - drawn, sloped + (now - drawn) / 2, 1.0])
    return barycentric, stack, doubt


def cubic(image: Array, u: float, v: float) -> float:
    """`image` [H, W] between pixels, at column `u` and row `v`."""
    left, top = int(np.floor(u)), int(np.floor(v))
    horizontal = [catmull_rom(u - left, image[r, left - 1 : left + 3]) for r in range(top - 1, top + 3)]
    return catmull_rom(v - top, np.array(horizontal))


def catmull_rom(f: float, values: Array) -> Array:
    """The cubic through values[1] and values[2] with the slopes of their neighbours, at `f`.  # [4, ...]."""
    a, b, c, d = values
    before, after = (c - a) / 2, (d - b) / 2
    f2, f3 = f * f, f**3
    return (2 * f3 - 3 * f2 + 1) * b + (f3 - 2 * f2 + f) * before + (3 * f2 - 2 * f3) * c + (f3 - f2) * after


def list_pixels(ids, wanted, triangle_count: int) -> list[list[int]]:
    """The pixels of each triangle, of those `wanted` [P] bool."""
    pixels = [[] for _ in range(triangle_count)]
    for p, t in enumerate(ids):
        if t >= 0 and wanted[p]:
            pixels[t].append(p)
    return pixels


def normal_equations(
    members: list[list[int]], triangles, depth, barycentric, rotations, intrinsics, sizes, offsets, stack, scale,
    pixels=None,
) -> tuple[Array, Array, dict, dict]:  # fmt: skip
    """(hessian [T, 6, 3, 3], gradient [T, 3, 3], residual and slope by pixel; residual NaN where one has no slope).

    With `pixels` [K, V, 2], where the corners are, slopes point along the ray through the middle of their triangle.
    """
    hessian, gradient = np.zeros((len(triangles), 6, 3, 3)), np.zeros((len(triangles), 3, 3))
    residual, slope = {}, {}
    for t, mine in enumerate(members):
        for p in mine:
            k = int(np.searchsorted(offsets, p, side="right")) - 1
            height, width = sizes[k]
            row, column = divmod(p - offsets[k], width)
            view = stack[offsets[k] : offsets[k] + height * width].reshape(height, width, 3).astype(float)
            residual[p] = np.nan
            if not (0 < row < height - 1 and 0 < column < width - 1):
                continue
            cross = [(row, column), (row, column - 1), (row, column + 1), (row - 1, column), (row + 1, column)]
            if min(view[at][2] for at in cross) < LEAST_MASK:
                continue
            here, left, right, above, below = (view[at] for at in cross)
            r = here[0] / here[2]
            image_slope = np.array([right[1] / right[2] - left[1] / left[2], below[1] / below[2] - above[1] / above[2]])
            image_slope /= 2
            residual[p], slope[p] = abs(r), np.linalg.norm(image_slope)
            weight = here[2] * (scale**2 / (scale**2 + r**2)) ** 2
            fx, fy, cx, cy = intrinsics[k]
            z = barycentric[p] @ depth[k, triangles[t]]
            ray = (column + 0.5, row + 0.5) if pixels is None else pixels[k, triangles[t]].mean(axis=0)
            x, y = (ray[0] - cx) / fx * z, (ray[1] - cy) / fy * z
            pinhole = np.array([[fx / z, 0, -fx * x / z**2], [0, fy / z, -fy * y / z**2]])
            jacobian = image_slope @ pinhole @ rotations[k]  # [3 axes] of a point on the surface
            for m, (i, j) in enumerate(PAIRS):
                hessian[t, m] += weight * barycentric[p, i] * barycentric[p, j] * np.outer(jacobian, jacobian)
            for i in range(3):
                gradient[t, i] += weight * barycentric[p, i] * jacobian * r
    return hessian, gradient, residual, slope


def gather(starts, members, source) -> Array:
    """Sums of rows.  # [N, C]."""
    return np.array([source[members[a:b]].sum(axis=0) for a, b in zip(starts[:-1], starts[1:], strict=True)])


def matrix(diagonal, edges, edge_blocks, prior, stiffness) -> sp.csr_matrix:
    """H + stiffness * B (x) I3 in full.  # [3 V, 3 V]."""
    count = len(diagonal)
    dense = np.zeros((count, 3, count, 3))
    for i in range(count):
        dense[i, :, i] += symmetric(diagonal[i])
    for (i, j), block in zip(edges, edge_blocks, strict=True):
        dense[i, :, j] += symmetric(block)
        dense[j, :, i] += symmetric(block)
    return sp.csr_matrix(dense.reshape(3 * count, 3 * count)) + stiffness * sp.kron(prior, sp.eye(3), format="csr")


def triangle_matrix(triangles, hessian, count) -> Array:
    """The triangles' normal equations summed into one matrix, corner by corner.  # [3 V, 3 V]."""
    dense = np.zeros((count, 3, count, 3))
    for t, corners in enumerate(triangles):
        for m, (i, j) in enumerate(PAIRS):
            block = symmetric(hessian[t, m])
            dense[corners[i], :, corners[j]] += block
            if i != j:
                dense[corners[j], :, corners[i]] += block
    return dense.reshape(3 * count, 3 * count)


def multiply(full: sp.csr_matrix, x: Array) -> Array:
    """full x.  # [V, 3]."""
    return (full @ x.ravel()).reshape(x.shape)


def conjugate_gradients(full: sp.csr_matrix, inverse: Array, right: Array, tolerance: float, iterations: int):
    """(x, residual, steps) of block-Jacobi preconditioned CG (Saad 2003, algorithm 9.1)."""
    x, r = np.zeros_like(right), right.copy()
    z = np.einsum("vde,ve->vd", inverse, r)
    p, rz = z, (r * z).sum()
    first = rz
    for step in range(iterations):
        if not rz > tolerance**2 * first:
            return x, r, step
        q = multiply(full, p)
        alpha = rz / (p * q).sum()
        x, r = x + alpha * p, r - alpha * q
        z = np.einsum("vde,ve->vd", inverse, r)
        rz, beta = (r * z).sum(), (r * z).sum() / rz
        p = z + beta * p
    return x, r, iterations


def share_detail(
    triangles, vertices, level, ids, depth, image, tolerance, width, own, facing, brighter
) -> tuple[Array, Array, Array]:  # fmt: skip
    """(picture [P], doubt [P]: how near a decision was, how many other cameras had a say [P])."""
    lows, highs = {}, {}
    for k in range(len(level.sizes)):
        picture, mask = level.view(image, k).astype(float), level.view(ids, k) >= 0
        if np.isnan(picture).any():
            continue
        rows, columns = (np.arange(n)[:, None] - np.arange(n) for n in picture.shape)
        around = [np.exp(-(x**2) / (2 * width**2)) * (abs(x) <= 4 * width) for x in (rows, columns)]
        around = [a / np.exp(-(np.arange(-100, 101) ** 2) / (2 * width**2)).sum() for a in around]
        lows[k] = around[0] @ np.where(mask, picture, 0) @ around[1] / np.maximum(around[0] @ mask @ around[1], 1e-3)
        highs[k] = np.where(mask, picture - lows[k], 0)
    out, doubt, others = image.astype(float), np.full(len(ids), np.inf), np.zeros(len(ids), int)
    for p in np.flatnonzero(ids >= 0):
        k = int(level.camera_of[p])
        if k not in lows:
            continue
        row, column = divmod(p - level.offsets[k], level.sizes[k, 1])
        fx, fy, cx, cy = level.intrinsics[k]
        ray = np.array([(column + 0.5 - cx) / fx, (row + 0.5 - cy) / fy, 1.0])
        point = (float(depth[p]) * ray - level.translations[k]) @ level.rotations[k]
        a, b, c = vertices[triangles[ids[p]]]
        normal = np.cross(b - a, c - a) / np.linalg.norm(np.cross(b - a, c - a))
        normal *= np.sign(normal @ (level.centres[k] - point))

        def view(j: int, point=point, normal=normal) -> tuple[float, float]:
            """Cosine, and how many pixels a unit of the skin has."""
            way = level.centres[j] - point
            cosine = normal @ way / np.linalg.norm(way)
            return cosine, (level.intrinsics[j, 0] / np.linalg.norm(way)) ** 2

        cosine, fine = view(k)
        fine *= max(cosine, 0.05)
        total, weight = own * highs[k][row, column], own
        for j in lows:
            if j == k:
                continue
            cosine, pixels = view(j)
            x, y, z = level.rotations[j] @ point + level.translations[j]
            u, v = level.intrinsics[j, :2] * [x / z, y / z] + level.intrinsics[j, 2:] - 0.5
            high, wide = level.sizes[j]
            edges = [cosine - facing, u - 1, v - 1, wide - 2 - u, high - 2 - v]
            doubt[p] = min(doubt[p], np.abs(edges).min())
            if min(edges) < 0:
                continue
            left, top = int(u), int(v)
            away = np.abs(level.view(depth, j)[top : top + 2, left : left + 2] - z) / tolerance
            doubt[p] = min(doubt[p], abs(away.max() - 1), abs(u - round(u)), abs(v - round(v)))
            if away.max() > 1:
                continue
            light = lows[k][row, column] / lows[j][top, left]
            doubt[p] = min(doubt[p], abs(light / brighter - 1), abs(light * brighter - 1))
            if not 1 / brighter < light < brighter:
                continue
            others[p] += 1
            share = min(1.0, cosine * pixels / fine) ** 2
            total += share * light * cubic(highs[j], u, v)
            weight += share
        out[p] = lows[k][row, column] + total / weight
    return out, doubt, others
