"""Blender's side of the installer: starts the process, hears it, cancels it, and keeps what the preferences show of it.

The same pattern as `bridge.engine`: a thread reads the process's stdout into a queue; `step` drains it, never blocks.
"""

from __future__ import annotations

import atexit
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from ...core import protocol
from ..interpreter import Interpreter, clean_environment, last_words
from . import engines

KILL_S = 10.0  # after a cancel that was not obeyed
_STOPPED = "The installation was cancelled; nothing has changed."


class Installation:
    """At most one errand of the installer, and what the last ones found. Lives on the module, as the session does."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.engine: Path | None = None  # the installed engine; None: there is none for this Blender
        self.ready: engines.Ready | None = None  # what it says of itself
        self.outdated = False  # one is there, but of the pins of another version of this extension
        self.job = ""  # "folder", "look", "download" or "check"; "": nothing runs
        self.stage = ""
        self.done = self.total = 0
        self.cancelling = False
        self.failure = ""  # one sentence about the last errand; "" if it went well
        self.found: dict | None = None  # what `look` found; a download is offered while it is here
        self.doctor: dict | None = None  # what the engine's doctor found last
        self.log: Path | None = None
        self._then: Callable[[dict], None] | None = None
        self._process: subprocess.Popen | None = None
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._cancelled = 0.0

    def find(self, engines_folder: Path, python: str | None) -> None:
        """Look on the disk for the engine to use with Python `python` ("3.11"); None: with whichever it is for."""
        self.engine = engines.newest(engines_folder, python)
        self.ready = engines.read_ready(self.engine) if self.engine else None
        self.outdated = self.engine is None and engines.any_ready(engines_folder)

    @property
    def fraction(self) -> float:
        """How much of the stage is done, 0 to 1; 0 where nobody knows."""
        return min(self.done / self.total, 1.0) if self.total else 0.0

    def start(self, interpreter: Interpreter, job: dict, log: Path, then: Callable[[dict], None] | None = None) -> None:
        """Send the installer on `job` (bridge.install.work); `then` gets its summary once it is done.

        What prevents it is in `failure`. An errand that runs already goes on alone.
        """
        if self.job:
            return
        self.failure, self.stage, self.done, self.total, self.cancelling = "", "Starting", 0, 0, False
        self.log, self._then = log, then
        try:
            log.parent.mkdir(parents=True, exist_ok=True)
            with open(log, "wb") as stderr:
                self._process = subprocess.Popen(
                    Interpreter(interpreter.python).command("bridge.install.work"),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=clean_environment(),
                    cwd=log.parent,
                    creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
                    start_new_session=True,
                )
            self._process.stdin.write(protocol.encode({"command": "start", **job}).encode())
            self._process.stdin.flush()
        except OSError as error:
            self._end(f"{interpreter.python} cannot be started ({error.strerror}); choose another Python.")
            return
        self.job = job["job"]
        listener = threading.Thread(target=_listen, args=(self._process, self._events), daemon=True)
        listener.start()
        atexit.register(self.close)

    def cancel(self) -> None:
        """Ask the installer to stop and to take back what it began; `step` kills one that does not."""
        if self._process is not None and not self.cancelling:
            self.cancelling, self._cancelled = True, time.monotonic()
            _close(self._process)

    def step(self) -> bool:
        """Hear the installer; whether anything changed. Never blocks."""
        changed = False
        while self.job and not self._events.empty():
            changed = True
            self._hear(self._events.get())
        if self.cancelling and self.job and time.monotonic() - self._cancelled > KILL_S:
            self._process.kill()
            self._end(_STOPPED)
            changed = True
        return changed

    def close(self) -> None:
        """End the errand, if any: Blender quits, or the extension is disabled."""
        process = self._process
        if process is None:
            return
        _close(process)
        try:
            process.wait(2.0)  # it removes what it began
        except subprocess.TimeoutExpired:
            process.kill()
        self._end("")

    def _hear(self, message: dict | None) -> None:
        if message is None:  # the process is gone, and its last word was not said
            self._end(_STOPPED if self.cancelling else f"The installer stopped unexpectedly: {last_words(self.log)}")
        elif message["event"] == "stage":
            self.stage, self.total, self.done = str(message["name"]), int(message["total"]), 0
        elif message["event"] == "progress":
            self.done, self.total = int(message["done"]), int(message["total"])
        elif message["event"] == "error":
            self._end(str(message["sentence"]))
        elif message["event"] == "done":
            then = self._then
            self._end("")
            self._keep(message["job"], message["summary"])
            if then is not None:
                then(message["summary"])

    def _keep(self, job: str, summary: dict) -> None:
        """What the preferences show from now on."""
        if job == "look":
            self.found = summary
            return
        self.doctor = summary["doctor"]
        if job != "check":
            self.found = None
            self.engine, self.outdated = Path(summary["folder"]), False
            self.ready = engines.read_ready(self.engine)

    def _end(self, failure: str) -> None:
        self.job, self.failure, self.cancelling, self._then = "", failure, False, None
        process, self._process = self._process, None
        self._events = queue.SimpleQueue()
        atexit.unregister(self.close)
        if process is not None:
            _close(process)


def _listen(process: subprocess.Popen, events: queue.SimpleQueue) -> None:
    """The reading thread. Touches nothing of Blender."""
    for line in process.stdout:
        message = protocol.decode(line.decode("utf-8", "replace"))
        if message is not None and "event" in message:
            events.put(message)
    process.stdout.close()
    process.wait()
    events.put(None)


def _close(process: subprocess.Popen) -> None:
    try:
        process.stdin.close()
    except OSError:
        pass


INSTALL = Installation()
