"""The take folder: the one truth every program reads and writes. Knows files, not how frames are solved."""

from .request import TakeRequest
from .take import Take

__all__ = ["Take", "TakeRequest"]
