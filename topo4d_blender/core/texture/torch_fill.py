"""fill.py on a device: the same pyramid, a level in one call, the finest some rows at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def fill_empty(texture: Tensor, empty: Tensor, most: int) -> None:
    """Fill `texture` [R, R, 3] uint8, or int16 with the bits of unsigned ones, where `empty` [R, R] bool, in place.

    `most` texels are looked at at once.
    """
    size = texture.shape[1]
    rows = max(most // size // 2, 1) * 2
    strips = [slice(first, min(first + rows, len(texture))) for first in range(0, len(texture), rows)]
    levels = [torch.cat([_pull_first(texture[rows], empty[rows]) for rows in strips])]
    while min(levels[-1].shape[:2]) > 1:
        levels.append(_pull(levels[-1]))
    for fine, coarse in zip(levels[-2::-1], levels[:0:-1], strict=True):
        known = fine[..., 3:] > 0
        row = torch.arange(len(fine), device=fine.device)
        fine[..., :3] = torch.where(known, fine[..., :3], _interpolate(coarse, row, fine.shape[1]))
    for rows in strips:
        row = torch.arange(rows.start, rows.stop, device=texture.device)
        filled = (_interpolate(levels[0], row, size) + 0.5).int().to(texture.dtype)
        texture[rows] = torch.where(empty[rows, :, None], filled, texture[rows])


def extend(texture: Tensor, known: Tensor, rings: int) -> None:
    """`fill.extend` on a device; `texture` as in `fill_empty`."""
    height, width = known.shape
    for _ in range(rings):
        near = F.max_pool2d(known.float()[None], 3, 1, 1)[0] > 0
        y, x = (near & ~known).nonzero().unbind(1)
        total, count = torch.zeros((len(x), 3), dtype=torch.int32, device=texture.device), torch.zeros_like(x)
        for v, u in ((y + j, x + i) for j in (-1, 0, 1) for i in (-1, 0, 1)):
            inside = (v >= 0) & (u >= 0) & (v < height) & (u < width)
            v, u = torch.where(inside, v, 0), torch.where(inside, u, 0)
            there = inside & known[v, u]
            total += torch.where(there[:, None], texture[v, u].int() & 0xFFFF, 0)
            count += there
        count = count.int()[:, None]
        texture[y, x] = ((total + count // 2) // count).to(texture.dtype)
        known = known.clone()
        known[y, x] = True


def doubled(texture: Tensor) -> Tensor:
    """`texture` at twice the size, bicubic as OpenCV's; some rows at once."""
    white = 65535 if texture.dtype == torch.int16 else 255
    rows, strips = 256, []
    for first in range(0, len(texture), rows):
        low, last = max(first - 2, 0), min(first + rows, len(texture))  # two rows more on either side
        part = (texture[low : last + 2].int() & 0xFFFF).float().permute(2, 0, 1)[None]
        fine = F.interpolate(part, scale_factor=2, mode="bicubic", align_corners=False)[0].permute(1, 2, 0)
        fine = fine[2 * (first - low) : 2 * (last - low)]
        strips.append(fine.round().clamp(0, white).int().to(texture.dtype))
    return torch.cat(strips)


def _pull_first(texture: Tensor, empty: Tensor) -> Tensor:
    known = (~empty).float()[..., None]
    whole = texture.int() & 0xFFFF if texture.dtype == torch.int16 else texture
    return _pull(torch.cat([whole * known, known], 2))


def _pull(fine: Tensor) -> Tensor:
    """The level at half the size: the mean colour of what is known of each 2x2 and, fourth, whether anything is."""
    known = (fine[..., 3:] > 0).float()
    whole = torch.cat([fine[..., :3] * known, known], 2).permute(2, 0, 1)
    whole = F.pad(whole, (0, whole.shape[2] % 2, 0, whole.shape[1] % 2))
    sums = F.avg_pool2d(whole[None], 2)[0].permute(1, 2, 0)
    amount = sums[..., 3:]
    return torch.where(amount > 0, torch.cat([sums[..., :3] / amount, torch.ones_like(amount)], 2), 0.0)


def _interpolate(coarse: Tensor, row: Tensor, width: int) -> Tensor:
    """`coarse` [h, w, 4] at the centres of the rows `row` [n] of the level twice as fine.  # [n, width, 3]."""
    lines = between(coarse[..., :3], 0, row)
    return between(lines, 1, torch.arange(width, device=coarse.device))


def between(values: Tensor, axis: int, fine: Tensor, factor: int = 2) -> Tensor:
    """`values` at the places `fine` [n] of a level `factor` times as fine along `axis`, linear, its ends repeated."""
    at = (fine + 0.5) / factor - 0.5
    first = torch.floor(at)
    share = (at - first).view(-1, *[1] * (values.ndim - 1 - axis))
    first = first.long()
    low, high = first.clamp(min=0), (first + 1).clamp(max=values.shape[axis] - 1)
    return (1 - share) * values.index_select(axis, low) + share * values.index_select(axis, high)
