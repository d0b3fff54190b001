"""Gaussians in space as torch tensors, and the constants of splatting that every renderer shares.

The image formation is that of 3D Gaussian splatting (Kerbl et al. 2023, after Zwicker et al. 2001, "EWA volume
splatting"), with the constants of gsplat 1.5.3, so that all renderers here draw one picture.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the constants serve rooms that do without torch
    from torch import Tensor

DILATION = 0.3  # px^2 added to every projected covariance: nothing falls between two pixels
LEAST_ALPHA = 1.0 / 255.0  # a fainter contribution to a pixel is left out
MOST_ALPHA = 0.999  # so that what lies behind always counts a little
OPAQUE = 1e-4  # a Gaussian that would bring a pixel's transmittance to this or below, and all behind it, are left out
WIDE_VIEW = 0.3  # of half the field of view: the projection is linearised no further outside the picture than this


@dataclass(frozen=True)
class Gaussians:
    """N Gaussians. All tensors of one floating dtype, on one device."""

    means: Tensor  # [N, 3] world
    quats: Tensor  # [N, 4] w x y z, of any length but zero: rotation of the Gaussian's axes to the world's
    scales: Tensor  # [N, 3] standard deviations along its axes, world units
    opacities: Tensor  # [N] 0..1
    colours: Tensor  # [N, 3] linear in the picture, not clamped

    def __getitem__(self, index: Tensor) -> Gaussians:
        """Those at `index`."""
        return Gaussians(*(getattr(self, f.name)[index] for f in fields(self)))

    def check(self) -> None:
        """Raise ValueError unless shapes, dtypes and devices agree."""
        count = len(self.means)
        widths = {"means": (3,), "quats": (4,), "scales": (3,), "opacities": (), "colours": (3,)}
        for name, width in widths.items():
            tensor = getattr(self, name)
            if tuple(tensor.shape) != (count, *width):
                raise ValueError(f"{name} have the shape {tuple(tensor.shape)}, expected {(count, *width)}")
            if tensor.dtype != self.means.dtype or tensor.device != self.means.device:
                raise ValueError(f"{name} are {tensor.dtype} on {tensor.device}, means are not")
