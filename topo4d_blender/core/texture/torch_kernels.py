"""What the bake's steps on a device share, twins of kernels.py; every function takes many points in one call.

Cameras reach them as `Cameras`: the few numbers of every view, on the device, looked up by a view's number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .torch_views import TorchViews


@dataclass(frozen=True)
class Cameras:
    """Of K views: where their crops lie in the flat arrays, how large they are, and the steps of their depth."""

    starts: Tensor  # [K] int64
    sizes: Tensor  # [K, 2] int64: width, height
    depths: Tensor  # [K, 2] float32: nearest depth and the depth of one step

    @classmethod
    def of(cls, views: TorchViews) -> Cameras:
        """Those of `views`."""
        sizes = np.ascontiguousarray(views.boxes[:, 2:])
        depths = torch.from_numpy(views.depth_range.astype(np.float32))
        return cls(*(t.to(views.device) for t in (torch.from_numpy(views.starts), torch.from_numpy(sizes), depths)))


def sees(
    codes: Tensor,  # [N] int16
    cameras: Cameras,
    k: Tensor,  # int64, of any shape: the view of each point
    tolerance: float,
    u: Tensor,  # float, of the same shape: px of the crop
    v: Tensor,
    z: Tensor,
) -> Tensor:
    """`kernels.sees` of many points.  # bool, of the same shape; false for NaN."""
    width, height = cameras.sizes[k].unbind(-1)
    near, step = cameras.depths[k].unbind(-1)
    x, y = torch.floor(u - 0.5), torch.floor(v - 0.5)
    inside = (x >= 0) & (y >= 0) & (x + 1 < width) & (y + 1 < height)
    at = torch.where(inside, cameras.starts[k] + y.long() * width + x.long(), 0)
    right, below = torch.where(inside, 1, 0), torch.where(inside, width, 0)
    four = [codes[i].int() & 0xFFFF for i in (at, at + right, at + below, at + below + right)]
    known = (four[0] > 0) & (four[1] > 0) & (four[2] > 0) & (four[3] > 0)
    farthest = torch.maximum(torch.maximum(four[0], four[1]), torch.maximum(four[2], four[3]))
    return inside & known & (z <= near + step * farthest + tolerance)


def cubic(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`kernels.cubic`."""
    return (
        t * (-0.5 + t * (1.0 - 0.5 * t)),
        1.0 + t * t * (-2.5 + 1.5 * t),
        t * (0.5 + t * (2.0 - 1.5 * t)),
        t * t * (-0.5 + 0.5 * t),
    )


def cubic_slope(t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """`kernels.cubic_slope`."""
    return (
        -0.5 + t * (2.0 - 1.5 * t),
        t * (-5.0 + 4.5 * t),
        0.5 + t * (4.0 - 4.5 * t),
        t * (-1.0 + 1.5 * t),
    )


def sample_plates(pixels: Tensor, cameras: Cameras, k: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`kernels.sample_plate` of many points: `pixels` [N, 3] uint8 of views `k` at (u, v).  # [..., 3] float32."""
    x, y = torch.floor(u - 0.5), torch.floor(v - 0.5)
    across, down = cubic((u - 0.5 - x).float()), cubic((v - 0.5 - y).float())
    width, height = cameras.sizes[k].unbind(-1)
    x, y, start = x.long(), y.long(), cameras.starts[k]
    columns = [torch.minimum((x - 1 + i).clamp(min=0), width - 1) for i in range(4)]
    out = torch.zeros((*u.shape, 3), device=u.device)
    for j, b in enumerate(down):
        row = start + torch.minimum((y - 1 + j).clamp(min=0), height - 1) * width
        for a, column in zip(across, columns, strict=True):
            out.addcmul_((a * b)[..., None], pixels[row + column])
    return out


def shrink(picture: Tensor, size: tuple[int, int]) -> Tensor:
    """`picture` [H, W, C] at `size` (width, height): every pixel the mean of its area (OpenCV's INTER_AREA).

    float32; a pixel is made of a few taps, all pixels at once.
    """
    for axis, after in ((0, size[1]), (1, size[0])):
        before = picture.shape[axis]
        if after == before:
            continue
        edges = np.arange(after + 1) * (before / after)
        first = np.floor(edges[:-1] + 1e-9).astype(np.int64)
        out: Tensor | float = 0.0
        for tap in range(int(np.ceil(before / after)) + 1):
            at = first + tap
            share = np.minimum(edges[1:], at + 1) - np.maximum(edges[:-1], at)
            share = torch.from_numpy((np.maximum(share, 0) * (after / before)).astype(np.float32)).to(picture.device)
            index = torch.from_numpy(np.minimum(at, before - 1)).to(picture.device)
            part = picture.index_select(axis, index)
            out = out + part * share.view(-1, *[1] * (picture.ndim - 1 - axis))
        picture = out
    return picture.float()
