"""The frame loop: read ahead, predict, solve, judge, write; resumes where the take stands."""

from __future__ import annotations

import time

import numpy as np

from ..capture import Camera, Capture
from ..errors import RequestError
from ..progress import Progress
from ..take import Take
from .methods import Solver, make_solver
from .reader import PlateReader
from .solver import Solution

Array = np.ndarray
LEAST_SHARE = 0.15  # of the template's vertices that must lie in some picture
LEAST_PIXELS = 24  # across, in some picture


def track_take(take: Take, capture: Capture, progress: Progress | None = None) -> None:
    """Solve every frame of `take.request.frames` that is not on disk yet, each written whole before the next begins.

    Calls `progress.frame(frame, path, metrics)` for each. Raises RequestError (template nowhere in view), WorkError
    (disk full), Cancelled.
    """
    progress = progress or Progress()
    frames = take.request.frames
    solved = set(take.solved_frames())
    start = next((i for i, f in enumerate(frames) if f not in solved), len(frames))
    progress.stage("Tracking", len(frames))
    progress.advance(start)
    if start == len(frames):
        return
    template = take.template
    cameras = tuple(c.undistorted() for c in capture.cameras)
    solver, prediction = make_solver(take.request.method, template, cameras, take.request.settings)
    reader = PlateReader(capture, solver.scales)
    try:
        reader.request(frames[0])
        images = solver.pyramid(reader.take(frames[0]))
        began = time.perf_counter()
        _look(solver, template.vertices, images, take, capture)
        progress.check()
        for i in range(start, len(frames)):
            frame = frames[i]
            if i == 0:
                metrics = _metrics(Solution(template.vertices, np.zeros(len(capture.cameras)), 1.0, 0), capture, frame)
                vertices = template.vertices
            else:
                reader.request(frame)
                plates = reader.take(frame)
                if i + 1 < len(frames):
                    reader.request(frames[i + 1])
                previous = take.read_geometry(frames[i - 1]).astype(np.float64)
                before = take.read_geometry(frames[max(i - 2, 0)]).astype(np.float64)
                guess = previous + prediction * (previous - before)
                solution = solver.solve(solver.pyramid(plates), previous, guess, template.vertices, progress.check)
                vertices, metrics = solution.vertices, _metrics(solution, capture, frame)
            metrics["seconds"] = round(time.perf_counter() - began, 3)
            path = take.write_geometry(frame, vertices, metrics)
            progress.frame(frame, str(path), metrics)
            progress.advance()
            progress.check()
            began = time.perf_counter()
    finally:
        reader.close()


def _look(solver: Solver, vertices: Array, images: list[Array], take: Take, capture: Capture) -> None:
    """Remember the reference frame; refuse a template that no camera sees there, with a picture that shows it."""
    why = _out_of_view(vertices, capture.cameras)
    if not why and solver.remember(vertices, images) > 0:
        return
    from ..report.staging import draw_staging  # a picture only when it is needed

    picture = draw_staging(take.folder / "not_in_view.png", vertices, capture.cameras)
    raise RequestError(
        f"No camera of {capture.source} sees the template in frame {take.request.frames[0]}{why}: it must lie where "
        f"the head was filmed, in the capture's own space and unit. {picture} shows where both are."
    )


def _out_of_view(vertices: Array, cameras: tuple[Camera, ...]) -> str:
    """Why no camera can see enough of the template (a wrong unit, mostly); "" if one can."""
    shares, sizes = [], []
    for camera in cameras:
        pixels, depth = camera.undistorted().project(vertices)
        inside = (depth > 0) & (pixels > 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)
        shares.append(inside.mean())
        sizes.append(np.ptp(pixels[inside], axis=0).max() if inside.any() else 0.0)
    if max(shares) < LEAST_SHARE:
        return f" (at most {100 * max(shares):.0f} % of it lies in any picture)"
    if max(sizes) < LEAST_PIXELS:
        return f" (it is {max(sizes):.0f} px small)"
    return ""


def _metrics(solution: Solution, capture: Capture, frame: int) -> dict:
    """A line of metrics.jsonl."""
    residuals = {
        camera.name: round(float(r), 4)
        for camera, r in zip(capture.cameras, solution.residual_px, strict=True)
        if np.isfinite(r)
    }
    missing = [c.name for c in capture.cameras if c.name not in capture.images.get(frame, {})]
    return {
        "iterations": solution.iterations,
        "residual_px": residuals,
        "seen": round(solution.seen, 4),
        "flags": ["missing_plates"] if missing else [],
    }
