"""Triangles into pixels, in image space and in UV space: the one rasteriser behind visibility, bakes and overlays; and
values between pixels."""

from .depth import depth_buffer, rasterise, rasterise_here, rasterise_views
from .sampling import sample

__all__ = ["depth_buffer", "rasterise", "rasterise_here", "rasterise_views", "sample"]
