"""`topo4d demo`: film, track, bake, score, .blend, report, into one folder. Knows no bpy.

Whatever needs Blender runs as a process of its own (`python -m topo4d_blender.studio film|blend`) and is listened to
through the worker protocol's lines. Every stage keeps what is finished, so that a second run, also after Ctrl-C or a
crash, makes only what is missing.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..core import jobs
from ..core.capture import open_capture
from ..core.errors import RequestError, WorkError
from ..core.files import atomic_write
from ..core.progress import Progress
from ..core.protocol import decode
from ..core.take import Take
from .film import film_is_whole, plan_film

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_STOP_S = 20.0  # a stage is given this long to end after its stdin was closed


def run_demo(out: Path, resolution: int = 2048, progress: Progress | None = None, **film: Any) -> dict:
    """Make the demo in the folder `out`: capture/, take/, demo.blend, demo.abc, report.html.

    `film` are the options of `python -m topo4d_blender.studio film` (film.plan_film), such as frames=24.
    Returns {"folder", "report", "blend", "alembic", "mean_mm", "p95_mm", "flagged", "seconds"}. Raises RequestError
    (no bpy here, `out` holds something else), WorkError, Cancelled.
    """
    progress = progress or Progress()
    if find_spec("bpy") is None:
        raise RequestError(
            f"The demo films with Blender's module bpy, which this Python ({sys.executable}) does not have; "
            "run `uv run topo4d demo`, or `pip install bpy==4.5.15` with Python 3.11."
        )
    out = Path(out).absolute()
    capture, take = out / "capture", out / "take"
    began = time.monotonic()
    clock = _Clock(out / "timings.json")
    with clock("film", resumable=True):
        _film(film, capture, progress)
    with clock("track", resumable=True):
        resume = (take / "take.json").exists()
        tracked = jobs.track(progress, capture=capture, template=capture / "start.obj", take=take, resume=resume)
    with clock("bake", resumable=True):
        _bake(take, resolution, progress)
    with clock("evaluate"):
        scores = _evaluate(take, capture / "truth.npz", progress)
        atomic_write(out / "scores.json", lambda file: file.write(json.dumps(scores, indent=1).encode()))
    with clock("write .blend and Alembic"):
        _blend(out, progress)
    _report(out, scores, clock, progress)
    overall = scores["overall"]["vertex_error_mm"]
    return {
        "folder": str(out),
        "report": str(out / "report.html"),
        "blend": str(out / "demo.blend"),
        "alembic": str(out / "demo.abc"),
        "mean_mm": overall["mean"],
        "p95_mm": overall["p95"],
        "flagged": tracked["flagged"],
        "seconds": time.monotonic() - began,
    }


def _film(options: dict[str, Any], folder: Path, progress: Progress) -> None:
    film = plan_film(**options)
    if not film_is_whole(folder, film.key, film.rig.cameras, film.frames):
        run_stage(["film", f"--out={folder}", *(f"--{name}={value}" for name, value in options.items())], progress)


def _bake(take: Path, resolution: int, progress: Progress) -> None:
    """Bake what is missing; maps of another resolution are baked anew."""
    known = Take.open(take).maps.request
    again = known is not None and known.resolution != resolution
    jobs.bake(progress, take=take, resolution=resolution, resume=not again, overwrite=again)


def _evaluate(take: Path, truth: Path, progress: Progress) -> dict:
    from ..core.evaluate import evaluate_take

    progress.stage("Scoring against the truth", 1)
    scores = evaluate_take(Take.open(take), truth)
    progress.advance()
    return scores


def _blend(out: Path, progress: Progress) -> None:
    blend, alembic = out / "demo.blend", out / "demo.abc"
    if _newer((blend, alembic), out / "take"):
        return
    template = out / "capture" / "start.obj"
    run_stage(
        [
            "blend",
            str(out / "capture"),
            str(out / "take"),
            f"--template={template}",
            f"--out={blend}",
            f"--alembic={alembic}",
        ],
        progress,
    )


def _newer(results: tuple[Path, ...], take: Path) -> bool:
    """Whether all `results` are there and younger than everything the take shows."""
    if not all(path.is_file() for path in results):
        return False
    sources = [path for folder in ("geometry", "texture", "texture_2k") for path in (take / folder).glob("*.*")]
    return min(path.stat().st_mtime for path in results) > max((path.stat().st_mtime for path in sources), default=0.0)


def _report(out: Path, scores: dict, clock: _Clock, progress: Progress) -> None:
    from ..core.report import write_report

    write_report(
        out / "report.html",
        Take.open(out / "take"),
        open_capture(out / "capture"),
        scores=scores,
        truth=out / "capture" / "truth.npz",
        timings=clock.seconds,
        progress=progress,
        title="Topo4D demo",
    )


class _Clock:
    """Seconds a stage, remembered over runs: what a second run skips keeps the time it took."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seconds: dict[str, float] = json.loads(path.read_text())
        except (OSError, ValueError):
            self.seconds = {}

    @contextmanager
    def __call__(self, name: str, resumable: bool = False) -> Iterator[None]:
        """Time a stage. What a resumable one took adds up over the runs that it was gone on with."""
        began = time.monotonic()
        try:
            yield
        finally:
            taken, before = time.monotonic() - began, self.seconds.get(name, 0.0)
            self.seconds[name] = before + taken if resumable else max(before, taken)
            atomic_write(self._path, lambda file: file.write(json.dumps(self.seconds, indent=1).encode()))


def run_stage(arguments: list[str], progress: Progress) -> None:
    """Run `python -m topo4d_blender.studio ARGUMENTS --events` and pass on what it says.

    Raises RequestError or WorkError with the stage's own sentence, Cancelled after stopping it.
    """
    package = __package__
    command = [sys.executable, "-m", package, *arguments, "--events"]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_PACKAGE_PARENT), os.environ.get("PYTHONPATH")])),
    }
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
        env=environment,
        start_new_session=True,  # Ctrl-C is for this process, which stops the stage in order
    ) as process:
        lines, complaints, readers = _listen(process)
        try:
            _pass_on(lines, progress)
            process.wait()
        except BaseException:
            _stop(process)
            raise
        finally:
            for reader in readers:
                reader.join(_STOP_S)
    if process.returncode:
        said = [line.strip().removeprefix("error: ") for line in complaints if line.startswith("error: ")]
        failed = (
            f"Blender's stage `{arguments[0]}` ended with status {process.returncode}; run the demo again to go on."
        )
        kind = RequestError if process.returncode == RequestError.exit_status else WorkError
        raise kind(said[-1] if said else failed)


def _listen(process: subprocess.Popen) -> tuple[queue.SimpleQueue, list[str], list[threading.Thread]]:
    """Threads that read both pipes to their ends: (lines of stdout, None at the end; lines of stderr; the threads)."""
    lines: queue.SimpleQueue = queue.SimpleQueue()
    complaints: list[str] = []

    def read(stream, take: Callable, end: Callable) -> None:
        for line in stream:
            take(line)
        end()

    targets = ((process.stdout, lines.put, lambda: lines.put(None)), (process.stderr, complaints.append, lambda: None))
    readers = [threading.Thread(target=read, args=target, daemon=True) for target in targets]
    for reader in readers:
        reader.start()
    return lines, complaints, readers


def _pass_on(lines: queue.SimpleQueue, progress: Progress) -> None:
    done = 0
    while True:
        progress.check()
        try:
            line = lines.get(timeout=0.2)
        except queue.Empty:
            continue
        if line is None:
            return
        message = decode(line) or {}
        if message.get("event") == "stage":
            done = 0
            progress.stage(message["name"], message["total"])
        elif message.get("event") == "progress":
            progress.advance(message["done"] - done)
            done = message["done"]
        elif message.get("event") == "warning":
            progress.warning(message["sentence"])


def _stop(process: subprocess.Popen) -> None:
    """End a stage; what it has written is whole, for it writes beside and renames."""
    process.stdin.close()
    try:
        process.wait(_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
