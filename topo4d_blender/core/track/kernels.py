"""The tracker's hot loops, in numba: draw the remembered face where the mesh now is, and form the normal equations.

One more, which runs once a reference, is in detail.py. All but two have slow plain twins in tests/core/twins.py;
`locate` and `flow_equations` are held to formulas. Threads share the work by triangle, by vertex or by rows of pixels,
and every sum has one owner and one order: the same input gives the same bits on any number of threads.

Indices of pixels are unsigned in the innermost loops: of signed ones numba asks each time whether they are negative.

Names: V vertices, T triangles, K cameras, P pixels of all cameras together (flat buffers, see pyramid.LevelCameras).
"""

from __future__ import annotations

import numba as nb
import numpy as np

jit = nb.njit(
    parallel=True, cache=True, nogil=True, fastmath={"contract", "arcp", "nsz", "reassoc"}, error_model="numpy"
)
inline = nb.njit(inline="always", fastmath=True, error_model="numpy")
BANDS = 8  # bands of rows a camera, to share the work evenly
_HALF, _ONE = np.float32(0.5), np.float32(1.0)  # single precision throughout the pixels: a double makes doubles of all


@jit
def locate(
    vertices,  # [V, 3] float64
    rotations,  # [K, 3, 3] float64
    translations,  # [K, 3] float64
    intrinsics,  # [K, 4] float64: fx fy cx cy
    points,  # out [K, V, 3] float32: in each camera's space
    pixels,  # out [K, V, 2] float32: in its picture
    depth,  # out [K, V] float32
):
    """The vertices in every camera; no lens distortion."""
    parts = 8
    count = vertices.shape[0]
    for job in nb.prange(rotations.shape[0] * parts):
        k = job // parts
        part = job % parts
        for v in range(part * count // parts, (part + 1) * count // parts):
            x = translations[k, 0]
            y = translations[k, 1]
            z = translations[k, 2]
            for c in range(3):
                x += rotations[k, 0, c] * vertices[v, c]
                y += rotations[k, 1, c] * vertices[v, c]
                z += rotations[k, 2, c] * vertices[v, c]
            points[k, v, 0] = x
            points[k, v, 1] = y
            points[k, v, 2] = z
            depth[k, v] = z
            pixels[k, v, 0] = x / z * intrinsics[k, 0] + intrinsics[k, 2]
            pixels[k, v, 1] = y / z * intrinsics[k, 1] + intrinsics[k, 3]


@jit
def compare(
    pixels,  # [K, V, 2] float32: where the vertices now are in the pictures
    depth,  # [K, V] float32
    remembered,  # [K, V, 3] float32: where they were in the reference frame, in each camera's space
    triangles,  # [T, 3] int32
    looks,  # [T] float32: 0 where the artist said not to look
    sizes,  # [K, 2] int64
    offsets,  # [K] int64
    intrinsics,  # [K, 4] float64
    ids,  # [P] int32: the triangle now seen at each pixel
    plate,  # [P] float32: this frame
    reference,  # [P] float32: the reference frame
    detail,  # [P] float32: the same with the detail that slopes are made of, see detail.py
    reference_depth,  # [P] float32: its z-buffer
    tolerance,  # world units: how far from the z-buffer a point may lie and still be what the reference saw
    light,  # [K, V] float32: how much brighter the vertices are now, see relight.py
    stack,  # out [P, 3] float32: mask * (plate - drawn), mask * (detail + half of that difference), mask
    known,  # out [P] bool: where the mask is not 0
):
    """Draw what each camera remembers onto the mesh where it now is, and hold it against the plate.

    Every pixel is followed to its point on the surface, to where that point was in the reference frame, and to the
    colour the same camera saw there, in today's light. Where the reference did not see the point, the mask is 0.
    """
    for job in nb.prange(sizes.shape[0] * BANDS):
        k = job // BANDS
        band = job % BANDS
        height = sizes[k, 0]
        width = sizes[k, 1]
        fx, fy = np.float32(intrinsics[k, 0]), np.float32(intrinsics[k, 1])
        cx, cy = np.float32(intrinsics[k, 2]) - _HALF, np.float32(intrinsics[k, 3]) - _HALF
        far = np.float32(tolerance)
        last = np.int32(-1)
        a = b = c_ = np.int32(0)
        x2 = y2 = ax = ay = bx = by = inv = inv0 = inv1 = inv2 = np.float32(0.0)
        for row in range(band * height // BANDS, (band + 1) * height // BANDS):
            for column in range(width):
                p = np.uintp(offsets[k] + row * width + column)
                stack[p, 0] = stack[p, 1] = stack[p, 2] = 0.0
                known[p] = False
                t = ids[p]
                if t < 0 or looks[t] <= 0:
                    continue
                if t != last:
                    last = t
                    a = triangles[t, 0]
                    b = triangles[t, 1]
                    c_ = triangles[t, 2]
                    x2, y2, ax, ay, bx, by, inv = _corners(pixels[k], a, b, c_)
                    inv0, inv1, inv2 = _ONE / depth[k, a], _ONE / depth[k, b], _ONE / depth[k, c_]
                near, w0, w1, w2, _ = _barycentric(column, row, x2, y2, ax, ay, bx, by, inv, inv0, inv1, inv2)
                if not near:
                    continue  # the triangle has moved away since it was seen here
                z = w0 * remembered[k, a, 2] + w1 * remembered[k, b, 2] + w2 * remembered[k, c_, 2]
                if not z > 0:
                    continue
                x = w0 * remembered[k, a, 0] + w1 * remembered[k, b, 0] + w2 * remembered[k, c_, 0]
                y = w0 * remembered[k, a, 1] + w1 * remembered[k, b, 1] + w2 * remembered[k, c_, 1]
                inverse = _ONE / z
                u = fx * x * inverse + cx
                v = fy * y * inverse + cy
                if not (u >= 1 and v >= 1 and u < width - 2 and v < height - 2):
                    continue
                iu = int(u)
                iv = int(v)
                q = offsets[k] + iv * width + iu
                if hidden(reference_depth, q, width, z, far):
                    continue
                brighter = w0 * light[k, a] + w1 * light[k, b] + w2 * light[k, c_]
                drawn = brighter * cubic(reference, q, width, u - np.float32(iu), v - np.float32(iv))
                fine = brighter * cubic(detail, q, width, u - np.float32(iu), v - np.float32(iv))
                if not abs(plate[p] + drawn) < 1e30:  # a plate is missing
                    continue
                stack[p, 0] = looks[t] * (plate[p] - drawn)
                stack[p, 1] = looks[t] * (fine + _HALF * (plate[p] - drawn))
                stack[p, 2] = looks[t]
                known[p] = True


@inline
def _corners(places, a, b, c):
    """What `_barycentric` needs of a triangle with its corners `a`, `b`, `c` at `places` [V, 2] in the picture."""
    x2 = places[c, 0]
    y2 = places[c, 1]
    ax = places[a, 0] - x2
    ay = places[a, 1] - y2
    bx = places[b, 0] - x2
    by = places[b, 1] - y2
    return x2, y2, ax, ay, bx, by, _ONE / (ax * by - bx * ay)


@inline
def _barycentric(column, row, x2, y2, ax, ay, bx, by, inv, inv0, inv1, inv2):
    """At a pixel's centre: is it in or near the triangle, the corners' weights, perspective-correct, and 1 / z.

    `inv0` ... are one over the corners' depths.
    """
    px = np.float32(column) + _HALF - x2
    py = np.float32(row) + _HALF - y2
    w0 = (px * by - py * bx) * inv
    w1 = (py * ax - px * ay) * inv
    near = w0 > -1 and w0 < 2 and w1 > -1 and w1 < 2 and w0 + w1 > -1 and w0 + w1 < 2
    w0, w1, w2 = w0 * inv0, w1 * inv1, (_ONE - w0 - w1) * inv2
    inverse = w0 + w1 + w2
    z = _ONE / inverse
    return near, w0 * z, w1 * z, w2 * z, inverse


@inline
def hidden(zbuffer, q, width, z, far):
    """Whether a point at depth `z` is not what the four pixels right of and below `q` show, each to within `far`."""
    return (
        abs(zbuffer[q] - z) > far
        or abs(zbuffer[q + 1] - z) > far
        or abs(zbuffer[q + width] - z) > far
        or abs(zbuffer[q + width + 1] - z) > far
    )


@inline
def _cubic_weights(f):
    """Catmull-Rom weights of the four neighbours around a fraction `f` in 0..1 (Keys 1981, a = -1/2)."""
    h2 = _HALF * f * f
    h3 = h2 * f
    two, three = np.float32(2.0), np.float32(3.0)
    return (
        two * h2 - _HALF * f - h3,
        _ONE - (two + three) * h2 + three * h3,
        _HALF * f + (two + two) * h2 - three * h3,
        h3 - h2,
    )


@inline
def cubic(image, q, width, fu, fv):
    """Cubic interpolation at fractions (fu, fv) right of and below pixel q.

    That must lie a row and a column within its picture, and two at the other end: nothing is asked here.
    """
    a0, a1, a2, a3 = _cubic_weights(fu)
    b0, b1, b2, b3 = _cubic_weights(fv)
    one, two, three, wide = np.uintp(1), np.uintp(2), np.uintp(3), np.uintp(width)
    r = np.uintp(q) - wide - one
    total = b0 * (a0 * image[r] + a1 * image[r + one] + a2 * image[r + two] + a3 * image[r + three])
    r += wide
    total += b1 * (a0 * image[r] + a1 * image[r + one] + a2 * image[r + two] + a3 * image[r + three])
    r += wide
    total += b2 * (a0 * image[r] + a1 * image[r + one] + a2 * image[r + two] + a3 * image[r + three])
    r += wide
    total += b3 * (a0 * image[r] + a1 * image[r + one] + a2 * image[r + two] + a3 * image[r + three])
    return total


@nb.njit(cache=True, nogil=True)
def list_pixels(
    ids,  # [P] int32
    starts,  # out [T + 1] int32
    pixels,  # out [P] int32: the pixels of each triangle, ascending
):
    """For each triangle the pixels that show it (counting sort)."""
    starts[:] = 0
    for p in range(ids.shape[0]):
        if ids[p] >= 0:
            starts[ids[p] + 1] += 1
    for t in range(starts.shape[0] - 1):
        starts[t + 1] += starts[t]
    for p in range(ids.shape[0]):
        if ids[p] >= 0:
            pixels[starts[ids[p]]] = p
            starts[ids[p]] += 1
    for t in range(starts.shape[0] - 1, 0, -1):
        starts[t] = starts[t - 1]
    starts[0] = 0


@jit
def normal_equations(
    starts,  # [T + 1] int32
    members,  # [P] int32: the pixels of each triangle
    camera_of,  # [P] int16
    triangles,  # [T, 3] int32
    pixels,  # [K, V, 2] float32: as `compare`'s
    depth,  # [K, V] float32
    rotations,  # [K, 3, 3] float64
    intrinsics,  # [K, 4] float64
    sizes,  # [K, 2] int64
    offsets,  # [K] int64
    stack,  # [P, 3] float32: `compare`'s, blurred
    known,  # [P] bool: `compare`'s
    scale,  # robust scale of a colour difference: beyond it a pixel counts less and less
    hessian,  # out [T, 6, 6] float64: corner pairs 00 11 22 01 12 20 x symmetric 3x3 (xx xy xz yy yz zz)
    gradient,  # out [T, 3, 3] float64: corner x axis
    residual,  # out [P] float32: size of each member's difference; NaN where there is none or too little around
    slope,  # out [P] float32: length of each member's image gradient, brightness a pixel, where there is a residual
    seen,  # out [T] bool: which triangles have a member that is known
):
    """Photometric normal equations J'WJ and J'Wr of sum_p w rho(D_p / M_p), summed by triangle.

    D is the blurred masked difference, M the blurred mask, so that nothing outside the mask leaks in: at the true
    surface D is zero however much is blurred. The image slope is that of the mean of plate and drawing (efficient
    second-order minimisation, Benhimane and Malis 2004), with the detail of all cameras (detail.py). rho is
    Geman-McClure. Every pixel of a triangle is taken to lie on a camera's ray through the triangle's middle when it is
    asked which way in the world the slope points (its depth is its own): then a triangle's pixels are summed in the
    picture, and turned to the world once a camera. Off by the angle between the two rays, along the line of sight.
    """
    turn = rotations.astype(np.float32)
    usual = np.float32(scale * scale)
    for t in nb.prange(triangles.shape[0]):
        for m in range(6):
            for n in range(6):
                hessian[t, m, n] = 0.0
        for m in range(3):
            for n in range(3):
                gradient[t, m, n] = 0.0
        seen[t] = False
        sums = np.zeros(24, np.float32)  # in the picture, of one camera: see `_add`
        last = -1
        a = triangles[t, 0]
        b = triangles[t, 1]
        c_ = triangles[t, 2]
        x2 = y2 = ax = ay = bx = by = inv = inv0 = inv1 = inv2 = np.float32(0.0)
        for j in range(starts[t], starts[t + 1]):
            p = np.uintp(members[j])
            residual[j] = np.nan
            if not known[p]:
                continue
            seen[t] = True
            k = camera_of[p]
            width = sizes[k, 1]
            inside = np.int64(p) - offsets[k]
            row = inside // width
            column = inside - row * width
            if column < 1 or row < 1 or column >= width - 1 or row >= sizes[k, 0] - 1:
                continue
            one, wide = np.uintp(1), np.uintp(width)
            mask = stack[p, 2]
            left, right, above, below = stack[p - one, 2], stack[p + one, 2], stack[p - wide, 2], stack[p + wide, 2]
            least = np.float32(0.05)
            if mask < least or left < least or right < least or above < least or below < least:
                continue
            r = stack[p, 0] / mask
            gx = _HALF * (stack[p + one, 1] / right - stack[p - one, 1] / left)
            gy = _HALF * (stack[p + wide, 1] / below - stack[p - wide, 1] / above)
            residual[j] = abs(r)
            slope[j] = np.sqrt(gx * gx + gy * gy)
            robust = usual / (usual + r * r)
            w = mask * robust * robust
            if k != last:
                if last >= 0:
                    _to_world(sums, hessian[t], gradient[t], turn[last], intrinsics[last], pixels[last], a, b, c_)
                last = k
                x2, y2, ax, ay, bx, by, inv = _corners(pixels[k], a, b, c_)
                inv0, inv1, inv2 = _ONE / depth[k, a], _ONE / depth[k, b], _ONE / depth[k, c_]
            _, b0, b1, b2, inverse = _barycentric(column, row, x2, y2, ax, ay, bx, by, inv, inv0, inv1, inv2)
            gx *= inverse
            gy *= inverse
            _add(sums, b0, b1, b2, w * gx * gx, w * gx * gy, w * gy * gy, w * r * gx, w * r * gy)
        if last >= 0:
            _to_world(sums, hessian[t], gradient[t], turn[last], intrinsics[last], pixels[last], a, b, c_)


@inline
def _add(sums, b0, b1, b2, xx, xy, yy, x, y):
    """A pixel's products of slopes and its slopes times difference, shared out among the corners, to `sums` [24]."""
    s00, s11, s22, s01, s12, s20 = b0 * b0, b1 * b1, b2 * b2, b0 * b1, b1 * b2, b2 * b0
    sums[0] += s00 * xx
    sums[1] += s11 * xx
    sums[2] += s22 * xx
    sums[3] += s01 * xx
    sums[4] += s12 * xx
    sums[5] += s20 * xx
    sums[6] += s00 * xy
    sums[7] += s11 * xy
    sums[8] += s22 * xy
    sums[9] += s01 * xy
    sums[10] += s12 * xy
    sums[11] += s20 * xy
    sums[12] += s00 * yy
    sums[13] += s11 * yy
    sums[14] += s22 * yy
    sums[15] += s01 * yy
    sums[16] += s12 * yy
    sums[17] += s20 * yy
    sums[18] += b0 * x
    sums[19] += b1 * x
    sums[20] += b2 * x
    sums[21] += b0 * y
    sums[22] += b1 * y
    sums[23] += b2 * y


@inline
def _to_world(sums, hessian, gradient, turn, lens, places, a, b, c):
    """Add a camera's `sums` [24] over a triangle's pixels to its `hessian` [6, 6] and `gradient` [3, 3]; clear them.

    z d(u) / d(world point) and z d(v) / d(world point), on the ray through the middle of the triangle in the picture.
    """
    third = np.float32(1.0 / 3.0)
    fx, fy = np.float32(lens[0]), np.float32(lens[1])
    x = (third * (places[a, 0] + places[b, 0] + places[c, 0]) - np.float32(lens[2])) / fx
    y = (third * (places[a, 1] + places[b, 1] + places[c, 1]) - np.float32(lens[3])) / fy
    ux = fx * (turn[0, 0] - x * turn[2, 0])
    uy = fx * (turn[0, 1] - x * turn[2, 1])
    uz = fx * (turn[0, 2] - x * turn[2, 2])
    vx = fy * (turn[1, 0] - y * turn[2, 0])
    vy = fy * (turn[1, 1] - y * turn[2, 1])
    vz = fy * (turn[1, 2] - y * turn[2, 2])
    for m in range(6):
        xx, xy, yy = sums[m], sums[6 + m], sums[12 + m]
        ax, ay, az = xx * ux + xy * vx, xx * uy + xy * vy, xx * uz + xy * vz
        bx, by, bz = xy * ux + yy * vx, xy * uy + yy * vy, xy * uz + yy * vz
        hessian[m, 0] += ux * ax + vx * bx
        hessian[m, 1] += ux * ay + vx * by
        hessian[m, 2] += ux * az + vx * bz
        hessian[m, 3] += uy * ay + vy * by
        hessian[m, 4] += uy * az + vy * bz
        hessian[m, 5] += uz * az + vz * bz
    for m in range(3):
        gx, gy = sums[18 + m], sums[21 + m]
        gradient[m, 0] += gx * ux + gy * vx
        gradient[m, 1] += gx * uy + gy * vy
        gradient[m, 2] += gx * uz + gy * vz
    sums[:] = 0.0


@jit
def flow_equations(
    points,  # [K, V, 3] float32: camera space
    flow,  # [K, V, 2] float32: pixels
    known,  # [K, V] bool
    rotations,  # [K, 3, 3] float64
    intrinsics,  # [K, 4] float64
    motion,  # [V, 3] float64: where the equations are made, from the points, world
    outlier,  # pixels: scale of Geman-McClure
    diagonal,  # out [V, 6] float64 (xx xy xz yy yz zz)
    gradient,  # out [V, 3] float64
):
    """J'WJ and J'W(J motion - flow) of every vertex by itself, J = d(pixel) / d(world point) at the points."""
    for i in nb.prange(motion.shape[0]):
        for c in range(6):
            diagonal[i, c] = 0.0
        for c in range(3):
            gradient[i, c] = 0.0
        for k in range(points.shape[0]):
            z = points[k, i, 2]
            if not (known[k, i] and z > 0):
                continue
            jacobian = np.empty((2, 3))
            left = np.empty(2)
            for a in range(2):
                left[a] = -flow[k, i, a]
                for c in range(3):
                    slant = rotations[k, a, c] - points[k, i, a] / z * rotations[k, 2, c]
                    jacobian[a, c] = intrinsics[k, a] / z * slant
                    left[a] += jacobian[a, c] * motion[i, c]
            w = 1 / (1 + (left[0] * left[0] + left[1] * left[1]) / (outlier * outlier))
            w *= w
            for a in range(2):
                x, y, z = jacobian[a]
                diagonal[i, 0] += w * x * x
                diagonal[i, 1] += w * x * y
                diagonal[i, 2] += w * x * z
                diagonal[i, 3] += w * y * y
                diagonal[i, 4] += w * y * z
                diagonal[i, 5] += w * z * z
                for c in range(3):
                    gradient[i, c] += w * jacobian[a, c] * left[a]
