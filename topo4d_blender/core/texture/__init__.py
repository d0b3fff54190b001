"""Colour maps on the template's own UV map, from tracked geometry and full-resolution plates."""

from .bake import bake_take

__all__ = ["bake_take"]
