"""How long work speaks while it runs: the one interface between the engine's loops and whoever shows them.

The command line shows a `Progress` as a bar, the worker as JSON lines, tests as a list. The loops know only this file.
"""

from __future__ import annotations

from .errors import Cancelled


class Progress:
    """Silent by default; subclasses override what they show. All methods are called from one thread."""

    def stage(self, name: str, total: int, by_frame: bool = False) -> None:
        """A stage begins: `name` in words ("Tracking"), `total` steps long; `by_frame`: steps are parts of frames."""

    def advance(self, steps: int = 1) -> None:
        """`steps` more of the current stage are done."""

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        """Frame number `frame` is whole on disk at `path`; `metrics` is its line of metrics.jsonl."""

    def warning(self, sentence: str) -> None:
        """Something the user should know that does not stop the work."""

    def cancelled(self) -> bool:
        """Whether the user asked to stop. Polled at least a few times a second by every loop."""
        return False

    def check(self) -> None:
        """Raise `Cancelled` if the user asked to stop."""
        if self.cancelled():
            raise Cancelled("Stopped at your request; every finished frame is kept.")
