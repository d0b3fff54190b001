"""Cameras of one size as tensors: whatever is done to pictures is done to all of them in one call.

Pictures of different sizes never share a tensor: a level has as many `Views` as the capture has camera sizes, and a
part of them (fewer cameras at once) is made by slicing, so that a small card can take a large capture in pieces.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from .pyramid import LevelCameras


@dataclass(frozen=True)
class Views:
    """K cameras whose plates have one size, at one level."""

    cameras: tuple[int, ...]  # which of the capture's cameras they are
    height: int
    width: int
    blur: float  # sigma, pixels of this level
    rotations: Tensor  # [K, 3, 3] float64
    translations: Tensor  # [K, 3] float64
    intrinsics: Tensor  # [K, 4] float64: fx fy cx cy

    def part(self, which: slice) -> Views:
        """Some of the cameras; the tensors are views of these."""
        return replace(
            self,
            cameras=self.cameras[which],
            rotations=self.rotations[which],
            translations=self.translations[which],
            intrinsics=self.intrinsics[which],
        )

    def locate(self, vertices: Tensor) -> tuple[Tensor, Tensor]:
        """`vertices` [V, 3] float64 in camera space [K, V, 3] and in the pictures [K, V, 2], float32."""
        points = vertices @ self.rotations.transpose(1, 2) + self.translations[:, None]
        pixels = points[..., :2] / points[..., 2:] * self.intrinsics[:, None, :2] + self.intrinsics[:, None, 2:]
        return points.float(), pixels.float()

    def sums(self, pixel: Tensor, values: Tensor) -> Tensor:
        """Sum of `values` [N] at the pixels [N] (in [K, H, W] laid flat, none twice) of each camera.  # [K]."""
        whole = values.new_zeros(len(self.cameras) * self.height * self.width)
        whole[pixel] = values
        return whole.view(len(self.cameras), -1).sum(1)


def group_cameras(levels: list[LevelCameras]) -> list[tuple[int, ...]]:
    """The cameras that have one size at every level, in groups, in the order of their first camera."""
    groups: dict[tuple, list[int]] = {}
    for k in range(len(levels[0].sizes)):
        groups.setdefault(tuple(int(s) for level in levels for s in level.sizes[k]), []).append(k)
    return [tuple(group) for group in groups.values()]


def make_views(level: LevelCameras, groups: list[tuple[int, ...]], device: torch.device) -> list[Views]:
    """The `groups` of the cameras of `level` on `device`."""

    def tensor(values: np.ndarray, group: tuple[int, ...]) -> Tensor:
        return torch.as_tensor(values[list(group)], dtype=torch.float64, device=device)

    return [
        Views(
            cameras=group,
            height=int(level.sizes[group[0], 0]),
            width=int(level.sizes[group[0], 1]),
            blur=level.blur,
            rotations=tensor(level.rotations, group),
            translations=tensor(level.translations, group),
            intrinsics=tensor(level.intrinsics, group),
        )
        for group in groups
    ]


def slices(count: int, most: int) -> list[slice]:
    """`count` cameras in parts of at most `most`."""
    return [slice(first, min(first + most, count)) for first in range(0, count, most)]
