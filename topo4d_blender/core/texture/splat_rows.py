"""What one camera says of the colours of a patch: a linear equation for every pixel that shows it.

A pixel is the mean of the Gaussians that reach it, each weighted by its footprint there (surface splatting: Zwicker et
al. 2001). With the geometry fixed these weights are plain numbers and the colours the only unknowns. The paper blends
front to back instead, which on a closed surface of opaque Gaussians prefers, of neighbours, the one a hair nearer to
the camera: colours fitted so are shifted against the surface, each camera's in another direction. What is hidden is
told by the z-buffer, as in the inverse method.
"""

from __future__ import annotations

from dataclasses import dataclass

import numba as nb
import numpy as np
import scipy.sparse as sp

from ..raster import rasterise_here
from ..splat.gaussians import LEAST_ALPHA
from .kernels import barycentric

Array = np.ndarray
_LEAST_SHARE = 0.05  # of the best camera's score: a worse view says nothing that the better ones do not
_PIXEL = 1 / 12  # px^2: the variance of a pixel, which a plate's light was gathered over
_TRUST = 1e-4  # scores below this fade out, as in the inverse method


@dataclass(frozen=True)
class Rows:
    """m equations for n colours."""

    weights: sp.csr_matrix  # [m, n] float32; every row adds up to 1
    colours: Array  # [m, 3] float32: the plate's, brought to the shared gains, 0..255
    trust: Array  # [m] float32, 0..1


def camera_rows(
    projection: Array,  # [3, 4] world to homogeneous pixels of the crop
    plate: Array,  # [H, W, 3] uint8 or uint16: the crop
    codes: Array,  # [H, W] uint16: its visibility codes (views.py)
    depth_range: Array,  # [2]
    tolerance: float,
    vertices: Array,  # [v, 3]: of the patch
    triangles: Array,  # [t, 3]
    scores: Array,  # [v] float32: this camera's
    best: Array,  # [v] float32: the best camera's
    gain: Array,  # [3]
    correction: Array,  # [v, 3], added after the gain
    shift: Array,  # [v, 2], px: where the plate shows a vertex beside where it projects (align.py)
    points: Array,  # [n, 3]
    point_shift: Array,  # [n, 2]: the same of the points
    sizes: Array,  # [n]
    between: Array,  # [n, 4] int32: the vertices of the patch that a point lies between
) -> Rows | None:
    """The equations of one camera, None if it has none."""
    if not (scores > _LEAST_SHARE * best).any():
        return None
    homogeneous = vertices @ projection[:, :3].T + projection[:, 3]
    if not (homogeneous[:, 2] > 0).all():
        return None
    pixels = homogeneous[:, :2] / homogeneous[:, 2:] + shift
    height, width = codes.shape
    left, top = np.clip(np.floor(pixels.min(axis=0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(pixels.max(axis=0)), 0, (width, height)).astype(int)
    if right - left < 1 or bottom - top < 1:
        return None
    corner = (left, top)
    ids, depth = rasterise_here(pixels - corner, homogeneous[:, 2], triangles, right - left, bottom - top)
    window = slice(top, bottom), slice(left, right)
    white = np.iinfo(plate.dtype).max
    row_of, colours, trust = _trusted(
        ids, depth, codes[window], depth_range[0], depth_range[1], tolerance, (pixels - corner)[triangles], triangles,
        scores, best, plate[window], np.float32(255 / white), gain, correction,
    )  # fmt: skip
    if len(trust) == 0:
        return None
    centres, conics, reaches, depths = _project(points, sizes, projection)
    centres += point_shift - corner
    most = _count_reached(centres, reaches, row_of)
    rows, columns = np.empty(most, np.int32), np.empty(most, np.int32)
    values, cover = np.empty(most, np.float32), np.zeros(len(trust), np.float32)
    surface = ids, (pixels - corner)[triangles], 1 / homogeneous[:, 2][triangles], triangles
    count = _weigh(centres, conics, reaches, depths, between, *surface, tolerance, row_of, rows, columns, values, cover)
    trust[cover == 0] = 0
    values[:count] /= cover[rows[:count]]
    weights = sp.csr_matrix((values[:count], (rows[:count], columns[:count])), shape=(len(trust), len(points)))
    keep = np.flatnonzero(trust)
    return Rows(weights[keep], colours[keep], trust[keep]) if len(keep) else None


def _project(points: Array, sizes: Array, projection: Array) -> tuple[Array, ...]:
    """Centres [n, 2], conics [n, 3], half widths of the boxes [n, 2] and depths [n].

    The covariance of an isotropic Gaussian in the picture is its variance times J J' (EWA splatting), and a pixel.
    """
    homogeneous = points @ projection[:, :3].T + projection[:, 3]
    depth = homogeneous[:, 2:]
    centres = homogeneous[:, :2] / depth
    jacobian = (projection[None, :2, :3] - centres[:, :, None] * projection[None, 2:, :3]) / depth[:, :, None]
    covariance = sizes[:, None, None] ** 2 * (jacobian @ jacobian.transpose(0, 2, 1)) + _PIXEL * np.eye(2)
    xx, xy, yy = covariance[:, 0, 0], covariance[:, 0, 1], covariance[:, 1, 1]
    conics = np.stack([yy, -xy, xx], axis=1) / (xx * yy - xy * xy)[:, None]
    reaches = np.sqrt(-2 * np.log(LEAST_ALPHA) * np.stack([xx, yy], axis=1))
    return centres, conics, reaches, depth[:, 0]


@nb.njit(cache=True, nogil=True)
def _trusted(
    ids, depth, codes, near, step, tolerance, corners, triangles, scores, best, plate, to_255, gain, correction
):
    """Number of the equation of every pixel [h, w] (-1: none), their colours [m, 3] and trust [m]."""
    height, width = ids.shape
    row_of = np.full((height, width), -1, np.int32)
    colours, trust = np.empty((height * width, 3), np.float32), np.empty(height * width, np.float32)
    count = 0
    for y in range(height):
        for x in range(width):
            t = ids[y, x]
            if t < 0 or codes[y, x] == 0 or depth[y, x] > near + step * codes[y, x] + tolerance:
                continue
            w0, w1, w2 = barycentric(corners[t], x + 0.5, y + 0.5, True)
            a, b, c = triangles[t, 0], triangles[t, 1], triangles[t, 2]
            score = w0 * scores[a] + w1 * scores[b] + w2 * scores[c]
            highest = w0 * best[a] + w1 * best[b] + w2 * best[c]
            if not score > _LEAST_SHARE * highest:
                continue
            for d in range(3):
                missing = w0 * correction[a, d] + w1 * correction[b, d] + w2 * correction[c, d]
                colours[count, d] = plate[y, x, d] * to_255 * gain[d] + missing
            trust[count] = score / (highest + _TRUST)
            row_of[y, x] = count
            count += 1
    return row_of, colours[:count], trust[:count].copy()


@nb.njit(cache=True, nogil=True, inline="always")
def _box(centres, reaches, i, width, height):
    """The pixels a Gaussian reaches: first and past the last column, then row."""
    return (
        max(0, int(np.ceil(centres[i, 0] - reaches[i, 0] - 0.5))),
        min(width, int(np.floor(centres[i, 0] + reaches[i, 0] - 0.5)) + 1),
        max(0, int(np.ceil(centres[i, 1] - reaches[i, 1] - 0.5))),
        min(height, int(np.floor(centres[i, 1] + reaches[i, 1] - 0.5)) + 1),
    )


@nb.njit(cache=True, nogil=True)
def _count_reached(centres, reaches, row_of):
    """At most so many weights there are."""
    height, width = row_of.shape
    count = 0
    for i in range(len(centres)):
        left, right, top, bottom = _box(centres, reaches, i, width, height)
        for y in range(top, bottom):
            for x in range(left, right):
                count += row_of[y, x] >= 0
    return count


@nb.njit(cache=True, nogil=True)
def _weigh(
    centres, conics, reaches, depths, between, ids, corners, nearness, triangles, tolerance, row_of, rows, columns,
    values, cover,
):  # fmt: skip
    """Fill in the footprints and, by equation, their sums; returns their count.

    A pixel takes only from Gaussians of the surface that it shows: of those whose faces touch the triangle there, and
    that do not lie behind its plane. In a fold, others project into it too.
    """
    height, width = row_of.shape
    count = 0
    for i in range(len(centres)):
        left, right, top, bottom = _box(centres, reaches, i, width, height)
        for y in range(top, bottom):
            for x in range(left, right):
                row = row_of[y, x]
                if row < 0 or not _touches(between[i], triangles[ids[y, x]]):
                    continue
                dx, dy = x + 0.5 - centres[i, 0], y + 0.5 - centres[i, 1]
                sigma = 0.5 * (conics[i, 0] * dx * dx + conics[i, 2] * dy * dy) + conics[i, 1] * dx * dy
                weight = np.exp(-sigma)
                if weight < LEAST_ALPHA:
                    continue
                t = ids[y, x]
                w0, w1, w2 = barycentric(corners[t], centres[i, 0], centres[i, 1], False)
                near = w0 * nearness[t, 0] + w1 * nearness[t, 1] + w2 * nearness[t, 2]  # 1 / depth is linear here
                if (depths[i] - tolerance) * near > 1:
                    continue
                rows[count], columns[count], values[count] = row, i, weight
                cover[row] += weight
                count += 1
    return count


@nb.njit(cache=True, nogil=True, inline="always")
def _touches(between, triangle):
    """Whether a corner of `triangle` [3] is among the vertices that a point lies `between` [4]."""
    for a in triangle:
        if a == between[0] or a == between[1] or a == between[2] or a == between[3]:
            return True
    return False
