"""The installer: a process beside Blender, of one job. `python launch_worker.py --run bridge.install.work`

The job is one JSON line on stdin; when stdin closes before the end, the job is cancelled and what it began is removed.
It answers on stdout with events of core/protocol.py: stage, progress, then done or error. stderr is the log.

    {"job": "folder", "wheels": FOLDER, "engines": FOLDER}   install from a folder of wheels; summary: {"folder", ...}
    {"job": "look", "torch": "auto", "index": ""}            what a download would bring; summary: {"size", ...}
    {"job": "download", "engines": FOLDER, "found": what was looked up, "index": ""}      summary: as of "folder"
    {"job": "check", "packages": FOLDER or ""}               what this machine can do; summary: {"doctor"}
"""

from __future__ import annotations

import json
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import NoReturn

from ...core import pins
from ...core.protocol import encode
from ..errors import BridgeError
from . import download, setup
from .trial import trial


class Stopped(BridgeError):
    """The user cancelled, or Blender is gone."""


class Teller:
    """Tells Blender how far the job is, and the job whether to stop."""

    def __init__(self) -> None:
        """Speaks on the process's real stdout; what else prints there goes to the log."""
        self._out = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        os.dup2(2, 1)
        self._stop = threading.Event()
        self._done = self._total = 0

    def listen(self) -> None:
        """Wait, in a thread, for stdin to close."""
        threading.Thread(target=self._wait, daemon=True).start()

    def stage(self, name: str, total: int = 0) -> None:
        """Begin a stage of `total` steps; 0: nobody knows."""
        self._done, self._total = 0, total
        self.say("stage", name=name, total=total)

    def advance(self, steps: int) -> None:
        """Go `steps` further. Raises Stopped."""
        self.reach(self._done + steps)

    def reach(self, done: int) -> None:
        """Be at `done`; said once a per cent. Raises Stopped."""
        before, self._done = self._done, min(done, self._total)
        if self._total and 100 * before // self._total != 100 * self._done // self._total:
            self.say("progress", done=self._done, total=self._total, eta_s=None)
        self.check()

    def check(self) -> None:
        """Raises Stopped if the job is to end."""
        if self._stop.is_set():
            raise Stopped("The installation was cancelled; nothing has changed.")

    def say(self, event: str, **values: object) -> None:
        """Send one event; a Blender that is gone stops the job."""
        try:
            self._out.write(encode({"event": event, **values}))
            self._out.flush()
        except OSError:
            self._stop.set()

    def _wait(self) -> None:
        sys.stdin.buffer.read()
        self._stop.set()


def main() -> NoReturn:
    """Do the job, say how it ended, end the process: 0 done, 1 not."""
    teller = Teller()
    job = json.loads(sys.stdin.buffer.readline())
    teller.listen()
    status = 1
    try:
        summary = run(job, teller)
        teller.say("done", job=job["job"], summary=summary)
        status = 0
    except Stopped as error:
        teller.say("error", code="cancelled", sentence=str(error), hint="")
    except BridgeError as error:
        teller.say("error", code="failed", sentence=str(error), hint="")
    except Exception as error:
        traceback.print_exc()
        teller.say("error", code="internal", sentence=unforeseen(error), hint="")
    sys.stderr.flush()
    os._exit(status)


def run(job: dict, teller: Teller) -> dict:
    """The summary of a job, done. Raises BridgeError."""
    if job["job"] == "check":
        return {"doctor": trial(job.get("packages", ""), teller)}
    if pins.tag() not in pins.pythons():
        raise BridgeError(
            f"The engine runs on Python {', '.join(pins.pythons())} and this is {pins.tag()} ({sys.executable}): "
            "choose one of those as Base Python."
        )
    if job["job"] == "look":
        return download.look(job["torch"], job.get("index", ""), teller)
    if job["job"] == "download":
        return download.install(Path(job["engines"]), job["found"], job.get("index", ""), teller)
    return setup.install(Path(job["wheels"]), Path(job["engines"]), teller)


def unforeseen(error: Exception) -> str:
    """A sentence for what nobody thought of; the log has the rest."""
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename} cannot be used ({error.strerror}); check its permissions and the space on its disk."
    return f"Something unforeseen went wrong ({type(error).__name__}: {' '.join(str(error).split())[:200]})."
