"""What cameras of one size saw in the reference frame, on the device; see `appearance`, whose twin this is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from . import torch_kernels as kernels
from .appearance import SHADING
from .surface import Surface
from .torch_raster import rasterise
from .torch_views import Views


class TorchSurface:
    """What of a `Surface` the pictures need, on the device."""

    def __init__(self, surface: Surface, device: torch.device):
        """Copy it there."""
        self.triangles = torch.as_tensor(surface.triangles, device=device).long()
        self.looks = torch.as_tensor(surface.looks, device=device)
        self.vertex_count = surface.vertex_count


@dataclass(frozen=True)
class Reading:
    """Some cameras' plates held against the reference, at one level."""

    residual: Tensor  # [N] float32; NaN where too little was known around
    slope: Tensor  # [N] float32: brightness a pixel; NaN likewise
    pixel: Tensor  # [N] int64, in [K, H, W] laid flat
    triangles: Tensor  # [T] bool: what was compared


class TorchMemory:
    """The reference frame in some cameras of one size."""

    def __init__(
        self, surface: TorchSurface, views: Views, vertices: Tensor, image: Tensor, detail: Tensor, tolerance: float
    ):
        """Remember `image` and the same with the `detail` of slopes [K, H, W] of the mesh at `vertices` [V, 3].

        `tolerance` as in `kernels.compare`.
        """
        self.surface, self.views, self.image, self.detail, self.tolerance = surface, views, image, detail, tolerance
        self.points, pixels = views.locate(vertices)
        self.depth = self._draw(self.points, pixels)[1]

    def look(self, vertices: Tensor, light: Tensor | None = None, looks: Tensor | None = None) -> None:
        """Find what is seen where, with the mesh at `vertices` [V, 3]; `light` [K, V], `looks` [T] as in `Memory`."""
        self._light = torch.ones_like(self.points[..., 2]) if light is None else light
        ids, _ = self._draw(*self.views.locate(vertices))
        surface = self.surface
        looks = surface.looks if looks is None else looks
        self._seen = kernels.list_pixels(ids, self.views, surface.triangles, looks, surface.vertex_count)

    def read(self, vertices: Tensor, image: Tensor, scale: Tensor) -> tuple[Reading, Tensor, Tensor]:
        """Hold `image` [K, H, W] against the memory drawn at `vertices` [V, 3], and linearise.

        Returns what was read, and by triangle the hessian [T, 6, 6] and the gradient [T, 3, 3].
        """
        points, pixels = self.views.locate(vertices)
        seen, views, depth = self._seen, self.views, points[..., 2].contiguous()
        barycentric, values = kernels.compare(
            seen, views, pixels, depth, self.points, image, self.image, self.detail, self.depth, self.tolerance,
            self._light,
        )  # fmt: skip
        stack = kernels.blur(kernels.spread(seen, values, views), views.blur)
        stack = kernels.subtract_shading(stack, SHADING * views.blur)
        member = values[:, 2] > 0
        hessian, gradient, residual, slope = kernels.normal_equations(
            seen, views, depth, barycentric, member, stack, scale
        )
        triangles = kernels.sum_segments(values[:, 2:], seen.counts)[:, 0] > 0
        return Reading(residual, slope, seen.pixel, triangles), hessian, gradient

    def _draw(self, points: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
        depth = points[..., 2].contiguous()
        return rasterise(pixels, depth, self.surface.triangles, self.views.height, self.views.width)
