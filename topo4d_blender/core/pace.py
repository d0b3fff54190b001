"""How long the rest of a stage will take, judged only by steps that show the steady pace."""

from __future__ import annotations

WARM_UP = 2  # steps: plates are read and compiled code is made within them, once, and that may take a minute


class Pace:
    """The pace of one stage since its warm-up: its first two steps and, where steps are parts of frames, first frame.

    A step may stand for frames that were solved by an earlier run; that takes no time and is warm-up too.
    """

    def __init__(self, by_frame: bool = False) -> None:
        """`by_frame`: the warm-up lasts until `frame` was called as well."""
        self._waits_for_frame = by_frame
        self._calls = self._frames = 0
        self._warm: tuple[int, float] | None = None  # steps done and time, seconds, at the end of the warm-up

    def frame(self) -> None:
        """A frame is whole; call it before the step that completes it. The first one begins the measuring anew."""
        self._frames += 1
        if self._frames == 1:
            self._waits_for_frame, self._warm = False, None

    def advance(self, done: int, now: float) -> None:
        """`done` steps of the stage are done at time `now`, seconds."""
        self._calls += 1
        if self._warm is None and self._calls >= WARM_UP and not self._waits_for_frame:
            self._warm = done, now

    def left(self, done: int, total: int, now: float) -> float | None:
        """Seconds from `now` to the end of the stage; None as long as its pace is not known."""
        if done >= total:
            return 0.0
        if self._warm is None or done <= self._warm[0]:
            return None
        steps, since = self._warm
        return max((now - since) * (total - done) / (done - steps), 0.0)
