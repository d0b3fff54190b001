"""Tracks a take: its walks in order, every frame whole before the next begins; resumes where the take stands."""

from __future__ import annotations

import time

import numpy as np

from ..capture import Capture
from ..capture.patterns import frames_text
from ..errors import RequestError
from ..progress import Progress
from ..take import Take
from ..take.order import moved_last
from ..take.passes import Pass
from .blend import blend
from .first_look import FirstLook
from .judge import Judge
from .methods import make_solver
from .plan import Walk, plan_walks, solved_together, touched
from .reader import PlateReader
from .solver import Solution
from .walker import Walker

Array = np.ndarray


def track_take(take: Take, capture: Capture, progress: Progress | None = None, device: str = "cpu") -> None:
    """Solve every frame of `take.request.frames` that is still to be solved, each written whole before the next begins.

    Calls `progress.frame(frame, path, metrics)` for each. Raises RequestError (template nowhere in view), WorkError
    (disk full), Cancelled.
    """
    progress = progress or Progress()
    anchors = _meet_anchors(take)
    walks = plan_walks(take.request.frames, anchors)
    total = len({take.request.frames[0], *anchors}) + sum(len(walk.frames) for walk in walks)
    progress.stage("Tracking", total)
    pending = take.pending_frames()
    if not pending and not _poses_missing(take):
        progress.advance(total)
        return
    template = take.template
    cameras = tuple(c.undistorted() for c in capture.cameras)
    solver, prediction = make_solver(take.request.method, template, cameras, take.request.settings, device)
    if apart := _solved_elsewhere(take, pending, device):
        progress.warning(apart)
    judge = Judge(template, cameras, solver.scales)
    reader = PlateReader(capture, solver.scales)
    try:
        walker = Walker(capture, template, solver, prediction, reader, judge, progress)
        _Track(take, walker, pending, anchors, device).run(walks)
    finally:
        reader.close()


def ask_again(take: Take, frames: list[int]) -> None:
    """Have `frames` of `take` solved again, in this order, from the frames that stay.

    Between two anchors all frames are solved together. Raises RequestError if none of `frames` can be solved again.
    """
    anchors = set(_meet_anchors(take))  # one that is new is met whatever else is asked
    asked = solved_together(take.request.frames, anchors, set(frames) & set(take.request.frames))
    if not asked:
        raise RequestError(f"None of these frames of {take.folder} is solved by tracking; they are given.")
    if not anchors:
        take.reorder(moved_last(take.request.frames, frames))
    take.drop_passes()
    take.ask_again(sorted(asked & set(take.solved_frames())))
    walks = [walk for walk in plan_walks(take.request.frames, anchors) if walk.between is None]
    take.trust({walk.parents[f] for walk in walks for f in asked & set(walk.frames)} - asked - {w.given for w in walks})


def _meet_anchors(take: Take) -> list[int]:
    """The anchors of the take's frames; what was solved without them as they are now is to be solved again."""
    now, before = _anchors_now(take), take.known_anchors
    if now != before:
        take.drop_passes()
        take.ask_again(sorted(touched(take.request.frames, before, now) & set(take.solved_frames())))
        take.know_anchors(now)
    return sorted(now)


def _anchors_now(take: Take) -> dict[int, str]:
    """The anchors that lie in the take, as far as they are of its frames; the template gives the first."""
    return {f: digest for f, digest in take.anchor_digests().items() if f in take.request.frames[1:]}


def _solved_elsewhere(take: Take, pending: set[int], device: str) -> str | None:
    """A sentence, if frames that stay were solved on another device than those to come; None otherwise."""
    others: dict[str, list[int]] = {}
    for frame, line in sorted(take.metrics().items()):
        if frame not in pending and line.get("device", device) != device:
            others.setdefault(line["device"], []).append(frame)
    if not others:
        return None
    named = " and ".join(f"{frames_text(frames)} on {name}" for name, frames in others.items())
    return (
        f"Frames of this take were solved elsewhere ({named}), the rest is solved on {device}: the two agree but for "
        "small fractions of a pixel. metrics.jsonl says which frame was solved where."
    )


def _poses_missing(take: Take) -> list[int]:
    """Solved frames whose head pose is not stored."""
    known = np.isfinite(take.head_pose()).all(axis=(1, 2))
    solved = set(take.solved_frames())
    return [f for f, there in zip(take.request.frames, known, strict=True) if f in solved and not there]


class _Track:
    """One run over a take: it knows what is on disk and keeps the journal, the poses and the passes in step."""

    def __init__(self, take: Take, walker: Walker, pending: set[int], anchors: list[int], device: str) -> None:
        self._take, self._walker, self._pending, self._anchors = take, walker, pending, anchors
        self._device = device
        self._progress, self._head = walker.progress, walker.judge.head
        self.lines = {f: line for f, line in take.metrics().items() if f not in pending}
        self._poses = take.head_pose()
        self._first_look = FirstLook(walker, take.folder)
        self._row = {frame: row for row, frame in enumerate(take.request.frames)}
        self._fit_missing_poses()

    def run(self, walks: list[Walk]) -> None:
        """Make every walk that has a frame to solve."""
        first = self._take.request.frames[0]
        for frame in (*self._anchors, first):
            if frame in self._pending:
                self._look(frame)  # before anything is written
        self._progress.check()
        self._give(first, self._walker.template.vertices)
        for frame in self._anchors:
            self._give(frame, self._take.anchors.read(frame))
        for walk in walks:
            open_frames = [f for f in walk.frames if f in self._pending]
            if not open_frames:
                self._progress.advance(len(walk.frames))
                continue
            self._look(walk.given)
            self._progress.check()
            if walk.between is None:
                self._progress.advance(len(walk.frames) - len(open_frames))
                self._walker.go(walk, self)
            else:
                self._go_between(walk)
        self._take.drop_passes()  # of a walk that was stopped between its last frame and here

    def read(self, frame: int) -> Array:
        """Vertices of a frame that is there (walker.Store)."""
        return self._take.geometry.read(frame)

    def write(self, frame: int, vertices: Array, metrics: dict) -> None:
        """Write a frame, its line and its pose, and say so (walker.Store)."""
        if not metrics.get("given"):
            metrics = {**metrics, "device": self._device}
        path = self._take.write_geometry(frame, vertices, metrics)
        self.lines[frame] = metrics
        self._pending.discard(frame)
        self._poses[self._row[frame]] = self._head(self._take.geometry.read(frame))
        self._take.write_head_pose(self._poses)
        self._progress.frame(frame, str(path), metrics)

    def _give(self, frame: int, vertices: Array) -> None:
        """Write a frame whose vertices are given."""
        if frame in self._pending:
            began = time.perf_counter()
            nothing = Solution(vertices, np.zeros(len(self._walker.capture.cameras)), 1.0, 0)
            metrics = {**self._walker.describe(frame, nothing, None, []), "given": True}
            metrics["seconds"] = round(time.perf_counter() - began, 3)
            if frame in self._first_look.misfits:
                metrics["flags"] = [*metrics["flags"], "does_not_fit"]
            self.write(frame, vertices, metrics)
        self._progress.advance()

    def _go_between(self, walk: Walk) -> None:
        """One of the two walks between two given frames; on the way back each frame is joined and written."""
        left, right = walk.between
        passes = {d: _GivenPass(self._take, left, right, d) for d in ("forward", "backward")}
        self._progress.advance(sum(f in passes[walk.direction].lines for f in walk.frames))

        def join(frame: int) -> None:
            if walk.direction == "backward" and frame in self._pending:
                self._join(frame, left, right, passes)

        self._walker.go(walk, passes[walk.direction], join)
        if walk.direction == "backward":
            self._take.drop_passes(left, right)

    def _join(self, frame: int, left: int, right: int, passes: dict[str, _GivenPass]) -> None:
        """Blend the two passes by how far the frame is from either anchor; a pass that lost it gives way."""
        forward, backward = (passes[d].read(frame).astype(np.float64) for d in ("forward", "backward"))
        lines = [passes[d].lines[frame] for d in ("forward", "backward")]
        lost = ["lost" in line["flags"] for line in lines]
        share = float(lost[0]) if lost[0] != lost[1] else (frame - left) / (right - left)
        vertices = blend(self._head, forward, backward, share)
        nearer = lines[share > 0.5]
        metrics = {k: v for k, v in nearer.items() if k not in ("frame", "start")}
        metrics["seconds"] = round(sum(line["seconds"] for line in lines), 3)
        self.write(frame, vertices, {**metrics, "between": [left, right]})

    def _look(self, frame: int) -> None:
        """Make a given frame the reference; refuse a mesh that no camera sees there, warn of one that does not fit."""
        take = self._take
        if frame == take.request.frames[0]:
            self._first_look(frame, self._walker.template.vertices, "the template")
        else:
            vertices = take.anchors.read(frame).astype(np.float64)
            self._first_look(frame, vertices, f"the anchor {take.anchors.path(frame)}")

    def _fit_missing_poses(self) -> None:
        missing = _poses_missing(self._take)
        for frame in missing:
            self._poses[self._row[frame]] = self._head(self._take.geometry.read(frame))
        if missing:
            self._take.write_head_pose(self._poses)


class _GivenPass:
    """A pass between two given frames, which lie in the take's geometry (walker.Store)."""

    def __init__(self, take: Take, left: int, right: int, direction: str) -> None:
        self._pass: Pass = take.working_pass(left, right, direction)
        self._take, self._given = take, (left, right)
        self.lines, self.write = self._pass.lines, self._pass.write

    def read(self, frame: int) -> Array:
        return (self._take.geometry if frame in self._given else self._pass).read(frame)
