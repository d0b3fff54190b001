"""The tracker's tables: `python benchmarks/tracking.py CAPTURE ... [--tables accuracy cameras back methods]`.

CAPTURE is a folder with capture.json (or capture/ that has it), start.obj and truth.npz. All lengths are in mm, over
the truth's face mask, without any alignment. What is compared is tracked in one run of this script, on one machine.

    accuracy   vertex error, distance to the true surface, folds and jitter beyond the truth's, seconds a frame
    cameras    the vertex error with half of the cameras, with 8 and with 4
    back       forward through the take and backward to the first frame: how far from where it began
    methods    seconds a frame and error of every method on the same few frames, beside gauss-newton
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from topo4d_blender.core import jobs
from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.evaluate import evaluate_take
from topo4d_blender.core.machine import cores
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take import Take
from topo4d_blender.core.track.methods import make_solver
from topo4d_blender.core.track.reader import PlateReader

Row = Sequence[str | float | None]


@dataclass(frozen=True)
class Case:
    """One capture with its truth."""

    name: str
    capture: Path
    template: Path
    truth: Path
    frames: str | None

    @classmethod
    def at(cls, folder: Path, frames: str | None) -> Case:
        """The capture in `folder`; SystemExit if it is none."""
        capture = folder / "capture" if (folder / "capture").is_dir() else folder
        template, truth = capture / "start.obj", folder / "truth.npz"
        for path in (template, truth):
            if not path.is_file():
                sys.exit(f"error: {path} is missing; a capture to measure on has start.obj and truth.npz.")
        return cls(folder.name, capture, template, truth, frames)


@dataclass(frozen=True)
class Tracked:
    """A take, its scores and what it cost."""

    take: Path
    scores: dict
    seconds: float  # a frame, the first and what is done once left out


class Clock(Progress):
    """When each frame was written."""

    def __init__(self) -> None:
        """No frame yet."""
        self.times: list[float] = []

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        """Note the time."""
        self.times.append(time.perf_counter())


def track(case: Case, take: Path, **options: object) -> Tracked:
    """Track `case` into `take` and score it."""
    clock = Clock()
    options = {"frames": case.frames, **options}
    jobs.track(clock, capture=case.capture, template=case.template, take=take, **options)
    seconds = (clock.times[-1] - clock.times[0]) / max(1, len(clock.times) - 1)
    return Tracked(take, evaluate_take(Take.open(take), case.truth), seconds)


def accuracy(cases: list[Case], scratch: Path) -> Iterator[Row]:
    """A row a capture."""
    yield (
        "capture", "frames", "mean", "median", "p95", "< 0.2", "< 0.5", "< 1", "folded", "jitter / truth's",
        "flagged frames", "s a frame",
    )  # fmt: skip
    for case in cases:
        tracked = track(case, scratch / case.name / "all")
        overall = tracked.scores["overall"]
        error, within = overall["vertex_error_mm"], overall["mesh_to_scan_mm"]["within"]
        flagged = sum(bool(line["flags"]) for line in Take.open(tracked.take).metrics().values())
        yield (
            case.name, overall["frames"], error["mean"], error["median"], error["p95"],
            *(f"{100 * within[limit]:.2f} %" for limit in ("0.2", "0.5", "1")), overall["folded_triangles"],
            overall["jitter_mm"]["ratio"], flagged, tracked.seconds,
        )  # fmt: skip


def cameras(cases: list[Case], scratch: Path) -> Iterator[Row]:
    """A row a capture: mean error with fewer cameras, spread evenly, and its ratio to that of all."""
    yield "capture", "cameras", "all", "half", "8", "4", "half / all", "8 / all", "4 / all"
    for case in cases:
        names = [camera.name for camera in open_capture(case.capture).cameras]
        means = []
        for count in (len(names), len(names) // 2, 8, 4):
            if count > len(names):
                means.append(None)
                continue
            chosen = [names[i] for i in np.linspace(0, len(names) - 1, count).round().astype(int)]
            tracked = _once(case, scratch, "all" if count == len(names) else f"{count} cameras", cameras=chosen)
            means.append(tracked.scores["overall"]["vertex_error_mm"]["mean"])
        yield case.name, len(names), *means, *(None if m is None else m / means[0] for m in means[1:])


def back(cases: list[Case], scratch: Path) -> Iterator[Row]:
    """A row a capture: there and back to the first frame, which is solved again from the second."""
    yield "capture", "frames", "mean", "p95", "max"
    for case in cases:
        there = Take.open(_once(case, scratch, "all").take)
        first, *others = there.request.frames
        run = ",".join(str(f) for f in sorted(others, reverse=True))
        folder = scratch / case.name / "back"
        jobs.track(Progress(), capture=case.capture, take=folder, frames=run, from_take=there.folder)
        returned = first_again(case, Take.open(folder), first, sorted(others)[:2])
        apart = np.linalg.norm(returned - there.template.vertices, axis=1)[
            np.load(case.truth)["face_mask"].astype(bool)
        ]
        apart *= there.request.unit_mm
        yield case.name, len(there.request.frames), apart.mean(), np.percentile(apart, 95), apart.max()


def first_again(case: Case, take: Take, first: int, following: list[int]) -> np.ndarray:
    """Vertices of the frame `first`, solved from those that follow it.  # [V, 3]."""
    capture = open_capture(case.capture, str(first))
    template, views = take.template, tuple(camera.undistorted() for camera in capture.cameras)
    solver, prediction = make_solver(take.request.method, template, views, take.request.settings)
    images = solver.pyramid(PlateReader(capture, solver.scales).take(first))
    solver.remember(template.vertices, images)
    near, *far = (take.read_geometry(f).astype(np.float64) for f in following)
    guess = near + prediction * (near - far[0]) if far else near
    return solver.solve(images, near, guess, template.vertices, lambda: None).vertices


def methods(cases: list[Case], scratch: Path, frames: int) -> Iterator[Row]:
    """A row a capture and method, on the first frames alone."""
    yield "capture", "method", "frames", "s a frame", "mean", "p95", "time / gauss-newton's", "mean / gauss-newton's"
    for case in cases:
        numbers = open_capture(case.capture, case.frames).frames[: frames + 1]
        run = {"frames": ",".join(map(str, numbers))}
        ours = None
        for method in jobs.METHODS:
            tracked = track(case, scratch / case.name / f"few {method}", method=method, **run)
            error = tracked.scores["overall"]["vertex_error_mm"]
            ours = ours or (tracked.seconds, error["mean"])
            ratios = tracked.seconds / ours[0], error["mean"] / ours[1]
            yield case.name, method, len(numbers), tracked.seconds, error["mean"], error["p95"], *ratios


def _once(case: Case, scratch: Path, name: str, **options: object) -> Tracked:
    """The take `name`, tracked now or by a table before."""
    take = scratch / case.name / name
    if (take / "take.json").exists():
        return Tracked(take, evaluate_take(Take.open(take), case.truth), np.nan)
    return track(case, take, **options)


def print_table(title: str, rows: Iterator[Row], out: Callable[[str], None]) -> None:
    """`rows`, the first of which is the heading, in Markdown; each as soon as it is there."""
    heading = list(next(rows))
    out(f"\n## {title}\n")
    out(f"| {' | '.join(map(str, heading))} |")
    out(f"|{'---|' * len(heading)}")
    for row in rows:
        out(f"| {' | '.join(_cell(value) for value in row)} |")


def _cell(value: str | float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Print the tables, and write them to --results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captures", type=Path, nargs="+")
    parser.add_argument("--tables", nargs="+", default=["accuracy", "cameras", "back", "methods"])
    parser.add_argument("--frames", help="such as 1-12; default: all")
    parser.add_argument("--method-frames", type=int, default=2, help="frames beside the first that methods compares on")
    parser.add_argument("--results", type=Path, help="a file for the tables, such as benchmarks/results/tracking.md")
    arguments = parser.parse_args()
    cases = [Case.at(folder, arguments.frames) for folder in arguments.captures]
    lines = [f"# Tracking, {time.strftime('%Y-%m-%d')}, {cores()} cores"]

    def out(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        tables = {
            "accuracy": lambda: accuracy(cases, scratch),
            "cameras": lambda: cameras(cases, scratch),
            "back": lambda: back(cases, scratch),
            "methods": lambda: methods(cases, scratch, arguments.method_frames),
        }
        for table in arguments.tables:
            print_table(table, tables[table](), out)
    if arguments.results:
        arguments.results.parent.mkdir(parents=True, exist_ok=True)
        arguments.results.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
