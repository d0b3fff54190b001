"""How long the rest of a stage will take, judged only by steps that show the steady pace."""

from __future__ import annotations

WARM_UP = 2  # steps: plates are read and compiled code is made within them, once, and that may take a minute


class Pace:
    """The pace of one stage since its warm-up.

    Where a step is a frame, the warm-up is the first two steps. Where steps are parts of frames (a hundred that take no
    time, and one that takes it all), only whole frames tell a pace, and the warm-up lasts until the first is whole. A
    step may stand for frames that were solved by an earlier run; that takes no time and is warm-up too.
    """

    def __init__(self, by_frame: bool = False) -> None:
        """`by_frame`: steps are parts of frames."""
        self._by_frame = by_frame
        self._calls = 0
        self._frame_is_whole = False
        self._warm: tuple[int, float] | None = None  # steps done and time, seconds, at the end of the warm-up
        self._last: tuple[int, float] | None = None  # the same when a frame was whole last

    def frame(self) -> None:
        """A frame is whole; call it before the step that completes it, or the next frame."""
        self._frame_is_whole = True

    def advance(self, done: int, now: float) -> None:
        """`done` steps of the stage are done at time `now`, seconds."""
        self._calls += 1
        if self._by_frame and not self._frame_is_whole:
            return
        self._frame_is_whole = False
        self._last = done, now
        if self._warm is None and (self._by_frame or self._calls >= WARM_UP):
            self._warm = done, now

    def left(self, done: int, total: int, now: float) -> float | None:
        """Seconds from `now` to the end of the stage; None as long as its pace is not known."""
        if done >= total:
            return 0.0
        if self._warm is None or self._last is None:
            return None
        (steps, since), (measured, until) = self._warm, self._last if self._by_frame else (done, now)
        if measured <= steps:
            return None
        return max((until - since) / (measured - steps) * (total - measured) - (now - until), 0.0)
