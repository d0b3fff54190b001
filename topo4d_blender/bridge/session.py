"""What runs right now: one engine, at most one job, and what the panels say about them.

Lives on the module, not in a Scene: progress is no data of the .blend and must survive undo and the opening of another
file. Data-blocks are remembered by name and session uid and looked up each time. `step` is the whole heartbeat; a timer
calls it (`pump`), and so do the tests.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from . import head_motion, maps, shape_keys, takes
from .arrays import capture_to_object
from .engine import Engine
from .errors import BridgeError
from .interpreter import Interpreter


@dataclass
class Handle:
    """A data-block that is looked up when needed: references do not survive undo or the opening of another file."""

    collection: str  # of bpy.data
    name: str
    uid: int

    @classmethod
    def of(cls, block: bpy.types.ID | None) -> Handle | None:
        """The handle of `block`; None of None."""
        if block is None:
            return None
        collection = "scenes" if isinstance(block, bpy.types.Scene) else "objects"
        return cls(collection, block.name, block.session_uid)

    def find(self) -> bpy.types.ID | None:
        """The data-block, also after it was renamed; None if it is gone or another file is open."""
        blocks = getattr(bpy.data, self.collection)
        block = blocks.get(self.name)
        if block is None or block.session_uid != self.uid:
            block = next((other for other in blocks if other.session_uid == self.uid), None)
        return block


@dataclass
class Job:
    """One job of the worker. `finish` is called when it is done, inside the operator that makes it one undo step."""

    command: dict
    scene: Handle
    finish: Callable[[Job], str]  # shows the result, returns the sentence for the status line
    obj: Handle | None = None
    root: Handle | None = None
    folder: Path | None = None
    view: int = 0  # the area the job was asked for from (`views.find_view`)
    stage: str = "Starting the engine"
    total: int = 0
    done: int = 0
    eta_s: float | None = None
    sent: bool = False
    cancelling: bool = False
    capture: dict | None = None  # the capture event of an "open" job
    backlog: deque[int] = field(default_factory=deque)  # frames on disk that are not on the mesh yet
    warnings: list[str] = field(default_factory=list)
    outcome: tuple[str, str, bool] | None = None  # what is said of a job that ended early, instead of `finish`'s word

    @property
    def kind(self) -> str:
        """ "open", "track" or "bake"."""
        return self.command["job"]

    @property
    def fraction(self) -> float:
        """How much of the stage is done, 0 to 1."""
        return min(self.done / self.total, 1.0) if self.total else 0.0


class Session:
    """The engine, the job, and the last thing worth saying."""

    def __init__(self) -> None:
        """Nothing runs yet."""
        self.engine: Engine | None = None
        self.hello: dict | None = None  # of the last engine that answered
        self.failure = ""  # why the engine is of no use; "" while nobody knows of a reason
        self.job: Job | None = None
        self.ready: Job | None = None  # done by the worker, to be shown by the operator `topo4d.commit`
        self.message = ""  # about the last job
        self.about = ""  # the kind of that job
        self.hint = ""
        self.alert = False  # whether `message` is about something that went wrong
        self.warnings: list[str] = []

    def start_engine(self, interpreter: Interpreter, log: Path, launcher: Path | None = None) -> None:
        """Start the worker unless one runs. What prevents it is in `failure`."""
        if self.engine is not None and self.engine.running:
            return
        self.close_engine()
        self.failure = ""
        self.engine = Engine(interpreter, log, launcher) if launcher else Engine(interpreter, log)
        self.engine.start()
        self._notice_failure()

    def close_engine(self) -> None:
        """End the worker and forget its job."""
        if self.engine is not None:
            self.engine.close()
        self.engine = self.hello = self.job = None

    def submit(self, job: Job) -> None:
        """Give `job` to the engine, now or when it has said hello. Raises BridgeError if one runs already."""
        if self.job is not None:
            raise BridgeError("The engine is busy; cancel what runs or wait for it.")
        self.job, self.ready, self.about = job, None, job.kind
        self._say("")
        self.warnings = job.warnings
        self._send_if_greeted()

    def cancel(self) -> None:
        """Ask the job to stop; what is finished is kept."""
        if self.job is None:
            return
        self.job.cancelling = True
        if self.job.sent:
            self.engine.cancel()
        else:
            self._end("Stopped before it began.")

    def resync(self) -> None:
        """Undo took frames off the mesh: put those that the running job has written back in line."""
        if self.job is not None and self.job.kind == "track" and self.job.sent:
            self.job.backlog = deque(takes.solved_frames(self.job.folder))

    def step(self, budget_s: float = 0.008) -> bool:
        """Hear the engine and put finished frames on the mesh, for about `budget_s`; whether anything changed.

        When a job is done it lies in `ready`, and the caller runs `commit` inside an undo step.
        """
        if self.engine is None:
            return False
        messages = self.engine.poll()
        greeted = self.hello is None and self.engine.hello is not None
        self.hello = self.engine.hello
        if self.job is not None:
            self._send_if_greeted()
        for message in messages:
            if self.job is not None:
                self._hear(message)
        failed = self._notice_failure()
        shown = self.job is not None and self._show_frames(time.monotonic() + budget_s)
        return bool(messages) or greeted or failed or shown

    def commit(self) -> None:
        """Show the result of the finished job whole. Raises nothing: what goes wrong becomes the message."""
        job, self.ready = self.ready, None
        if job is None:
            return
        try:
            sentence = job.finish(job)
            self._say(*(job.outcome or (sentence,)))
        except BridgeError as error:
            self._say(str(error), alert=True)

    def _send_if_greeted(self) -> None:
        if self.engine is not None and self.engine.hello is not None and not self.job.sent:
            self.job.sent = True
            self.job.stage = "Reading the capture"  # every job begins with that; the worker names its stages after it
            self.engine.send({"command": "start", **self.job.command})

    def _hear(self, message: dict) -> None:
        """One event of the worker (core.protocol)."""
        job, event = self.job, message["event"]
        if event == "stage":
            job.stage, job.total, job.done, job.eta_s = str(message["name"]), int(message["total"]), 0, None
        elif event == "progress":
            job.done, job.total, job.eta_s = int(message["done"]), int(message["total"]), message.get("eta_s")
        elif event == "capture":
            job.capture = message
        elif event == "frame":
            job.backlog.append(int(message["frame"]))
        elif event == "warning":
            job.warnings.append(str(message["sentence"]))
        elif event == "done":
            self.job, self.ready = None, job
        elif event == "error":
            code = message.get("code")
            hint = "" if code == "cancelled" else str(message.get("hint") or "")
            self._end(str(message["sentence"]), hint, alert=code != "cancelled", show=code != "request")

    def _notice_failure(self) -> bool:
        engine = self.engine
        if engine is None or not engine.failure:
            return False
        stopped = self.job is not None and self.job.cancelling
        if not stopped:
            self.failure = engine.failure
        if self.job is not None:
            self._end(engine.failure, alert=not stopped)
        self.engine = self.hello = None
        return True

    def _end(self, sentence: str, hint: str = "", alert: bool = False, show: bool = True) -> None:
        """The job is over before its end; the frames that it finished are shown all the same.

        Not `show`: it was refused, and what lies in its folder may be another mesh's.
        """
        job, self.job = self.job, None
        self._say(sentence, hint, alert)
        if show and _has_results(job):
            job.outcome = (sentence, hint, alert)
            self.ready = job

    def _say(self, sentence: str, hint: str = "", alert: bool = False) -> None:
        self.message, self.hint, self.alert = sentence, hint, alert

    def _show_frames(self, until: float) -> bool:
        """Append keys for the backlog until the time is spent. In an edit mode they wait: the mesh is elsewhere."""
        job = self.job
        obj = job.obj.find() if job.obj else None
        if obj is None or obj.mode not in ("OBJECT", "POSE") or not job.backlog:
            return False
        if head_motion.is_on(obj):  # poses are known when all is solved; until then the keys hold everything
            head_motion.take_off(obj)
            job.backlog = deque(takes.solved_frames(job.folder))
        matrix = capture_to_object(obj, job.root.find() if job.root else None)
        if takes.folder_of(obj) != job.folder:
            shape_keys.clear(obj)  # frames of two takes side by side would be neither
            obj.topo4d.worst.clear()
            obj.topo4d.flags.clear()
            obj.topo4d.take = str(job.folder)  # a file saved from now on finds the rest when it is opened
        while job.backlog and time.monotonic() < until:
            frame = job.backlog.popleft()
            try:
                shape_keys.append(obj, frame, takes.read_geometry(job.folder, frame), matrix)
            except BridgeError as error:
                job.warnings.append(str(error))
        shape_keys.refresh_playback(obj)
        return True


def _has_results(job: Job) -> bool:
    if job.folder is None:
        return False
    return bool(takes.solved_frames(job.folder) if job.kind == "track" else maps.find(job.folder).frames)


SESSION = Session()
