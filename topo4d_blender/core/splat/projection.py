"""Gaussians into a picture and gradients back, in numba: one thread a Gaussian, so the same bits on any number of them.

Twin of `torch_reference.project` and its autograd. The arithmetic is float64 inside whatever the arrays hold.
"""

from __future__ import annotations

import numba as nb
import numpy as np

from .gaussians import DILATION, LEAST_ALPHA, WIDE_VIEW

_jit = nb.njit(parallel=True, cache=True, nogil=True, error_model="numpy")
_inline = nb.njit(inline="always", error_model="numpy")


@_jit
def project(
    means,  # [N, 3]
    quats,  # [N, 4]
    scales,  # [N, 3]
    opacities,  # [N]
    rotation,  # [3, 3] float64, world to camera
    shift,  # [3] float64
    intrinsics,  # [4] float64: fx fy cx cy
    size,  # [2] int64: width, height
    near,
    centres,  # out [N, 2]: px
    conics,  # out [N, 3]: inverse covariance in 1/px^2: xx, xy, yy
    depths,  # out [N]
    boxes,  # out [N, 4] int32: first and past-the-last column, then row, that it can be seen in; empty if in none
):
    """Where each Gaussian lies in the picture."""
    for n in nb.prange(means.shape[0]):
        x, y, z = _to_camera(means, n, rotation, shift)
        depths[n] = z
        boxes[n, :] = 0
        faintest = opacities[n] / LEAST_ALPHA
        if not (z > near and faintest > 1):
            continue
        j = _jacobian(x, y, z, intrinsics, size)
        m = _axes(quats, scales, n)
        xx, xy, yy = _covariance(j, rotation, m)
        xx += DILATION
        yy += DILATION
        inv = 1.0 / (xx * yy - xy * xy)
        u = intrinsics[0] * x / z + intrinsics[2]
        v = intrinsics[1] * y / z + intrinsics[3]
        centres[n, 0] = u
        centres[n, 1] = v
        conics[n, 0] = yy * inv
        conics[n, 1] = -xy * inv
        conics[n, 2] = xx * inv
        reach = 2.0 * np.log(faintest)
        wide = np.sqrt(reach * xx) + 1e-3  # rounding must not cut what the test of alpha lets through
        high = np.sqrt(reach * yy) + 1e-3
        left, right = np.ceil(u - wide - 0.5), np.floor(u + wide - 0.5) + 1
        top, bottom = np.ceil(v - high - 0.5), np.floor(v + high - 0.5) + 1
        if right > 0 and bottom > 0 and left < size[0] and top < size[1]:  # also drops NaN
            boxes[n, 0] = max(left, 0)
            boxes[n, 1] = min(right, size[0])
            boxes[n, 2] = max(top, 0)
            boxes[n, 3] = min(bottom, size[1])


@_jit
def project_back(
    means, quats, scales, rotation, shift, intrinsics, size,  # as in `project`
    conics,  # [N, 3]
    boxes,  # [N, 4]
    of_centres,  # [N, 2] gradient
    of_conics,  # [N, 3] gradient
    of_means,  # out [N, 3]
    of_quats,  # out [N, 4]
    of_scales,  # out [N, 3]
):  # fmt: skip
    """Gradients of means, quaternions and scales from those of centres and conics."""
    for n in nb.prange(means.shape[0]):
        of_means[n, :] = 0
        of_quats[n, :] = 0
        of_scales[n, :] = 0
        if boxes[n, 1] <= boxes[n, 0]:
            continue
        x, y, z = _to_camera(means, n, rotation, shift)
        j = _jacobian(x, y, z, intrinsics, size)
        m = _axes(quats, scales, n)
        # The covariance is K^-1, so its gradient is -K (gradient of K) K; xy stands twice in K.
        a, b, c = conics[n, 0], conics[n, 1], conics[n, 2]
        ga, gb, gc = of_conics[n, 0], 0.5 * of_conics[n, 1], of_conics[n, 2]
        pa, pb, qa, qb = a * ga + b * gb, a * gb + b * gc, b * ga + c * gb, b * gb + c * gc
        gxx, gxy, gyy = -(pa * a + pb * b), -(pa * b + pb * c), -(qa * b + qb * c)
        # covariance = (J W M)(J W M)', so the gradient of J W M is 2 G J W M, of M (J W)' that, of J that (W M)'.
        of_m = np.zeros((3, 3))
        of_j = np.zeros((2, 3))
        wm = np.zeros((3, 3))
        for r in range(3):
            for k in range(3):
                wm[r, k] = rotation[r, 0] * m[0, k] + rotation[r, 1] * m[1, k] + rotation[r, 2] * m[2, k]
        for k in range(3):
            p = j[0, 0] * wm[0, k] + j[0, 2] * wm[2, k]
            q = j[1, 1] * wm[1, k] + j[1, 2] * wm[2, k]
            gp, gq = 2 * (gxx * p + gxy * q), 2 * (gxy * p + gyy * q)
            for r in range(3):
                of_m[r, k] = (
                    gp * (j[0, 0] * rotation[0, r] + j[0, 2] * rotation[2, r])
                    + gq * (j[1, 1] * rotation[1, r] + j[1, 2] * rotation[2, r])
                )  # fmt: skip
                of_j[0, r] += gp * wm[r, k]
                of_j[1, r] += gq * wm[r, k]
        _axes_back(quats, scales, n, of_m, of_quats, of_scales)
        gx, gy, gz = _point_back(x, y, z, j, intrinsics, size, of_centres[n], of_j)
        for r in range(3):
            of_means[n, r] = rotation[0, r] * gx + rotation[1, r] * gy + rotation[2, r] * gz


@_inline
def _to_camera(means, n, rotation, shift):
    x, y, z = means[n, 0], means[n, 1], means[n, 2]
    return (
        rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z + shift[0],
        rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z + shift[1],
        rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z + shift[2],
    )


@_inline
def _limits(intrinsics, size, axis):
    """The slopes x / z (y / z) between which the projection is linearised."""
    focal, centre, extent = intrinsics[axis], intrinsics[2 + axis], size[axis]
    margin = WIDE_VIEW * 0.5 * extent
    return -(centre + margin) / focal, (extent - centre + margin) / focal


@_inline
def _jacobian(x, y, z, intrinsics, size):
    """Derivative of the pixel by the point in camera space.  # [2, 3]."""
    low_x, high_x = _limits(intrinsics, size, 0)
    low_y, high_y = _limits(intrinsics, size, 1)
    j = np.zeros((2, 3))
    j[0, 0] = intrinsics[0] / z
    j[0, 2] = -intrinsics[0] * min(max(x / z, low_x), high_x) / z
    j[1, 1] = intrinsics[1] / z
    j[1, 2] = -intrinsics[1] * min(max(y / z, low_y), high_y) / z
    return j


@_inline
def _unit(quats, n):
    w, x, y, z = quats[n, 0] * 1.0, quats[n, 1] * 1.0, quats[n, 2] * 1.0, quats[n, 3] * 1.0
    length = max(np.sqrt(w * w + x * x + y * y + z * z), 1e-30)
    return w / length, x / length, y / length, z / length, length


@_inline
def _turn(w, x, y, z):
    """Rotation of a unit quaternion.  # [3, 3]."""
    r = np.empty((3, 3))
    r[0, 0], r[0, 1], r[0, 2] = 1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)
    r[1, 0], r[1, 1], r[1, 2] = 2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)
    r[2, 0], r[2, 1], r[2, 2] = 2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)
    return r


@_inline
def _axes(quats, scales, n):
    """The Gaussian's axes, each as long as its standard deviation, as columns.  # [3, 3]."""
    w, x, y, z, _ = _unit(quats, n)
    m = _turn(w, x, y, z)
    for r in range(3):
        for k in range(3):
            m[r, k] *= scales[n, k]
    return m


@_inline
def _covariance(j, rotation, m):
    """Covariance J W M M' W' J' in the picture: xx, xy, yy."""
    xx, xy, yy = 0.0, 0.0, 0.0
    for k in range(3):
        depth = rotation[2, 0] * m[0, k] + rotation[2, 1] * m[1, k] + rotation[2, 2] * m[2, k]
        p = j[0, 0] * (rotation[0, 0] * m[0, k] + rotation[0, 1] * m[1, k] + rotation[0, 2] * m[2, k]) + j[0, 2] * depth
        q = j[1, 1] * (rotation[1, 0] * m[0, k] + rotation[1, 1] * m[1, k] + rotation[1, 2] * m[2, k]) + j[1, 2] * depth
        xx += p * p
        xy += p * q
        yy += q * q
    return xx, xy, yy


@_inline
def _axes_back(quats, scales, n, of_m, of_quats, of_scales):
    """Gradients of scales and quaternion from that of the axes [3, 3]."""
    w, x, y, z, length = _unit(quats, n)
    turn = _turn(w, x, y, z)
    g = np.empty((3, 3))  # of the rotation
    for k in range(3):
        total = 0.0
        for r in range(3):
            total += of_m[r, k] * turn[r, k]
            g[r, k] = of_m[r, k] * scales[n, k]
        of_scales[n, k] = total
    gw = 2 * (x * (g[2, 1] - g[1, 2]) + y * (g[0, 2] - g[2, 0]) + z * (g[1, 0] - g[0, 1]))
    gx = 2 * (y * (g[0, 1] + g[1, 0]) + z * (g[0, 2] + g[2, 0]) + w * (g[2, 1] - g[1, 2]) - 2 * x * (g[1, 1] + g[2, 2]))
    gy = 2 * (x * (g[0, 1] + g[1, 0]) + z * (g[1, 2] + g[2, 1]) + w * (g[0, 2] - g[2, 0]) - 2 * y * (g[0, 0] + g[2, 2]))
    gz = 2 * (x * (g[0, 2] + g[2, 0]) + y * (g[1, 2] + g[2, 1]) + w * (g[1, 0] - g[0, 1]) - 2 * z * (g[0, 0] + g[1, 1]))
    along = gw * w + gx * x + gy * y + gz * z  # length does not turn
    of_quats[n, 0] = (gw - along * w) / length
    of_quats[n, 1] = (gx - along * x) / length
    of_quats[n, 2] = (gy - along * y) / length
    of_quats[n, 3] = (gz - along * z) / length


@_inline
def _point_back(x, y, z, j, intrinsics, size, of_centre, of_j):
    """Gradient of the point in camera space from those of its pixel and of the Jacobian."""
    low_x, high_x = _limits(intrinsics, size, 0)
    low_y, high_y = _limits(intrinsics, size, 1)
    fx, fy = intrinsics[0], intrinsics[1]
    gx, gy = of_centre[0] * fx / z, of_centre[1] * fy / z
    gz = -(gx * x + gy * y) / z - (of_j[0, 0] * j[0, 0] + of_j[1, 1] * j[1, 1]) / z
    gz -= (of_j[0, 2] * j[0, 2] + of_j[1, 2] * j[1, 2]) / z
    if low_x < x / z < high_x:
        of_slope = -of_j[0, 2] * fx / z
        gx += of_slope / z
        gz -= of_slope * x / (z * z)
    if low_y < y / z < high_y:
        of_slope = -of_j[1, 2] * fy / z
        gy += of_slope / z
        gz -= of_slope * y / (z * z)
    return gx, gy, gz
