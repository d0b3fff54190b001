"""Triangles into pixels, in image space and in UV space: the one rasteriser behind visibility, bakes and overlays."""

from .depth import depth_buffer, rasterise, rasterise_here, rasterise_views

__all__ = ["depth_buffer", "rasterise", "rasterise_here", "rasterise_views"]
