"""What a stage says while it works: the worker protocol's lines for a program, a progress bar for a person.

Blender prints on stdout from C; a stage keeps the real stdout for itself and sends the rest to nowhere.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

from ..core.bars import BarProgress
from ..core.progress import Progress
from ..core.protocol import encode


class LineProgress(Progress):
    """Progress as lines of the worker protocol; stops when the other side closes stdin, or is no more.

    Not by a signal: Blender takes those for itself, and Windows has none to give.
    """

    def __init__(self, stream: TextIO, commands: BinaryIO) -> None:
        """`stream` gets the lines; the end of `commands` asks to stop."""
        self._stream, self._done, self._total = stream, 0, 0
        self._stop = threading.Event()
        threading.Thread(target=self._watch, args=(commands,), daemon=True).start()

    def cancelled(self) -> bool:
        """Whether stdin was closed."""
        return self._stop.is_set()

    def stage(self, name: str, total: int) -> None:
        """Say that a stage begins."""
        self._done, self._total = 0, total
        self._say({"event": "stage", "name": name, "total": total})

    def advance(self, steps: int = 1) -> None:
        """Say how far the stage is."""
        self._done += steps
        self._say({"event": "progress", "done": self._done, "total": self._total, "eta_s": None})

    def warning(self, sentence: str) -> None:
        """Pass the sentence on."""
        self._say({"event": "warning", "sentence": sentence})

    def _watch(self, commands: BinaryIO) -> None:
        while commands.read(1):
            pass
        self._stop.set()

    def _say(self, message: dict) -> None:
        self._stream.write(encode(message))
        self._stream.flush()


@contextmanager
def stage_output(events: bool) -> Iterator[Progress]:
    """The progress of a stage; while it is open, whatever else prints on stdout is thrown away."""
    sys.stdout.flush()
    real = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        if events:
            with os.fdopen(os.dup(real), "w", encoding="utf-8") as stream:
                yield LineProgress(stream, sys.stdin.buffer)
        else:
            with BarProgress().stopping() as bar:
                yield bar
    finally:
        os.dup2(real, 1)
        os.close(real)
        os.close(nowhere)
