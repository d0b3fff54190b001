"""A frame's plates on the device: uploaded once, as the bytes they were filmed in, and made into a pyramid there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .pyramid import LevelCameras, build_pyramid

Array = np.ndarray
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV's RGB2GRAY


@dataclass(frozen=True)
class Pictures:
    """One frame, brightness alone; NaN where a camera has no plate."""

    levels: list[list[Tensor]]  # for every stage and camera size: [K, H, W] float32 on the device
    finest: Array  # the finest level's flat buffer (see pyramid.LevelCameras) in the computer's memory


def upload(plates: list[Array | None], device: torch.device) -> Tensor:
    """Brightness [K, H, W] of `plates` of one size, float32 [H, W, 3] in 0..1; NaN for one that is None.

    What crosses to the device is what the files held, 8 or 16 bits a colour.
    """
    shape = next((plate.shape for plate in plates if plate is not None), None)
    if shape is None:
        raise ValueError("plates of one size of which none is there have no size")
    fine = any(_is_finer_than_bytes(plate) for plate in plates if plate is not None)
    kind, top = (np.uint16, 65535) if fine else (np.uint8, 255)
    packed = np.zeros((len(plates), *shape), kind)
    for row, plate in zip(packed, plates, strict=True):
        if plate is not None:
            row[:] = np.rint(plate * np.float32(top))
    whole = torch.from_numpy(packed.view(np.int16) if fine else packed)  # torch computes little with unsigned 16 bits
    if device.type == "cuda":
        whole = whole.pin_memory()
    whole = whole.to(device, non_blocking=True).float()
    whole = torch.where(whole < 0, whole + 65536, whole) / top
    grey = whole @ torch.tensor(GREY, device=device)
    missing = torch.tensor([plate is None for plate in plates], device=device)
    return torch.where(missing[:, None, None], torch.nan, grey)


def _is_finer_than_bytes(plate: Array) -> bool:
    """Whether 8 bits cannot hold `plate` [H, W, 3]; a row in the middle tells."""
    row = plate[len(plate) // 2] * np.float32(255)
    return bool(np.abs(row - np.rint(row)).max() > 1e-3)


def reduce(pictures: Tensor, height: int, width: int) -> Tensor:
    """`pictures` [K, H, W] at another size: every pixel the mean of the area it covers (OpenCV's INTER_AREA)."""
    if tuple(pictures.shape[1:]) == (height, width):
        return pictures
    rows = _areas(pictures.shape[1], height).to(pictures.device)
    columns = _areas(pictures.shape[2], width).to(pictures.device)
    return rows @ pictures @ columns.T


def _areas(before: int, after: int) -> Tensor:
    """The share of every pixel [after, before] of a row of `before` pixels in one of `after`."""
    edges = np.arange(after + 1) * (before / after)
    pixel = np.arange(before)
    ends = np.minimum(edges[1:, None], pixel + 1) - np.maximum(edges[:-1, None], pixel)
    share = np.maximum(ends, 0.0)
    return torch.from_numpy((share / share.sum(axis=1, keepdims=True)).astype(np.float32))


def make_pictures(
    plates: list[Array | None], levels: list[LevelCameras], groups: list[tuple[int, ...]], device: torch.device
) -> Pictures:
    """The pyramid of `plates` for `levels`, of the cameras in `groups` of one size."""
    finest, made = levels[-1], []
    whole = []
    for group in groups:
        own = [plates[k] for k in group]
        height, width = (int(n) for n in finest.sizes[group[0]])
        missing = all(plate is None for plate in own)
        blank = torch.full((len(own), height, width), torch.nan, device=device) if missing else upload(own, device)
        whole.append(blank)
    for level in levels:
        sizes = [tuple(int(n) for n in level.sizes[group[0]]) for group in groups]
        same = next((done for done in made if [tuple(p.shape[1:]) for p in done] == sizes), None)
        made.append(same or [reduce(p, *size) for p, size in zip(whole, sizes, strict=True)])
    return Pictures(made, build_pyramid(plates, [finest])[0])
