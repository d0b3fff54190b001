"""`views.Views` on a device: plates uploaded once, as bytes, and what each camera sees of the mesh found there.

Same arrays, same names, same codes (see views.py); 5 bytes a plate pixel inside the crop, on the card. The numbers that
are few (boxes, projections) stay in the computer's memory beside them.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..capture import Camera
from ..track.torch_raster import rasterise
from .views import LEVELS, Views, frame_views, jump_and_margin, project_onto

Array = np.ndarray


@dataclass
class TorchViews(Views):
    """Every camera of one frame; `pixels` [N, 3] uint8 and `codes` [N] int16 (the bits of `Views`' own) are tensors."""

    device: torch.device = field(kw_only=True)

    def crop(self, k: int) -> Tensor:
        """The cropped plate of camera `k`.  # [H, W, 3] uint8, a view."""
        return self._part(self.pixels, k)

    def codes_of(self, k: int) -> Tensor:
        """The visibility codes of camera `k`.  # [H, W] int16, a view."""
        return self._part(self.codes, k)

    def _part(self, flat: Tensor, k: int) -> Tensor:
        _, _, width, height = (int(n) for n in self.boxes[k])
        start = int(self.starts[k])
        return flat[start : start + width * height].view(height, width, *flat.shape[1:])


def torch_views(cameras: list[Camera], vertices: Array, edge: float, device: torch.device) -> TorchViews:
    """`frame_views` on `device`."""
    layout = frame_views(cameras, vertices, edge)
    count = len(layout.codes)
    values = {f.name: getattr(layout, f.name) for f in fields(Views)}
    pixels = torch.empty((count, 3), dtype=torch.uint8, device=device)
    codes = torch.zeros(count, dtype=torch.int16, device=device)
    return TorchViews(**(values | {"pixels": pixels, "codes": codes}), device=device)


def add_plate(
    views: TorchViews,
    k: int,
    plate: Array,
    mask: Array | None,
    vertices: Array,
    triangles: Tensor,  # [T, 3] int64
    edge: float,
    most: int,  # pixels that are drawn at once
) -> None:
    """`views.add_plate` on the device."""
    left, top, width, height = (int(n) for n in views.boxes[k])
    if width == 0 or height == 0:
        return
    part = plate[top : top + height, left : left + width]
    part = part if part.dtype == np.uint8 else (part >> 8).astype(np.uint8)
    views.crop(k).copy_(_sent(part, views.device))
    pixels, depth = project_onto(views, k, vertices)
    if not np.median(depth) > 0:  # the mesh lies behind this camera
        return
    zbuf = _depth_buffer(pixels, depth, triangles, width, height, most)
    jump, margin = jump_and_margin(views.cameras[k], depth, edge)
    trusted = ~near_jumps(zbuf, jump, margin) & torch.isfinite(zbuf)
    if mask is not None:
        trusted &= _sent(mask[top : top + height, left : left + width] != 0, views.device)
    near, step = (float(value) for value in views.depth_range[k])
    code = 1 + ((zbuf.double() - near) / step + 0.5).clamp(0, LEVELS)
    views.codes_of(k).copy_(torch.where(trusted, code, 0).int().short())  # the low 16 bits
    views.present[k] = True


def _sent(values: Array, device: torch.device) -> Tensor:
    """`values` on `device`; the host does not wait where it need not."""
    whole = torch.from_numpy(np.ascontiguousarray(values))
    return whole.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else whole


def _depth_buffer(pixels: Array, depth: Array, triangles: Tensor, width: int, height: int, most: int) -> Tensor:
    """`raster.depth_buffer` on the device, some rows at once.  # [H, W] float32."""
    return _draw(pixels, depth, triangles, width, height, most, 1)


def nearest_triangles(pixels: Array, depth: Array, triangles: Tensor, width: int, height: int, most: int) -> Tensor:
    """The nearest triangle at every pixel centre, -1 where none is.  # [H, W] int64."""
    return _draw(pixels, depth, triangles, width, height, most, 0)


def _draw(pixels: Array, depth: Array, triangles: Tensor, width: int, height: int, most: int, which: int) -> Tensor:
    device = triangles.device
    depth = torch.from_numpy(depth.astype(np.float32)).to(device)[None]
    strips = []
    rows = max(1, most // width)
    for first in range(0, height, rows):
        here = torch.from_numpy((pixels - (0.0, first)).astype(np.float32)).to(device)[None]
        strips.append(rasterise(here, depth, triangles, min(rows, height - first), width)[which][0])
    return torch.cat(strips)


def near_jumps(zbuf: Tensor, jump: float, margin: float) -> Tensor:
    """`views._near_jumps` on the device.  # [H, W] bool."""
    edge = torch.zeros(zbuf.shape, dtype=torch.bool, device=zbuf.device)
    for axis in (0, 1):
        count = zbuf.shape[axis] - 1
        ahead, behind = zbuf.narrow(axis, 1, count), zbuf.narrow(axis, 0, count)
        jumps = (ahead - behind).abs() > jump  # not between two infinite ones
        edge.narrow(axis, 1, count).logical_or_(jumps)
        edge.narrow(axis, 0, count).logical_or_(jumps)
    reach = int(np.ceil(margin - 0.5))
    return _dilate(edge, reach) if reach > 0 else edge


def _dilate(marked: Tensor, reach: int) -> Tensor:
    """OpenCV's dilation by an ellipse: a row of it is a run, and whether a run holds a mark two sums tell."""
    height, width = marked.shape
    ellipse = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    sums = F.pad(marked.cumsum(1, dtype=torch.int32), (1, 0))  # [H, W + 1]
    column = torch.arange(width, device=marked.device)
    out = torch.zeros_like(marked)
    for away in range(min(reach, height - 1) + 1):
        half = int(ellipse[reach + away].sum()) // 2
        near = sums[:, (column + half + 1).clamp(max=width)] > sums[:, (column - half).clamp(min=0)]
        out[away:] |= near[: height - away]
        out[: height - away] |= near[away:]
    return out
