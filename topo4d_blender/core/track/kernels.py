"""The tracker's hot loops over surface samples, in numba: look at the plates, and form the normal equations.

Each has a slow plain twin in tests/core/twins.py. Threads share the work by triangle or by camera, and every sum has
one owner and one order: the same input gives the same bits on any number of threads.

Names: V vertices, T triangles, S samples, K cameras, P pairs (a sample and a camera that saw it in the reference).
"""

from __future__ import annotations

import numba as nb
import numpy as np

jit = nb.njit(parallel=True, cache=True, fastmath={"contract", "arcp", "nsz", "reassoc"}, error_model="numpy")
inline = nb.njit(inline="always", fastmath=True, error_model="numpy")


@inline
def _smoothstep(x):
    x = min(1.0, max(0.0, x))
    return x * x * (3.0 - 2.0 * x)


@inline
def _project(point, k, rotations, translations):
    """A world point in camera k's space."""
    x = translations[k, 0]
    y = translations[k, 1]
    z = translations[k, 2]
    for d in range(3):
        x += rotations[k, 0, d] * point[d]
        y += rotations[k, 1, d] * point[d]
        z += rotations[k, 2, d] * point[d]
    return x, y, z


@jit
def see_pairs(
    points,  # [S, 3] float64, world
    normals,  # [S, 3] float64, unit length
    pair_starts,  # [S + 1] int32
    pair_camera,  # [P] int32
    rotations,  # [K, 3, 3]
    translations,  # [K, 3]
    centres,  # [K, 3]
    intrinsics,  # [K, 4]
    sizes,  # [K, 2] int64
    offsets,  # [K] int64
    depth,  # [pixels] float32, the z-buffers
    distance,  # [pixels] float32: pixels to the nearest occluding edge
    reach,  # pixels: nearer than this to an occluding edge, the plate is mixed with what lies behind
    tolerance,  # world units: how far behind the z-buffer a sample may lie and still be seen
    grazing,  # cosine under which nothing is looked at
    weight,  # out [P] float32: 0 not seen .. 1 seen squarely
):
    """How well a camera sees a sample: visibility by z-buffer, angle, distance from occluding edges."""
    for s in nb.prange(points.shape[0]):
        for i in range(pair_starts[s], pair_starts[s + 1]):
            k = pair_camera[i]
            weight[i] = 0.0
            dx = centres[k, 0] - points[s, 0]
            dy = centres[k, 1] - points[s, 1]
            dz = centres[k, 2] - points[s, 2]
            cosine = (dx * normals[s, 0] + dy * normals[s, 1] + dz * normals[s, 2]) / np.sqrt(
                dx * dx + dy * dy + dz * dz
            )
            if not cosine > grazing:
                continue
            x, y, z = _project(points[s], k, rotations, translations)
            if z <= 0:
                continue
            column = int(np.floor(intrinsics[k, 0] * x / z + intrinsics[k, 2]))
            row = int(np.floor(intrinsics[k, 1] * y / z + intrinsics[k, 3]))
            if column < 1 or row < 1 or column >= sizes[k, 1] - 1 or row >= sizes[k, 0] - 1:
                continue
            pixel = offsets[k] + row * sizes[k, 1] + column
            if z > depth[pixel] + tolerance:
                continue
            weight[i] = _smoothstep(distance[pixel] / reach) * _smoothstep((cosine - grazing) / (0.8 - grazing))


@inline
def _tap(image, base, width, u, v, c):
    """Bilinear colour and its central-difference gradient at pixel index coordinates (u, v), channel c."""
    iu = int(u)
    iv = int(v)
    fu = u - iu
    fv = v - iv
    p = base + iv * width + iu
    a = image[p, c]
    b = image[p + 1, c]
    d = image[p + width, c]
    e = image[p + width + 1, c]
    top = a + fu * (b - a)
    low = d + fu * (e - d)
    value = top + fv * (low - top)
    # central differences, bilinearly interpolated: half of (row or column after) minus (row or column before)
    left = image[p - 1, c] + fv * (image[p + width - 1, c] - image[p - 1, c])
    right = image[p + 2, c] + fv * (image[p + width + 2, c] - image[p + 2, c])
    here = a + fv * (d - a)
    there = b + fv * (e - b)
    gx = 0.5 * ((1 - fu) * (there - left) + fu * (right - here))
    above = image[p - width, c] + fu * (image[p - width + 1, c] - image[p - width, c])
    below = image[p + 2 * width, c] + fu * (image[p + 2 * width + 1, c] - image[p + 2 * width, c])
    gy = 0.5 * ((1 - fv) * (low - above) + fv * (below - top))
    return value, gx, gy


@inline
def _value(image, base, width, u, v, c):
    """Bilinear colour at pixel index coordinates (u, v), channel c."""
    iu = int(u)
    iv = int(v)
    fu = u - iu
    fv = v - iv
    p = base + iv * width + iu
    top = image[p, c] + fu * (image[p + 1, c] - image[p, c])
    low = image[p + width, c] + fu * (image[p + width + 1, c] - image[p + width, c])
    return top + fv * (low - top)


@jit
def sample_colours(
    points,  # [S, 3] float64
    pair_starts,  # [S + 1] int32
    pair_camera,  # [P] int32
    rotations,
    translations,
    intrinsics,
    sizes,
    offsets,
    image,  # [pixels, 3] float32
    colour,  # out [P, 3] float32; NaN where the plate is missing or the sample leaves it
):
    """What each camera shows at each sample."""
    for s in nb.prange(points.shape[0]):
        for i in range(pair_starts[s], pair_starts[s + 1]):
            k = pair_camera[i]
            x, y, z = _project(points[s], k, rotations, translations)
            u = intrinsics[k, 0] * x / z + intrinsics[k, 2] - 0.5
            v = intrinsics[k, 1] * y / z + intrinsics[k, 3] - 0.5
            inside = z > 0 and u >= 1 and v >= 1 and u < sizes[k, 1] - 2 and v < sizes[k, 0] - 2
            for c in range(3):
                colour[i, c] = _value(image, offsets[k], sizes[k, 1], u, v, c) if inside else np.nan


@jit
def normal_equations(
    vertices,  # [V, 3] float64
    triangles,  # [T, 3] int32
    starts,  # [T + 1] int32: samples of a triangle
    barycentric,  # [S, 3] float32
    pair_starts,  # [S + 1] int32
    pair_camera,  # [P] int32
    pair_weight,  # [P] float32: how far the reference and this frame both trust this pair
    colour,  # [P, 3] float32: the reference
    gain,  # [K, 3] float32: this frame's colours are gain * reference + offset
    offset,  # [K, 3] float32
    rotations,
    translations,
    intrinsics,
    sizes,
    offsets,
    image,  # [pixels, 3] float32
    scale,  # robust scale of a colour difference: beyond it a sample counts less and less
    hessian,  # out [T, 6, 6] float64: corner pairs 00 11 22 01 12 20 x symmetric 3x3 (xx xy xz yy yz zz)
    gradient,  # out [T, 3, 3] float64: vertex x axis
    residual,  # out [P] float32: length of the colour difference, NaN where the pair was not seen
    slope,  # out [P] float32: length of the image gradient, colour a pixel of this level
):
    """Photometric normal equations J'WJ and J'Wr of sum_p w rho(I(pi(x_p)) - c_p), summed by triangle.

    rho is Geman-McClure with the colour difference taken over the three channels together, so that a tooth that
    appears is one outlier, not three. Gauss-Newton with iteratively reweighted least squares.
    """
    for t in nb.prange(triangles.shape[0]):
        for m in range(6):
            for n in range(6):
                hessian[t, m, n] = 0.0
        for m in range(3):
            for n in range(3):
                gradient[t, m, n] = 0.0
        point = np.empty(3)
        for s in range(starts[t], starts[t + 1]):
            if pair_starts[s] == pair_starts[s + 1]:
                continue
            for d in range(3):
                point[d] = (
                    barycentric[s, 0] * vertices[triangles[t, 0], d]
                    + barycentric[s, 1] * vertices[triangles[t, 1], d]
                    + barycentric[s, 2] * vertices[triangles[t, 2], d]
                )
            hxx = hxy = hxz = hyy = hyz = hzz = bx = by = bz = 0.0
            for i in range(pair_starts[s], pair_starts[s + 1]):
                residual[i] = np.nan
                slope[i] = 0.0
                if not pair_weight[i] > 0:
                    continue
                k = pair_camera[i]
                x, y, z = _project(point, k, rotations, translations)
                if z <= 0:
                    continue
                fx = intrinsics[k, 0] / z
                fy = intrinsics[k, 1] / z
                u = fx * x + intrinsics[k, 2] - 0.5
                v = fy * y + intrinsics[k, 3] - 0.5
                if not (u >= 1 and v >= 1 and u < sizes[k, 1] - 3 and v < sizes[k, 0] - 3):
                    continue
                axx = axy = ayy = rx = ry = square = 0.0
                for c in range(3):
                    value, gx, gy = _tap(image, offsets[k], sizes[k, 1], u, v, c)
                    r = value - (gain[k, c] * colour[i, c] + offset[k, c])
                    square += r * r
                    axx += gx * gx
                    axy += gx * gy
                    ayy += gy * gy
                    rx += gx * r
                    ry += gy * r
                if not square < np.inf:
                    continue
                residual[i] = np.sqrt(square)
                slope[i] = np.sqrt(axx + ayy)
                robust = scale * scale / (scale * scale + square)
                w = pair_weight[i] * robust * robust
                # rows of d(u, v)/d(world point)
                ux = fx * (rotations[k, 0, 0] - x / z * rotations[k, 2, 0])
                uy = fx * (rotations[k, 0, 1] - x / z * rotations[k, 2, 1])
                uz = fx * (rotations[k, 0, 2] - x / z * rotations[k, 2, 2])
                vx = fy * (rotations[k, 1, 0] - y / z * rotations[k, 2, 0])
                vy = fy * (rotations[k, 1, 1] - y / z * rotations[k, 2, 1])
                vz = fy * (rotations[k, 1, 2] - y / z * rotations[k, 2, 2])
                px = w * (axx * ux + axy * vx)
                py = w * (axx * uy + axy * vy)
                pz = w * (axx * uz + axy * vz)
                qx = w * (axy * ux + ayy * vx)
                qy = w * (axy * uy + ayy * vy)
                qz = w * (axy * uz + ayy * vz)
                hxx += px * ux + qx * vx
                hxy += px * uy + qx * vy
                hxz += px * uz + qx * vz
                hyy += py * uy + qy * vy
                hyz += py * uz + qy * vz
                hzz += pz * uz + qz * vz
                bx += w * (rx * ux + ry * vx)
                by += w * (rx * uy + ry * vy)
                bz += w * (rx * uz + ry * vz)
            b0 = barycentric[s, 0]
            b1 = barycentric[s, 1]
            b2 = barycentric[s, 2]
            for m in range(6):
                share = b0 * b0
                if m == 1:
                    share = b1 * b1
                elif m == 2:
                    share = b2 * b2
                elif m == 3:
                    share = b0 * b1
                elif m == 4:
                    share = b1 * b2
                elif m == 5:
                    share = b2 * b0
                hessian[t, m, 0] += share * hxx
                hessian[t, m, 1] += share * hxy
                hessian[t, m, 2] += share * hxz
                hessian[t, m, 3] += share * hyy
                hessian[t, m, 4] += share * hyz
                hessian[t, m, 5] += share * hzz
            for m in range(3):
                gradient[t, m, 0] += barycentric[s, m] * bx
                gradient[t, m, 1] += barycentric[s, m] * by
                gradient[t, m, 2] += barycentric[s, m] * bz


@jit
def gather(
    starts,  # [N + 1] int32
    members,  # [M] int32: rows of `source` that belong to each of the N owners
    source,  # [R, C] float64
    target,  # out [N, C] float64
):
    """target[n] = sum of source[m] over the members of n, in order."""
    for n in nb.prange(target.shape[0]):
        for c in range(target.shape[1]):
            total = 0.0
            for i in range(starts[n], starts[n + 1]):
                total += source[members[i], c]
            target[n, c] = total


@inline
def _row(
    i,
    diagonal,
    block_starts,
    block_column,
    block_edge,
    edge_blocks,
    prior_starts,
    prior_column,
    prior_value,
    stiffness,
    x,
):
    """Row i of (H + stiffness * B (x) I3) x, for the mesh-shaped matrix H and the scalar prior B."""
    y0 = y1 = y2 = 0.0
    for j in range(prior_starts[i], prior_starts[i + 1]):
        n = prior_column[j]
        b = prior_value[j]
        y0 += b * x[n, 0]
        y1 += b * x[n, 1]
        y2 += b * x[n, 2]
    y0 *= stiffness
    y1 *= stiffness
    y2 *= stiffness
    a = diagonal[i]
    y0 += a[0] * x[i, 0] + a[1] * x[i, 1] + a[2] * x[i, 2]
    y1 += a[1] * x[i, 0] + a[3] * x[i, 1] + a[4] * x[i, 2]
    y2 += a[2] * x[i, 0] + a[4] * x[i, 1] + a[5] * x[i, 2]
    for j in range(block_starts[i], block_starts[i + 1]):
        a = edge_blocks[block_edge[j]]
        n = block_column[j]
        y0 += a[0] * x[n, 0] + a[1] * x[n, 1] + a[2] * x[n, 2]
        y1 += a[1] * x[n, 0] + a[3] * x[n, 1] + a[4] * x[n, 2]
        y2 += a[2] * x[n, 0] + a[4] * x[n, 1] + a[5] * x[n, 2]
    return y0, y1, y2


@jit
def multiply(
    diagonal,  # [V, 6] float64: symmetric blocks (xx xy xz yy yz zz)
    block_starts,  # [V + 1] int32
    block_column,  # [2E] int32
    block_edge,  # [2E] int32
    edge_blocks,  # [E, 6] float64: symmetric, the same for both directions
    prior_starts,  # [V + 1] int32: the prior's scalar matrix B, CSR
    prior_column,  # [N] int32
    prior_value,  # [N] float64
    stiffness,  # the prior's factor
    x,  # [V, 3]
    y,  # out [V, 3]
):
    """y = (H + stiffness * B (x) I3) x."""
    for i in nb.prange(x.shape[0]):
        y[i, 0], y[i, 1], y[i, 2] = _row(
            i, diagonal, block_starts, block_column, block_edge, edge_blocks, prior_starts, prior_column, prior_value,
            stiffness, x,
        )  # fmt: skip


PARTS = 64  # sums are made in this many parts, each by one thread, so that their order never changes


@jit
def conjugate_gradients(
    diagonal, block_starts, block_column, block_edge, edge_blocks, prior_starts, prior_column, prior_value, stiffness,
    inverse,  # [V, 3, 3]: the preconditioner, inverse diagonal blocks of the whole matrix
    residual,  # [V, 3]: in the right hand side, out what is left of it
    tolerance,  # of the residual's preconditioned norm, relative to the right hand side's
    iterations,
    x,  # out [V, 3]
):  # fmt: skip
    """Solve (H + stiffness * B (x) I3) x = residual by block-Jacobi preconditioned CG; returns the steps taken."""
    count = x.shape[0]
    z = np.empty_like(x)
    p = np.zeros_like(x)
    q = np.empty_like(x)
    sums = np.empty(PARTS)
    x[:] = 0.0
    rz = 1.0
    first = 0.0
    for step in range(iterations):
        for part in nb.prange(PARTS):
            total = 0.0
            for i in range(part * count // PARTS, (part + 1) * count // PARTS):
                for d in range(3):
                    z[i, d] = (
                        inverse[i, d, 0] * residual[i, 0]
                        + inverse[i, d, 1] * residual[i, 1]
                        + inverse[i, d, 2] * residual[i, 2]
                    )
                    total += z[i, d] * residual[i, d]
            sums[part] = total
        new = sums.sum()
        if step == 0:
            first = new
        if not new > tolerance * tolerance * first:
            return step
        beta = new / rz if step > 0 else 0.0
        rz = new
        for i in nb.prange(count):
            for d in range(3):
                p[i, d] = z[i, d] + beta * p[i, d]
        for part in nb.prange(PARTS):
            total = 0.0
            for i in range(part * count // PARTS, (part + 1) * count // PARTS):
                q[i, 0], q[i, 1], q[i, 2] = _row(
                    i, diagonal, block_starts, block_column, block_edge, edge_blocks, prior_starts, prior_column,
                    prior_value, stiffness, p,
                )  # fmt: skip
                total += p[i, 0] * q[i, 0] + p[i, 1] * q[i, 1] + p[i, 2] * q[i, 2]
            sums[part] = total
        alpha = rz / sums.sum()
        for i in nb.prange(count):
            for d in range(3):
                x[i, d] += alpha * p[i, d]
                residual[i, d] -= alpha * q[i, d]
    return iterations
