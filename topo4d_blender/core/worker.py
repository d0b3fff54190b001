"""The engine's side of the protocol (protocol.py): a process that Blender starts, speaks with, may kill at any time.

Three threads. The main one runs the jobs (numba's default threading layer may be entered by one thread only). One reads
commands, one sends heartbeats. The process's real stdout is set aside for the protocol and file descriptor 1 points to
stderr from then on, so that nothing a C library prints can be taken for a message. When stdin closes, Blender is gone:
the job is asked to stop, and the process ends a few seconds later whatever it is doing. Frames are whole or absent.
"""

from __future__ import annotations

import faulthandler
import os
import platform
import queue
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any, NoReturn, TextIO

from . import jobs
from .errors import RequestError, Topo4DError
from .machine import cores, memory_gb, package_version
from .pace import Pace
from .progress import Progress
from .protocol import ENGINE, HEARTBEAT_S, JOBS, PROTOCOL, decode, encode

_GRACE_S = 5.0  # how long a job may take to stop after stdin closed


class Channel:
    """Sends events, one line each, from any thread."""

    def __init__(self, stream: TextIO) -> None:
        """`stream` is used by nobody else."""
        self._stream = stream
        self._lock = threading.Lock()

    def send(self, event: str, **values: Any) -> None:
        """Send one event. A reader that is gone ends the process: there is nobody left to work for."""
        line = encode({"event": event, **values})
        try:
            with self._lock:
                self._stream.write(line)
                self._stream.flush()
        except (OSError, ValueError):  # ValueError: the stream is closed
            os._exit(0)


class WorkerProgress(Progress):
    """A job's progress as events."""

    def __init__(self, channel: Channel, job: str, stop: threading.Event) -> None:
        """`stop` is set when Blender asks to cancel."""
        self._channel, self._job, self._stop = channel, job, stop
        self._done = self._total = 0
        self._sent = 0.0
        self._pace = Pace()

    def stage(self, name: str, total: int, by_frame: bool = False) -> None:
        """Send `stage`."""
        self._done, self._total, self._pace = 0, total, Pace(by_frame)
        self._channel.send("stage", name=name, total=total)

    def advance(self, steps: int = 1) -> None:
        """Send `progress`, at most ten times a second."""
        if not steps:
            return
        self._done += steps
        now = time.monotonic()
        self._pace.advance(self._done, now)
        if now - self._sent < 0.1 and self._done < self._total:
            return
        self._sent = now
        left = self._pace.left(self._done, self._total, now)
        self._channel.send(
            "progress", done=self._done, total=self._total, eta_s=None if left is None else round(left, 1)
        )

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        """Send `frame`, or `texture` for a bake."""
        self._pace.frame()
        if self._job == "bake":
            self._channel.send("texture", frame=frame, path=path, proxy=metrics.get("proxy"))
        else:
            self._channel.send("frame", frame=frame, path=path, metrics=_plain(metrics))

    def warning(self, sentence: str) -> None:
        """Send `warning`."""
        jobs.LOG.warning("%s", sentence)
        self._channel.send("warning", sentence=sentence)

    def cancelled(self) -> bool:
        """Whether Blender asked to stop, or is gone."""
        return self._stop.is_set()


def main() -> NoReturn:
    """Serve commands from stdin until it closes, then end the process."""
    channel = Channel(_reserve_stdout())
    faulthandler.enable()  # a crash in native code leaves its stack on stderr
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in Blender's terminal is Blender's; stdin closes if it ends
    memory = memory_gb()
    channel.send(
        "hello",
        protocol=PROTOCOL,
        engine=ENGINE,
        python=platform.python_version(),
        numba=package_version("numba"),
        torch=package_version("torch"),
        device="cpu",
        cores=cores(),
        memory_gb=None if memory is None else round(memory, 1),
        pid=os.getpid(),
    )
    stop = threading.Event()
    waiting: queue.Queue[dict | None] = queue.Queue()
    idle = threading.Event()
    idle.set()
    threading.Thread(target=_beat, args=(channel,), daemon=True).start()
    threading.Thread(target=_read, args=(channel, waiting, stop, idle), daemon=True).start()
    while (command := waiting.get()) is not None:
        _run(command, channel, stop, idle)
    os._exit(0)  # not sys.exit: a heartbeat caught in the middle by the interpreter's end would abort it


def _reserve_stdout() -> TextIO:
    """The real stdout as a stream of our own; whatever else prints to stdout goes to stderr from now on."""
    sys.stdout.flush()
    private = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    return private


def _beat(channel: Channel) -> None:
    while True:
        time.sleep(HEARTBEAT_S / 4)  # a kernel that holds Python's lock may swallow a beat or two
        channel.send("heartbeat")


def _read(channel: Channel, waiting: queue.Queue[dict | None], stop: threading.Event, idle: threading.Event) -> None:
    """Take commands from stdin until it closes; garbage is answered with a warning."""
    for raw in sys.stdin.buffer:
        line = raw.decode("utf-8", errors="replace")
        message = decode(line)
        command = None if message is None else message.get("command")
        if command == "cancel":
            stop.set()
        elif command == "start" and idle.is_set():
            idle.clear()
            stop.clear()
            waiting.put(message)
        elif command == "start":
            channel.send("warning", sentence="The engine is at work on another job; the new one was not started.")
        elif line.strip():
            channel.send("warning", sentence=f"The engine was sent a line that is no command: {line.strip()[:80]!r}.")
    stop.set()
    waiting.put(None)
    time.sleep(_GRACE_S)
    os._exit(0)


def _run(command: dict, channel: Channel, stop: threading.Event, idle: threading.Event) -> None:
    """Run one job and say how it ended: `done` or `error`, the last event of the job."""
    try:
        summary = _job(command, channel, stop)
    except Exception as problem:
        error = jobs.as_topo4d_error(problem)
        idle.set()
        channel.send("error", code=error.code, sentence=str(error), hint=_hint(error))
    else:
        idle.set()  # before `done`: the answer to it may be the next start
        channel.send("done", job=command["job"], summary=summary)


def _job(command: dict, channel: Channel, stop: threading.Event) -> dict:
    job = command.get("job")
    if job not in JOBS:
        raise RequestError(f"The engine knows no job {job!r}; update the extension and the engine to one version.")
    progress = WorkerProgress(channel, job, stop)
    if job == "open":
        return _open(channel, **_arguments(command, paths=("capture",), optional=("frames", "unit_mm", "cameras")))
    if job == "track":
        return jobs.track(
            progress,
            **_arguments(
                command,
                paths=("capture", "template", "take"),
                optional=_TRACK_OPTIONS,
            ),
        )
    arguments = _arguments(command, paths=("take",), optional=_BAKE_OPTIONS)
    return jobs.bake(progress, **arguments)


def _open(channel: Channel, capture: Path, **options: Any) -> dict:
    from .capture import describe, open_capture

    described = describe(open_capture(capture, **options))
    channel.send("capture", **described)
    return {"frames": len(described["frames"]), "cameras": len(described["cameras"])}


_TRACK_OPTIONS = (
    "frames", "start", "again", "anchors", "from_take", "cameras", "unit_mm", "method", "settings", "device", "resume"
)  # fmt: skip
_BAKE_OPTIONS = (
    "resolution", "frames", "cameras", "images", "format", "method", "base_texture", "detail", "device", "resume",
    "overwrite",
)  # fmt: skip
_KINDS: dict[str, tuple[type, ...]] = {
    "frames": (str,),
    "start": (int,),
    "again": (str,),
    "anchors": (str,),
    "from_take": (str,),
    "cameras": (list,),
    "unit_mm": (int, float),
    "method": (str,),
    "settings": (dict,),
    "device": (str,),
    "resume": (bool,),
    "resolution": (int,),
    "images": (str,),
    "format": (str,),
    "base_texture": (str,),
    "detail": (int, float),
    "overwrite": (bool,),
}


def _arguments(command: dict, paths: tuple[str, ...], optional: tuple[str, ...]) -> dict:
    """The job's arguments from its command; null means not given. Raises RequestError for what is absent or odd."""
    arguments: dict[str, Any] = {}
    for name in paths:
        value = command.get(name)
        if not isinstance(value, str) or not value:
            raise RequestError(f"The job {command['job']} was started without {name}.")
        arguments[name] = Path(value)
    for name in optional:
        value = command.get(name)
        if value is None:
            continue
        if not isinstance(value, _KINDS[name]) or (name == "cameras" and not all(isinstance(c, str) for c in value)):
            raise RequestError(f"The job {command['job']} was given {name} = {value!r}, which is of no use to it.")
        arguments[name] = Path(value) if name in ("images", "base_texture", "anchors", "from_take") else value
    return arguments


def _hint(error: Topo4DError) -> str:
    if error.code == "internal":
        return "Report it with log.txt of the take folder."
    if error.code == "cancelled":
        return "Start it again with resume to go on."
    return getattr(error, "hint", "")


def _plain(metrics: dict) -> dict:
    from .take.journal import to_json

    return to_json(metrics)
