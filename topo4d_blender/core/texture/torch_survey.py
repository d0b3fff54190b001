"""`survey.ask` on a device."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from .torch_kernels import Cameras, sees, shrink
from .torch_views import TorchViews

Array = np.ndarray


def ask(views: TorchViews, k: int, vertices: Array, points: Array, size: tuple[int, int]) -> tuple[Array, Array, Array]:
    """Arguments and results as of `survey.ask`; plates and codes stay on the device."""
    cameras = Cameras.of(views)
    coarse = shrink(views.crop(k), size).round()  # as bytes, which OpenCV makes of bytes
    visible, _, _ = _look(views, cameras, k, vertices)
    seen, u, v = _look(views, cameras, k, points)
    width, height = (int(n) for n in views.boxes[k, 2:])
    columns, rows = size
    colours = torch.where(seen[:, None], _bilinear(coarse, u * (columns / width), v * (rows / height)), 0.0)
    return visible.cpu().numpy(), colours.cpu().numpy(), seen.cpu().numpy()


def _look(views: TorchViews, cameras: Cameras, k: int, points: Array) -> tuple[Tensor, Tensor, Tensor]:
    """Of `points` [N, 3] whether camera `k` sees them, and where, px of the crop; float64, for they are few."""
    projection = torch.from_numpy(views.projections[k]).to(views.device)
    homogeneous = torch.from_numpy(np.asarray(points, np.float64)).to(views.device) @ projection[:, :3].T
    homogeneous = homogeneous + projection[:, 3]
    z = homogeneous[:, 2]
    u, v = homogeneous[:, 0] / z, homogeneous[:, 1] / z
    which = torch.full(z.shape, k, dtype=torch.int64, device=views.device)
    seen = (z > 0) & sees(views.codes, cameras, which, views.tolerance, u, v, z)
    return seen, torch.where(seen, u, 0.5), torch.where(seen, v, 0.5)


def _bilinear(picture: Tensor, u: Tensor, v: Tensor) -> Tensor:
    """`picture` [H, W, 3] at the continuous pixels `u`, `v` [N], its border repeated.  # [N, 3] float32."""
    rows, columns, _ = picture.shape
    x, y = torch.floor(u - 0.5), torch.floor(v - 0.5)
    fx, fy = (u - 0.5 - x).float()[:, None], (v - 0.5 - y).float()[:, None]
    x, y = x.long(), y.long()
    left, right = x.clamp(min=0), (x + 1).clamp(max=columns - 1)
    top, bottom = y.clamp(min=0), (y + 1).clamp(max=rows - 1)
    upper = (1 - fx) * picture[top, left] + fx * picture[top, right]
    lower = (1 - fx) * picture[bottom, left] + fx * picture[bottom, right]
    return (1 - fy) * upper + fy * lower
