"""The tracker: follows the template through the frames of a capture, one frame after the other, into a take."""

from .tracker import track_take

__all__ = ["track_take"]
