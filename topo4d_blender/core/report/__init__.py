"""A take as a page to look at: overlays, error maps, curves, textures, scores. Reads folders, changes nothing."""

from .page import write_report

__all__ = ["write_report"]
