"""The tracker's hot loops as torch operations, all cameras of one size in one call: twins of kernels.py on any device.

Nothing here waits for the device, and no sum depends on the order of threads: pixels are sorted by triangle once, when
it is found what is seen (`list_pixels`), and every sum is made segment by segment.

Names: K cameras of one size [H, W], V vertices, T triangles, N pixels that look at the mesh.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from .appearance import shrink_factor
from .torch_views import Views

LEAST_MASK = 0.05


@dataclass(frozen=True)
class Seen:
    """The pixels at which cameras see triangles that are looked at, by triangle, then by pixel."""

    pixel: Tensor  # [N] int64, in [K, H, W] laid flat
    view: Tensor  # [N] int64
    centre: Tensor  # [N, 2] float32: its centre, x and y
    corners: Tensor  # [N, 3] int64: vertices, in [K, V] laid flat
    looks: Tensor  # [N] float32
    counts: Tensor  # [T] int64: how many pixels each triangle has
    inner: Tensor  # [N] bool: not at the picture's border
    lens: Tensor  # [4, N] float32: fx fy cx cy of its camera
    across: Tensor  # [N, 3] float32: z d(u) / d(world point)
    down: Tensor  # [N, 3] float32: z d(v) / d(world point)


def list_pixels(ids: Tensor, views: Views, triangles: Tensor, looks: Tensor, vertex_count: int) -> Seen:
    """The pixels that see something, from the z-buffer's `ids` [K, H, W]; the host waits for their number.

    Whatever of a pixel does not depend on where the vertices are is made here, once for all steps.

    `triangles` [T, 3] int64, `looks` [T] float32: how far each triangle looks.
    """
    _, height, width = ids.shape
    flat = ids.flatten()
    pixel = ((flat >= 0) & (looks[flat.clamp(min=0)] > 0)).nonzero()[:, 0]
    triangle, order = torch.sort(flat[pixel], stable=True)
    pixel = pixel[order]
    view, inside = pixel // (height * width), pixel % (height * width)
    row, column = inside // width, inside % width
    centre = torch.stack([column, row], 1).float() + 0.5
    lens = views.intrinsics.float().T.contiguous()[:, view]  # by rows: a gather of 16 bytes is slow on CUDA
    fx, fy, cx, cy = lens
    turn = views.rotations.float().flatten(1).T.contiguous()[:, view]  # [9, N]
    xz, yz = (centre[:, 0] - cx) / fx, (centre[:, 1] - cy) / fy
    ends = torch.searchsorted(triangle, torch.arange(len(triangles), device=ids.device), right=True)
    return Seen(
        pixel=pixel,
        view=view,
        centre=centre,
        corners=triangles[triangle] + (view * vertex_count)[:, None],
        looks=looks[triangle],
        counts=ends.diff(prepend=ends.new_zeros(1)),
        inner=(column >= 1) & (row >= 1) & (column < width - 1) & (row < height - 1),
        lens=lens,
        across=(fx * (turn[0:3] - xz * turn[6:9])).T.contiguous(),
        down=(fy * (turn[3:6] - yz * turn[6:9])).T.contiguous(),
    )


def compare(
    seen: Seen,
    views: Views,
    pixels: Tensor,  # [K, V, 2] float32: where the vertices now are in the pictures
    depth: Tensor,  # [K, V] float32
    remembered: Tensor,  # [K, V, 3] float32: where they were in the reference frame, in each camera's space
    plate: Tensor,  # [K, H, W] float32: this frame
    reference: Tensor,  # [K, H, W] float32: the reference frame
    detail: Tensor,  # [K, H, W] float32: the same with the detail that slopes are made of, see detail.py
    reference_depth: Tensor,  # [K, H, W] float32: its z-buffer
    tolerance: float,  # world units: how far from the z-buffer a point may lie and still be what the reference saw
    light: Tensor,  # [K, V] float32: how much brighter the vertices are now, see relight.py
) -> tuple[Tensor, Tensor]:
    """As `kernels.compare`: barycentric [N, 3] and, times the mask, values [N, 3]: difference, for slopes, 1."""
    width = views.width
    x, y = pixels.flatten(0, 1)[seen.corners].unbind(2)  # [N, 3] each
    ax, ay, bx, by = x[:, 0] - x[:, 2], y[:, 0] - y[:, 2], x[:, 1] - x[:, 2], y[:, 1] - y[:, 2]
    px, py = seen.centre[:, 0] - x[:, 2], seen.centre[:, 1] - y[:, 2]
    area = ax * by - bx * ay
    w0, w1 = (px * by - py * bx) / area, (py * ax - px * ay) / area
    near = (w0 > -1) & (w0 < 2) & (w1 > -1) & (w1 < 2) & (w0 + w1 > -1) & (w0 + w1 < 2)  # else it has moved away
    weights = torch.stack([w0, w1, 1 - w0 - w1], 1) / depth.flatten()[seen.corners]
    weights = torch.where(near[:, None], weights / weights.sum(1, keepdim=True), 0.0)
    point = (weights[..., None] * remembered.flatten(0, 1)[seen.corners]).sum(1)  # [N, 3]
    fx, fy, cx, cy = seen.lens
    z = point[:, 2]
    u, v = fx * point[:, 0] / z + cx - 0.5, fy * point[:, 1] / z + cy - 0.5
    known = near & (z > 0) & (u >= 1) & (v >= 1) & (u < width - 2) & (v < views.height - 2)
    u, v = torch.where(known, u, 1.0), torch.where(known, v, 1.0)
    left, top = u.long(), v.long()
    corner = seen.view * (views.height * width) + top * width + left
    buffer = reference_depth.flatten()
    for step in (0, 1, width, width + 1):
        known = known & ((buffer[corner + step] - z).abs() <= tolerance)
    brighter = (weights * light.flatten()[seen.corners]).sum(1)
    drawn, fine = (
        brighter * _cubic(image.flatten(), corner, width, u - left, v - top) for image in (reference, detail)
    )
    now = plate.flatten()[seen.pixel]
    known = known & ((now + drawn).abs() < 1e30)  # not so: a plate is missing
    mask = torch.where(known, seen.looks, 0.0)
    values = torch.stack([now - drawn, fine + 0.5 * (now - drawn), torch.ones_like(now)], 1)
    return weights, torch.where(known[:, None], values, 0.0) * mask[:, None]


def _cubic(image: Tensor, corner: Tensor, width: int, fu: Tensor, fv: Tensor) -> Tensor:
    """Catmull-Rom interpolation [N] of a flat `image` right of and below pixels (torch's own cubic has a = -3/4)."""
    across, down = _cubic_weights(fu), _cubic_weights(fv)
    total = torch.zeros_like(fu)
    for i, b in enumerate(down):
        row = corner + (i - 1) * width
        total = total + b * sum(a * image[row + j - 1] for j, a in enumerate(across))
    return total


def _cubic_weights(f: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Of the four neighbours around fractions [N] in 0..1 (Keys 1981, a = -1/2)."""
    f2 = f * f
    f3 = f2 * f
    return -0.5 * f + f2 - 0.5 * f3, 1.0 - 2.5 * f2 + 1.5 * f3, 0.5 * f + 2.0 * f2 - 1.5 * f3, 0.5 * f3 - 0.5 * f2


def spread(seen: Seen, values: Tensor, views: Views) -> Tensor:
    """`values` [N, 3] as pictures.  # [K, 3, H, W]."""
    stack = values.new_zeros(len(views.cameras) * views.height * views.width, 3)
    stack[seen.pixel] = values
    return stack.view(-1, views.height, views.width, 3).permute(0, 3, 1, 2).contiguous()


def blur(pictures: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of `pictures` [K, C, H, W], nothing beyond the borders; as wide as OpenCV's of floats."""
    radius = int(round(sigma * 8 + 1) | 1) // 2
    offsets = torch.arange(-radius, radius + 1, device=pictures.device, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = (kernel / kernel.sum()).view(1, 1, 1, -1)
    flat = pictures.flatten(0, 1)[:, None]
    # Not in the 10 bits of tf32, which cuDNN would take where it may.
    with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        flat = F.conv2d(flat, kernel, padding=(0, radius))
        flat = F.conv2d(flat, kernel.transpose(2, 3), padding=(radius, 0))
    return flat.view_as(pictures)


def subtract_shading(stack: Tensor, sigma: float) -> Tensor:
    """Take from the differences what changes slowly over the picture (see `appearance`).  # [K, 3, H, W]."""
    height, width = stack.shape[2:]
    factor = shrink_factor(sigma)
    small = F.pad(stack[:, ::2], (0, -width % factor, 0, -height % factor))
    small = blur(F.avg_pool2d(small, factor) if factor > 1 else small, sigma / factor)
    slow = small[:, :1] / small[:, 1:].clamp(min=1e-6)
    if factor > 1:
        slow = F.interpolate(slow, scale_factor=factor, mode="bilinear", align_corners=False)
    difference = stack[:, :1] - slow[:, :, :height, :width] * stack[:, 2:]
    return torch.cat([difference, stack[:, 1:]], 1)


def sum_segments(values: Tensor, counts: Tensor) -> Tensor:
    """Sums [S, C] of as many rows of `values` [R, C] as `counts` [S] says, each in order."""
    return torch.segment_reduce(values, "sum", lengths=counts, axis=0, unsafe=True)


def median(values: Tensor) -> Tensor:
    """Median of the `values` [N] that are not NaN; NaN if none is (torch's own waits for the device)."""
    if not len(values):
        return values.new_full((), torch.nan)
    ordered, count = values.sort().values, (~values.isnan()).sum()
    middle = torch.stack([(count - 1).clamp(min=0) // 2, count // 2])
    return ordered[middle].mean()


def symmetric(six: Tensor) -> Tensor:
    """(xx xy xz yy yz zz) as matrices.  # [N, 6] -> [N, 3, 3]."""
    xx, xy, xz, yy, yz, zz = six.unbind(1)
    return torch.stack([xx, xy, xz, xy, yy, yz, xz, yz, zz], 1).view(-1, 3, 3)


def normal_equations(
    seen: Seen,
    views: Views,
    depth: Tensor,  # [K, V] float32
    barycentric: Tensor,  # [N, 3] float32
    member: Tensor,  # [N] bool: what `compare` knows
    stack: Tensor,  # [K, 3, H, W] float32: `compare`'s, blurred
    scale: Tensor,  # robust scale of a colour difference
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Photometric normal equations by triangle: (hessian [T, 6, 6], gradient [T, 3, 3], residual [N], slope [N]).

    As `kernels.normal_equations`, but for the ray of every pixel where that takes one a triangle; residual and slope
    are NaN where there are none.
    """
    here = [channel.flatten() for channel in stack.unbind(1)]
    at = torch.where(seen.inner, seen.pixel, views.width + 1)  # whose neighbours are pixels of some picture
    below, left = views.width, -1
    mask = here[2][at]
    around = {step: here[2][at + step] for step in (left, -left, -below, below)}
    good = member & seen.inner & (mask >= LEAST_MASK)
    for value in around.values():
        good = good & (value >= LEAST_MASK)
    gx = 0.5 * (here[1][at + 1] / around[1] - here[1][at - 1] / around[-1])
    gy = 0.5 * (here[1][at + below] / around[below] - here[1][at - below] / around[-below])
    r = here[0][at] / mask
    r, gx, gy = (torch.where(good, value, 0.0) for value in (r, gx, gy))
    weight = torch.where(good, mask, 0.0) * (scale**2 / (scale**2 + r**2)) ** 2
    jacobian = _jacobian(seen, depth, barycentric, gx, gy)
    jacobian = torch.where(good[:, None], jacobian, 0.0)
    x, y, z = jacobian.unbind(1)
    outer = torch.stack([x * x, x * y, x * z, y * y, y * z, z * z], 1) * weight[:, None]  # [N, 6]
    a, b, c = barycentric.unbind(1)
    shares = torch.stack([a * a, b * b, c * c, a * b, b * c, c * a], 1)  # [N, 6], as in the kernels' blocks
    rows = (shares[:, :, None] * outer[:, None]).flatten(1)
    right = (barycentric[:, :, None] * (jacobian * (weight * r)[:, None])[:, None]).flatten(1)
    sums = sum_segments(torch.cat([rows, right], 1), seen.counts)
    residual = torch.where(good, r.abs(), torch.nan)
    slope = torch.where(good, torch.sqrt(gx**2 + gy**2), torch.nan)
    return sums[:, :36].view(-1, 6, 6), sums[:, 36:].view(-1, 3, 3), residual, slope


def _jacobian(seen: Seen, depth: Tensor, barycentric: Tensor, gx: Tensor, gy: Tensor) -> Tensor:
    """d(brightness) / d(world point), through d(u, v) / d(world point), for slopes `gx`, `gy` [N].  # [N, 3]."""
    z = (barycentric * depth.flatten()[seen.corners]).sum(1)
    return (gx / z)[:, None] * seen.across + (gy / z)[:, None] * seen.down
