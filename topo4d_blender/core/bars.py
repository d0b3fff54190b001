"""Progress on stderr for the command line: a bar with the time left, or a line now and then where nobody watches."""

from __future__ import annotations

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tqdm import tqdm

from .jobs import LOG
from .pace import Pace
from .progress import Progress

_BAR = "{desc}: {percentage:3.0f}%|{bar}| {elapsed} gone, {left}"
_LINE = "{desc}: {n_fmt} of {total_fmt}, {elapsed} gone, {left}"
_QUIET_S = 10.0  # between two lines where stderr is a file or a pipe


class BarProgress(Progress):
    """Shows stages as bars on stderr; `stopping()` turns the first Ctrl-C into a request to stop."""

    def __init__(self) -> None:
        """Nothing is shown before the first stage."""
        self._bar: _Bar | None = None
        self._stop = threading.Event()

    def stage(self, name: str, total: int, by_frame: bool = False) -> None:
        """Begin a bar."""
        self.close()
        watched = sys.stderr.isatty()
        self._bar = _Bar(
            total=total,
            desc=name,
            file=sys.stderr if watched else _Lines(),
            bar_format=_BAR if watched else _LINE,
            mininterval=0.1 if watched else _QUIET_S,
            miniters=1,
            dynamic_ncols=watched,
            leave=True,
            by_frame=by_frame,
        )

    def advance(self, steps: int = 1) -> None:
        """Move the bar."""
        if self._bar is not None and steps:
            self._bar.pace.advance(self._bar.n + steps, time.monotonic())
            self._bar.update(steps)

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        """Shows nothing, but tells the bar that whatever is done once is done."""
        if self._bar is not None:
            self._bar.pace.frame()

    def warning(self, sentence: str) -> None:
        """Print `warning: sentence` above the bar."""
        LOG.warning("%s", sentence)
        tqdm.write(f"warning: {sentence}", file=sys.stderr)

    def cancelled(self) -> bool:
        """Whether Ctrl-C was pressed."""
        return self._stop.is_set()

    def close(self) -> None:
        """End the bar, if there is one."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @contextmanager
    def stopping(self) -> Iterator[BarProgress]:
        """Meanwhile the first Ctrl-C (or SIGTERM) asks the work to stop after what it is at; the second stops it."""

        def ask(number: int, frame: object) -> None:
            if self._stop.is_set():
                raise KeyboardInterrupt
            self._stop.set()
            tqdm.write("Stopping; press Ctrl-C again to stop at once.", file=sys.stderr)

        before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield self
        finally:
            self.close()
            for number, handler in before.items():
                signal.signal(number, handler)


class _Bar(tqdm):
    """A bar whose time left is that of `Pace`: tqdm's own counts what is done once at the start."""

    def __init__(self, *args: object, by_frame: bool, **options: object) -> None:
        self.pace = Pace(by_frame)  # first: tqdm draws the bar at once
        super().__init__(*args, **options)

    @property
    def format_dict(self) -> dict:
        """What `bar_format` may name: tqdm's own fields and `left`."""
        fields = super().format_dict
        left = self.pace.left(self.n, self.total, time.monotonic())
        fields["left"] = "preparing" if left is None else f"{tqdm.format_interval(left)} left"
        return fields


class _Lines:
    """Gives tqdm's redrawn line to stderr as lines of their own; what says nothing new is left out."""

    def __init__(self) -> None:
        self._last = ""

    def write(self, text: str) -> None:
        text = text.strip("\r\n ")
        if text and text != self._last:
            sys.stderr.write(text + "\n")
            self._last = text

    def flush(self) -> None:
        sys.stderr.flush()
