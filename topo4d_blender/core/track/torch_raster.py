"""A z-buffer in plain torch operations: the twin on a GPU of core/raster/depth.py, and its equal but for rounding.

Every triangle is asked about every pixel in the rectangle around it. The nearest wins by the smallest of one whole
number, depth in the high bits and the triangle in the low ones: one scatter, whose result no order of threads changes.
"""

from __future__ import annotations

import torch
from torch import Tensor

PAIRS = 2**22  # triangles x pixels that are asked at once: bounds memory to some hundred MB
SLACK = -1e-5  # a centre on a shared edge must not fall between the two triangles
_NOTHING = 2**63 - 1


def rasterise(
    pixels: Tensor,  # [K, V, 2] float32, continuous pixel coordinates
    depth: Tensor,  # [K, V] float32, positive in front of the camera
    triangles: Tensor,  # [T, 3] int64
    height: int,
    width: int,
) -> tuple[Tensor, Tensor]:
    """The triangle at every pixel centre [K, H, W] (int64, -1: none) and its depth [K, H, W] (float32, else infinite).

    As `raster.rasterise_views`: of equal depths the lower triangle, none with a vertex behind the camera. The host
    waits once, for the number of pixels to ask about.
    """
    count, faces = len(pixels), len(triangles)
    corners = pixels[:, triangles].flatten(0, 1)  # [K T, 3, 2]
    depths = depth[:, triangles].flatten(0, 1)  # [K T, 3]
    last = torch.tensor([width - 1, height - 1], device=pixels.device)
    low, high = torch.ceil(corners.amin(1) - 0.5), torch.floor(corners.amax(1) - 0.5)
    drawn = ((low <= high) & (low <= last) & (high >= 0)).all(1) & (depths > 0).all(1)  # false for NaN
    low = torch.where(drawn[:, None], low.clamp(min=0), 0.0).long()
    high = torch.where(drawn[:, None], torch.minimum(high, last), -1.0).long()
    extent = high - low + 1  # [K T, 2]
    ends = extent.prod(1).cumsum(0)
    nearest = torch.full((count * height * width,), _NOTHING, dtype=torch.int64, device=pixels.device)
    total = int(ends[-1]) if len(ends) else 0
    for first in range(0, total, PAIRS):
        pair = torch.arange(first, min(first + PAIRS, total), device=pixels.device)
        owner = torch.searchsorted(ends, pair, right=True)
        pair = pair - (ends - extent.prod(1))[owner]
        x = low[owner, 0] + pair % extent[owner, 0]
        y = low[owner, 1] + pair // extent[owner, 0]
        key = _keys(corners[owner], depths[owner], x, y, owner % faces)
        where = (owner // faces) * (height * width) + y * width + x
        nearest.scatter_reduce_(0, where, key, "amin")
    found = nearest != _NOTHING
    ids = torch.where(found, nearest & 0xFFFFFFFF, -1)
    z = torch.where(found, (nearest >> 32).int().view(torch.float32), torch.inf)
    return ids.view(count, height, width), z.view(count, height, width)


def _keys(corners: Tensor, depths: Tensor, x: Tensor, y: Tensor, triangle: Tensor) -> Tensor:
    """What the nearest triangle has least of, at a pixel each: its depth's bits, then its number.  # [N] int64."""
    (x0, y0), (x1, y1), (x2, y2) = (corners[:, i].unbind(1) for i in range(3))
    px, py = x + 0.5, y + 0.5
    area = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2)
    w0 = ((y1 - y2) * (px - x2) + (x2 - x1) * (py - y2)) / area
    w1 = ((y2 - y0) * (px - x2) + (x0 - x2) * (py - y2)) / area
    w2 = 1.0 - w0 - w1
    z = w0 * depths[:, 0] + w1 * depths[:, 1] + w2 * depths[:, 2]
    covered = (area != 0) & (w0 >= SLACK) & (w1 >= SLACK) & (w2 >= SLACK)
    bits = z.contiguous().view(torch.int32).long()  # of a positive float: they are ordered as the floats are
    return torch.where(covered, (bits << 32) | triangle, _NOTHING)
