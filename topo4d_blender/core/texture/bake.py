"""Bakes the colour map of every chosen frame of a take: inverse mapping, texel -> surface point -> cameras."""

from __future__ import annotations

from ..capture import Capture
from ..progress import Progress
from ..take import Take


def bake_take(
    take: Take,
    capture: Capture,
    resolution: int = 8192,
    frames: tuple[int, ...] | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> list[int]:
    """Write texture/ and texture_2k/ for `frames` (default: every solved one); returns the frames written.

    Raises RequestError (template without UV, frame not solved), WorkError (disk full), Cancelled.
    """
    raise NotImplementedError
