"""Where a bake's time goes, and how much a still face flickers: two of the tables of `benchmarks/texture.py`."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from topo4d_blender.core.capture import Capture, open_capture, read_plate
from topo4d_blender.core.machine import cores
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.take.maps import MapRequest
from topo4d_blender.core.template import Template, read_template
from topo4d_blender.core.texture import bake_take
from topo4d_blender.core.texture.align import align
from topo4d_blender.core.texture.blend import linear_values
from topo4d_blender.core.texture.colour import solve_colours
from topo4d_blender.core.texture.fill import fill_empty
from topo4d_blender.core.texture.frame import Canvas, Solved, paint, solve_frame
from topo4d_blender.core.texture.plan import PREFERENCE, Choice, rank_views, texels_a_pixel
from topo4d_blender.core.texture.survey import survey
from topo4d_blender.core.texture.uv import EMPTY
from topo4d_blender.core.texture.views import add_plate, edge_length, frame_views
from topo4d_blender.core.texture.write import write_tile

Array = np.ndarray
FRAMES, NOISE = 8, 4.0  # of the still face: takes, and the sensor noise added to its plates, levels of 255


def seconds(folder: Path, work: Path, resolution: int) -> None:
    """CPU seconds by step of one frame of plates twice as large as those of `folder`, and what `bake` takes for two."""
    take, capture, template = _enlarged(folder, work)
    frame = capture.frames[0]
    rows: list[tuple[str, float, float]] = []
    for _ in range(2):  # the first compiles
        rows.clear()
        _steps(take, capture, template, frame, resolution, work, rows)
    load = os.getloadavg()[0]
    print(f"\n{cores()} cores; load while this was measured, its own included: {load:.1f}.")
    print(f"\n| step | CPU s at {resolution} | wall s |\n|---|---|---|")
    for name, cpu, wall in rows:
        print(f"| {name} | {cpu:.1f} | {wall:.1f} |")
    frame_rows = rows[1:]  # the UV map is made once
    asked = [row for row in frame_rows if "asked for here: no" not in row[0]]
    print(
        f"| a frame, of what is asked for | {sum(r[1] for r in asked):.1f} | {sum(r[2] for r in asked):.1f} |",
        flush=True,
    )
    done = subprocess.run(
        [sys.executable, __file__, str(take.folder), str(capture.source.parent), str(resolution)],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    print(f"\nThe bake of two frames, reading and writing beside the rest; load after it: {os.getloadavg()[0]:.1f}.\n")
    print(done.stdout, flush=True)


def _steps(
    take: Take, capture: Capture, template: Template, frame: int, resolution: int, work: Path, rows: list
) -> None:
    """The steps of one frame, one after the other; `bake` decodes and writes beside the rest."""
    cameras = [camera.undistorted() for camera in capture.cameras]
    vertices = take.read_geometry(frame).astype(np.float64)
    with _clock(rows, "UV map, once a bake"):
        canvas = Canvas.of(template, resolution)
    edge = edge_length(vertices, canvas.edges)
    with _clock(rows, "decoding"):
        plates = [read_plate(capture.images[frame][camera.name], camera) for camera in capture.cameras]
    with _clock(rows, "visibility"):
        views = frame_views(cameras, vertices, edge)
        for k, plate in enumerate(plates):
            add_plate(views, k, plate, None, vertices, canvas.triangles, edge)
    del plates
    with _clock(rows, "survey"):
        found = survey(views, vertices, canvas.surface, edge)
    with _clock(rows, "colours"):
        colours = solve_colours(found, canvas.surface, canvas.ignored)
    scores = found.scores(PREFERENCE)
    order = np.ascontiguousarray(rank_views(scores, views.present, canvas.triangles)[:, :12])
    with _clock(rows, "alignment"):
        aligned = align(views, vertices, canvas.surface, scores, order, colours.gains, canvas.ignored, edge)
    linear = linear_values(vertices, views, scores, colours, aligned.shifts)
    texels = texels_a_pixel(order, linear, canvas.triangles, canvas.uv_map.corners)
    choice = replace(Choice.of(aligned.detail, aligned.noise), span=texels / resolution)  # as solve_frame
    scores = found.scores(choice.power)
    order = rank_views(scores, views.present, canvas.triangles)
    solved = Solved(vertices, views, colours, aligned.shifts, choice, choice, scores, order)
    with _clock(rows, f"blending {choice.views} views"):
        texture, coverage = paint(canvas, replace(solved, choice=replace(choice, strength=0.0)))
    began = time.process_time(), time.perf_counter()
    texture, coverage = paint(canvas, replace(solved, choice=replace(choice, strength=max(choice.strength, 1.0))))
    both = time.process_time() - began[0] - rows[-1][1], time.perf_counter() - began[1] - rows[-1][2]
    rows.append((f"back-projection (asked for here: {'yes' if choice.strength > 0 else 'no'})", *both))
    del solved, views, found
    with _clock(rows, "filling"):
        fill_empty(texture, canvas.uv_map.ids == EMPTY)
    with _clock(rows, "writing"):
        write_tile(take.maps, MapRequest(resolution), frame, None, texture, coverage)
    shutil.rmtree(take.folder / "texture")


def _enlarged(folder: Path, work: Path) -> tuple[Take, Capture, Template]:
    """A take of two frames with the plates of the capture in `folder`, twice as large along each axis."""
    small = open_capture(folder)
    frame = small.frames[0]
    shutil.rmtree(work, ignore_errors=True)
    for number in (frame, frame + 1):
        (work / "capture" / f"{number:06d}").mkdir(parents=True)
    shutil.copy(folder / "cameras.xml", work / "capture")
    for name, path in small.images[frame].items():
        plate = cv2.resize(cv2.imread(str(path)), None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        for number in (frame, frame + 1):
            to = work / "capture" / f"{number:06d}" / f"{name}.jpg"
            cv2.imwrite(str(to), plate, [cv2.IMWRITE_JPEG_QUALITY, 92])
    template = read_template(folder / "start.obj")
    truth = np.load(folder.parent / "truth.npz")["vertices"]
    request = TakeRequest(str(work / "capture" / "cameras.xml"), (frame, frame + 1), 1000.0)
    take = Take.create(work / "take", request, template)
    for number in (frame, frame + 1):
        take.write_geometry(number, truth[frame - 1], {})
    return take, open_capture(work / "capture"), template


@contextmanager
def _clock(rows: list, name: str) -> Iterator[None]:
    began = time.process_time(), time.perf_counter()
    yield
    rows.append((name, time.process_time() - began[0], time.perf_counter() - began[1]))


class _Frames(Progress):
    """Says when each frame is whole."""

    def __init__(self) -> None:
        self.began = time.perf_counter(), time.process_time()

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        """One more is there."""
        wall, cpu = time.perf_counter() - self.began[0], time.process_time() - self.began[1]
        print(f"* frame {frame} whole after {wall:.1f} s, {cpu:.1f} s of CPU")


def _bake(take: Path, capture: Path, resolution: int) -> None:
    """In a process of its own, for its memory."""
    bake_take(Take.open(take), open_capture(capture), resolution, progress=_Frames())
    print(f"* most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GB")


def flicker(folder: Path, resolution: int = 1024) -> None:
    """Deviation over time of the texels of a still face, and what the plates' noise alone makes of it."""
    capture, template = open_capture(folder / "capture"), read_template(folder / "capture" / "start.obj")
    frame = capture.frames[0]
    vertices = np.load(folder / "truth.npz")["vertices"][0].astype(np.float64)
    cameras = [camera.undistorted() for camera in capture.cameras]
    clean = [read_plate(capture.images[frame][camera.name], camera).astype(np.float32) for camera in capture.cameras]
    canvas, random = Canvas.of(template, resolution), np.random.default_rng(0)
    first, maps, frozen, seen = None, [], [], True
    for _ in range(FRAMES):
        plates = [np.rint(p + random.normal(0, NOISE, p.shape)).clip(0, 255).astype(np.uint8) for p in clean]
        before = first and (first.colours, first.choice)
        given = [(k, p, None) for k, p in enumerate(plates)]
        solved = solve_frame(canvas, vertices, cameras, given, lambda: None, before)
        first = first or solved
        texture, coverage = paint(canvas, solved, np.uint16)
        maps.append(texture.astype(np.float32) / 257)
        # The noise's own: everything that is solved held as it was, only the pixels are new.
        frozen.append(paint(canvas, replace(first, views=solved.views), np.uint16)[0].astype(np.float32) / 257)
        seen &= coverage > 0
    own, whole = (np.sqrt((np.std(m, axis=0, ddof=1)[seen] ** 2).mean()) for m in (frozen, maps))
    print("\n| noise of a plate | of a texel, all but the pixels held | of a texel | ratio (goal: 1.2 at most) |")
    print(f"|---|---|---|---|\n| {NOISE:.2f} | {own:.3f} | {whole:.3f} | {whole / own:.3f} |", flush=True)


if __name__ == "__main__":
    _bake(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
