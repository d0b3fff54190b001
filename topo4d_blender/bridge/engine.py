"""The engine's process as Blender sees it: started, listened to, stopped, and never waited for.

One worker at a time. A thread reads its stdout into a queue; everything else happens in `poll`, which the timer calls
and which never blocks. Whatever goes wrong ends up as one sentence in `failure`.
"""

from __future__ import annotations

import atexit
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path

from ..core import protocol
from .interpreter import LAUNCHER, Interpreter, clean_environment, last_words

HELLO_S = 120.0  # importing the numerical packages from a cold network disk
SILENCE_S = 15 * protocol.HEARTBEAT_S
TERMINATE_S = 10.0  # after a cancel that was not obeyed
KILL_S = 5.0  # after a terminate that was not obeyed
CLOSE_S = 1.0  # what leaving Blender may wait for the worker
_LONGEST_LINE = 64 * 2**20  # bytes: a capture of 48 cameras and 2000 frames is about 10 MB


class Engine:
    """A worker process. `start` once; then `poll` often, `send`, `cancel`, and `close`."""

    def __init__(self, interpreter: Interpreter, log: Path, launcher: Path = LAUNCHER) -> None:
        """`interpreter` has the engine's packages; its stderr goes to the file `log`."""
        self.interpreter = interpreter
        self.log = log
        self.launcher = launcher
        self.hello: dict | None = None  # the worker's first message, once it came
        self.failure = ""  # one sentence; the engine is of no use any more
        self._process: subprocess.Popen | None = None
        self._events: queue.SimpleQueue = queue.SimpleQueue()
        self._heard = self._polled = self._cancelled = 0.0
        self._ended = threading.Event()

    @property
    def running(self) -> bool:
        """Whether the process is there and of use."""
        return self._process is not None and not self.failure

    def start(self) -> None:
        """Start the worker; what prevents it is in `failure` afterwards."""
        try:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with open(self.log, "wb") as stderr:
                self._process = subprocess.Popen(
                    self.interpreter.command(launcher=self.launcher),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=clean_environment(),
                    cwd=self.log.parent,
                    creationflags=subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0,
                    start_new_session=True,  # Ctrl-C in the terminal Blender was started from is not for the worker
                )
        except OSError as error:
            self.failure = (
                f"The engine's Python cannot be started: {self.interpreter.python} ({error.strerror}); "
                "choose the Python that has the Topo4D engine, or install the engine again."
            )
            return
        self._heard = self._polled = time.monotonic()
        threading.Thread(target=self._listen, args=(self._process,), name="topo4d engine", daemon=True).start()
        atexit.register(self.close)

    def send(self, message: dict) -> None:
        """Send a command. A worker that is gone is noticed by the next `poll`."""
        if self._process is None:
            return
        try:
            self._process.stdin.write(protocol.encode(message).encode())
            self._process.stdin.flush()
        except OSError:
            pass

    def cancel(self) -> None:
        """Ask the job to stop; a worker that does not is terminated, then killed, by the polls that follow."""
        if self.running and not self._cancelled:
            self._cancelled = time.monotonic()
            self.send({"command": "cancel"})

    def poll(self) -> list[dict]:
        """What the worker has said since the last call, heartbeats aside. Sets `hello` and `failure`; never blocks."""
        now, messages = time.monotonic(), []
        if now - self._polled > SILENCE_S / 2:  # Blender itself was busy or asleep, and the reading thread with it
            self._heard = now
        self._polled = now
        ended = self._ended.is_set()  # before draining: what was said before the end is delivered before the failure
        while not self._events.empty():
            message = self._events.get()
            if message.get("event") == "hello":
                self._greet(message)
            elif self.hello is not None:
                messages.append(message)
            if message.get("event") in ("done", "error"):
                self._cancelled = 0.0
        if self.running:
            self._watch(now, ended)
        return messages

    def close(self) -> None:
        """End the worker: closing its stdin asks for it, and after a second it has no choice."""
        process, self._process = self._process, None
        atexit.unregister(self.close)
        if process is None:
            return
        try:
            process.stdin.close()
        except OSError:
            pass
        try:
            process.wait(CLOSE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _listen(self, process: subprocess.Popen) -> None:
        """The reading thread. Touches nothing of Blender."""
        while line := process.stdout.readline(_LONGEST_LINE):
            message = protocol.decode(line.decode("utf-8", "replace"))
            if message is not None and "event" in message:
                self._heard = time.monotonic()
                if message["event"] != "heartbeat":
                    self._events.put(message)
        process.stdout.close()
        process.wait()
        self._ended.set()

    def _greet(self, message: dict) -> None:
        if message.get("protocol") == protocol.PROTOCOL:
            self.hello = message
            return
        self._fail(
            f"The engine speaks protocol {message.get('protocol')} and this add-on {protocol.PROTOCOL}; "
            "update the older of the two."
        )

    def _watch(self, now: float, ended: bool) -> None:
        """Notice a worker that is gone, silent, or does not obey a cancel."""
        if ended:
            if self._cancelled:
                self._fail("The engine was stopped; every finished frame is kept.")
            elif self.hello is None:
                self._fail(f"The engine did not start: {last_words(self.log)}")
            else:
                self._fail(f"The engine stopped unexpectedly: {last_words(self.log)} Every finished frame is kept.")
        elif self._cancelled and now - self._cancelled > TERMINATE_S + KILL_S:
            self._process.kill()
        elif self._cancelled and now - self._cancelled > TERMINATE_S:
            self._process.terminate()
        elif now - self._heard > (SILENCE_S if self.hello else HELLO_S):
            self._process.kill()
            self._fail(f"The engine has not answered for {now - self._heard:.0f} s and was stopped; see {self.log}.")

    def _fail(self, sentence: str) -> None:
        self.failure = sentence
        self.close()
