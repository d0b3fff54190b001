"""The take folder: the one truth every program reads and writes. Knows files, not how frames are solved."""

from .take import Take, TakeRequest

__all__ = ["Take", "TakeRequest"]
