"""The frame loop: predict, solve, judge, write; resumes where the take stands."""

from __future__ import annotations

from ..capture import Capture
from ..progress import Progress
from ..take import Take


def track_take(take: Take, capture: Capture, progress: Progress | None = None) -> None:
    """Solve every frame of `take.request.frames` that is not on disk yet, each written whole before the next begins.

    Calls `progress.frame(frame, path, metrics)` for each. Raises RequestError (template nowhere in view), WorkError
    (disk full), Cancelled.
    """
    raise NotImplementedError
