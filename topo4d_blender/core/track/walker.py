"""Walks frame after frame: read ahead, choose where to start, predict, solve, judge, hand over to be written."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from ..capture import Capture
from ..errors import RequestError
from ..progress import Progress
from ..template import Template
from .judge import Judge, Verdict
from .methods import Solver
from .placement import Fit, measure_fit
from .plan import Walk
from .reader import PlateReader
from .solver import Solution

Array = np.ndarray
PATIENCE = 5  # frames that are solved and lost, after which the next starts from the last of them all the same
BACK = tuple(2**n for n in range(10))  # frames: see `_earlier`
CLEARLY = 0.7  # of the last good frame's misfit: below it a lost frame is the better start


class Store(Protocol):
    """Where a walk's frames are kept."""

    lines: dict[int, dict]  # frame -> what is known of it, of every frame that need not be solved

    def read(self, frame: int) -> Array:
        """Vertices of the walk's given frame or of one in `lines`.  # [V, 3]."""

    def write(self, frame: int, vertices: Array, metrics: dict) -> None:
        """Keep a solved frame; it is in `lines` then."""


@dataclass(frozen=True)
class Walker:
    """What all walks of a take share."""

    capture: Capture
    template: Template
    solver: Solver
    prediction: float
    reader: PlateReader
    judge: Judge
    progress: Progress
    recent: dict[int, list[Array]] = field(default_factory=dict)  # frame -> its pictures, of the last frame solved

    def remember(self, frame: int, vertices: Array, measure: bool = False) -> tuple[float, Fit | None]:
        """Make `frame`, whose `vertices` [V, 3] are given, the reference; returns the share of triangles seen.

        With `measure` also how well the vertices fit; None if that cannot be told. Cameras that show nothing are left
        out, and named with `measure`. Raises RequestError if none shows anything.
        """
        plates = self.reader.take(frame)
        witness = self.judge.witness
        blank = witness.nothing(plates)
        if len(blank) == sum(plate is not None for plate in plates):
            raise RequestError(
                f"No plate of frame {frame} of {self.capture.source} shows anything (black, white or a closed "
                "shutter): put them right, or give the mesh in another frame."
            )
        plates = _without(plates, blank)
        if measure and blank:
            names = ", ".join(self.capture.cameras[k].name for k in blank)
            self.progress.warning(
                f"In frame {frame}, which the others are compared with, these cameras show nothing (black, white or a "
                f"closed shutter) and are left out: {names}. Put their plates right, or give the mesh in another frame."
            )
        share = self.solver.remember(vertices, self.solver.pyramid(plates))
        witness.remember(vertices, plates)
        fit = measure_fit(witness.views, vertices, self.template.triangles, plates) if measure and share else None
        return share, fit

    def go(self, walk: Walk, store: Store, after: Callable[[int], None] = lambda frame: None) -> None:
        """Solve the frames of `walk` that `store` lacks; `after` is called for each frame once it is there."""
        began = time.perf_counter()
        missing = [f for f in walk.frames if f not in store.lines]
        following = dict(zip(missing, missing[1:], strict=False))
        for frame in walk.frames:
            if frame not in store.lines:
                plates = self.reader.take(frame)
                if frame in following:
                    self.reader.request(following[frame])
                vertices, metrics = self._solve(frame, plates, walk, store)
                metrics["seconds"] = round(time.perf_counter() - began, 3)
                store.write(frame, vertices, metrics)
                self.progress.advance()
            after(frame)
            self.progress.check()
            began = time.perf_counter()

    def _solve(self, frame: int, plates: list[Array | None], walk: Walk, store: Store) -> tuple[Array, dict]:
        """Vertices of `frame` and its line."""
        blank = self.judge.witness.blank(plates)
        plates = _without(plates, blank)
        start = self._start(frame, plates, walk, store)
        previous = store.read(start).astype(np.float64)
        if all(plate is None for plate in plates):
            metrics = self.describe(frame, None, None, blank)
            return previous, {**metrics, "flags": [*metrics["flags"], "lost"], "start": start}
        guess = self._guess(frame, start, previous, walk, store)
        images = self.solver.pyramid(plates)
        before = self._pictures(start, store)
        earlier = [] if before is None else self._earlier(start, walk, store)
        solution = self.solver.solve(
            images, previous, guess, self.template.vertices, self.progress.check, before, earlier
        )
        self.recent.clear()
        self.recent[frame] = images
        place = walk.frames.index(frame)
        levels = [store.lines[f].get("miss_px") for f in walk.frames[:place] if f in store.lines]
        gap = self._steps(frame, start, walk)
        verdict = self.judge.look(solution.vertices, previous, plates, gap, [level for level in levels if level])
        return solution.vertices, {**self.describe(frame, solution, verdict, blank), "start": start}

    def _pictures(self, frame: int, store: Store) -> list[Array] | None:
        """The pictures of a frame that was solved before, without its blank plates; None where they may mislead.

        Those of a lost frame do not show the mesh where it stands, nor need those of one that an artist put right.
        """
        if self._lost(frame, store) or store.lines.get(frame, {}).get("trusted"):
            return None
        if frame not in self.recent:
            plates = self.reader.take(frame)
            self.recent[frame] = self.solver.pyramid(_without(plates, self.judge.witness.blank(plates)))
        return self.recent[frame]

    def _start(self, frame: int, plates: list[Array | None], walk: Walk, store: Store) -> int:
        """The frame to start from: the one before, or if that one is lost the last that is not.

        Unless the lost one wears the new plates clearly better, or so many are lost that it is no longer the frames
        that are odd: a change that stays (of light, of a camera) is not to be fought for ever.
        """
        before = walk.parents[frame]
        good, lost = before, 0
        while self._lost(good, store) and good in walk.parents:
            lost += bool(store.lines[good].get("residual_px"))  # not those without a picture
            good = walk.parents[good]
        if not lost or all(plate is None for plate in plates):
            return good
        if lost > PATIENCE:
            return before
        fits = [self.judge.fit(store.read(f).astype(np.float64), plates) for f in (good, before)]
        return before if fits[1] < CLEARLY * fits[0] else good

    def _guess(self, frame: int, start: int, previous: Array, walk: Walk, store: Store) -> Array:
        """`previous` [V, 3], moved on by a share of the last motion in the same direction."""
        before = walk.parents.get(start)
        if before is None or self._lost(start, store) or self._lost(before, store):
            return previous
        pace = (frame - start) / (start - before)
        if pace <= 0:
            return previous
        return previous + self.prediction * min(pace, 1.0) * (previous - store.read(before).astype(np.float64))

    def _earlier(self, start: int, walk: Walk, store: Store) -> list[Array]:
        """Frames before `start`, the nearer the denser: of what the performance has shown, enough at any length.

        Only those that `start` came from: the same whenever the frame is solved, in one go or resumed.
        """
        good, frame = [], start
        while frame in walk.parents and len(good) < BACK[-1]:
            frame = walk.parents[frame]
            if not self._lost(frame, store):
                good.append(frame)
        return [store.read(good[n - 1]).astype(np.float64) for n in BACK if n <= len(good)]

    @staticmethod
    def _lost(frame: int, store: Store) -> bool:
        return "lost" in store.lines.get(frame, {}).get("flags", [])

    @staticmethod
    def _steps(frame: int, start: int, walk: Walk) -> int:
        """How many frames of the walk lie from `start` to `frame`."""
        steps = 1
        while walk.parents[frame] != start and walk.parents[frame] in walk.parents:
            frame, steps = walk.parents[frame], steps + 1
        return steps

    def describe(self, frame: int, solution: Solution | None, verdict: Verdict | None, blank: list[int]) -> dict:
        """A line of metrics.jsonl. No solution: nothing could be solved; no verdict: nothing was looked at."""
        cameras = [camera.name for camera in self.capture.cameras]
        residuals = np.full(len(cameras), np.nan) if solution is None else solution.residual_px
        missing = [name for name in cameras if name not in self.capture.images.get(frame, {})]
        dark = [cameras[k] for k in blank]
        where = {"missing_plates": missing, "dark_plates": dark}
        where = {flag: {"count": len(names), "cameras": names} for flag, names in where.items() if names}
        line = {
            "iterations": 0 if solution is None else solution.iterations,
            "residual_px": {n: round(float(r), 4) for n, r in zip(cameras, residuals, strict=True) if np.isfinite(r)},
            "seen": 0.0 if solution is None else round(solution.seen, 4),
            "flags": [*where, *(verdict.flags if verdict else [])],
            "where": {**where, **(verdict.where if verdict else {})},
        }
        if verdict:
            line["miss_px"] = None if verdict.miss_px is None else round(verdict.miss_px, 4)
        return line


def _without(plates: list[Array | None], cameras: list[int]) -> list[Array | None]:
    """`plates` as if these `cameras` had none."""
    return [None if k in cameras else plate for k, plate in enumerate(plates)]
