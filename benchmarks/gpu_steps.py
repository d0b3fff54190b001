"""The steps of gpu_check.py, each run by it as a process of its own: `python benchmarks/gpu_steps.py STEP FILM [...]`.

Every step prints its rows as JSON in its last line: [stage, device, seconds a frame, GB of the card at most, note].
Times are medians over the frames after the first; what is done once a take stands in rows of its own.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "core")]

Row = list[str | float | None]
NUMBA = "numba.npy"  # in the film's folder: what the processor found, for the card to be held against
BAKED = "baked.npz"  # the first device's map, for the other to be held against


def film(arguments: argparse.Namespace) -> list[Row]:
    """Film the ball of tests/core/synthetic.py."""
    import synthetic
    from synthetic import make_capture

    synthetic._SAMPLES = 2  # a pixel and direction: what is measured is time, and filming has its share of the minutes
    began = time.perf_counter()
    size = tuple(arguments.size)
    options = {"cameras": arguments.cameras, "size": size, "vertices": arguments.vertices, "frames": arguments.frames}
    make_capture(arguments.film, **options)
    return [["filming", "cpu", time.perf_counter() - began, None, "once"]]


def track_numba(arguments: argparse.Namespace) -> list[Row]:
    """The tracker on the processor."""
    from topo4d_blender.core.track.settings import TrackSettings
    from topo4d_blender.core.track.solver import FrameSolver

    filmed = _read(arguments)
    solver = FrameSolver(filmed.template, filmed.cameras, TrackSettings())
    rows, found = _track(solver, filmed, "numba", arguments.frames, lambda: None)
    np.save(arguments.film / NUMBA, found)
    return rows


def track_torch(arguments: argparse.Namespace) -> list[Row]:
    """The tracker in torch on --device, and how far its vertices lie from the processor's."""
    import torch

    from topo4d_blender.core.track.settings import TrackSettings
    from topo4d_blender.core.track.torch_solver import TorchSolver

    filmed, cuda = _read(arguments), arguments.device != "cpu"
    wait = torch.cuda.synchronize if cuda else lambda: None
    solver = TorchSolver(filmed.template, filmed.cameras, TrackSettings(), arguments.device)
    rows, found = _track(solver, filmed, f"torch {arguments.device}", arguments.frames, wait)
    if cuda:
        rows[-1][3] = torch.cuda.max_memory_allocated() / 2**30
    if solver.most < len(filmed.cameras):
        rows[-1][4] += f"; {solver.most} cameras at once, for the card's memory"
    if (arguments.film / NUMBA).exists():
        numba = np.load(arguments.film / NUMBA)
        apart = np.linalg.norm(found - numba[: len(found)], axis=2)[:, filmed.seen] / filmed.pixel
        rows[-1][4] += f"; from numba's: mean {apart.mean():.4f} px, max {apart.max():.3f} px"
    return rows


def _track(
    solver: object, filmed: object, name: str, frames: int, wait: Callable[[], None]
) -> tuple[list[Row], np.ndarray]:
    """Rows, and the vertices [F - 1, V, 3] of the frames after the first; `wait` until the device is done."""
    vertices = filmed.template.vertices
    began = time.perf_counter()
    before = solver.pyramid(filmed.frames[0])
    solver.remember(vertices, before)
    wait()
    once = time.perf_counter() - began
    found, pictures, starts, all_of_it = [], [], [], []
    for frame in range(1, frames):
        began = time.perf_counter()
        images = solver.pyramid(filmed.frames[frame])
        wait()
        pictures.append(time.perf_counter() - began)
        vertices = solver.solve(images, vertices, vertices, filmed.template.vertices, lambda: None, before).vertices
        wait()
        all_of_it.append(time.perf_counter() - began)
        starts.append(_flow_seconds(solver, vertices, before, images))
        found.append(vertices)
        before = images
    warm = slice(1, None) if frames > 2 else slice(None)  # the first one compiles or loads kernels
    error = [filmed.error_px(v, f) for f, v in enumerate(found, 1)]
    rows = [
        ["track: reference", name, once, None, "once a take, compiling and loading included"],
        ["track: plates to pyramid", name, float(np.median(pictures[warm])), None, ""],
        ["track: of it the start by optical flow", name, float(np.median(starts[warm])), None, ""],
        ["track: frame", name, float(np.median(all_of_it[warm])), None, f"error {np.mean(error):.3f} px"],
    ]
    return rows, np.stack(found)


def _flow_seconds(solver: object, vertices: np.ndarray, before: object, images: object) -> float:
    """How long the start by optical flow takes, measured apart."""
    began = time.perf_counter()
    if hasattr(solver, "flow"):
        solver.flow(vertices, before[-1], images[-1])
    else:
        solver.start(vertices, before, images)
    return time.perf_counter() - began


def splat(arguments: argparse.Namespace) -> list[Row]:
    """The paper's method on --device: seconds at the paper's counts, from fewer iterations."""
    from topo4d_blender.core.track.paper import PaperSolver
    from topo4d_blender.core.track.paper_settings import PaperSettings

    filmed, paper, few = _read(arguments), PaperSettings(), arguments.iterations
    renderer = "gsplat" if arguments.device == "cuda" else "numba"
    seconds = {}
    # The appearance is fitted within the first frame's solution, and is what that costs more than the second's.
    solver = PaperSolver(
        filmed.template, filmed.cameras, replace(paper, first_frame_iterations=few, iterations=few), arguments.device
    )
    vertices = filmed.template.vertices
    solver.remember(vertices, solver.pyramid(filmed.frames[0]))
    for name in ("warm", "frame"):
        began = time.perf_counter()
        solver.solve(solver.pyramid(filmed.frames[1]), vertices, vertices, vertices)
        seconds[name] = time.perf_counter() - began
    each = seconds["frame"] / few
    memory = None
    if arguments.device == "cuda":
        import torch

        memory = torch.cuda.max_memory_allocated() / 2**30
    note = f"{paper.iterations} iterations, from {few}; {each * 1e3:.1f} ms each"
    name = "splat: frame at the paper's settings"
    return [[name, f"{renderer} {arguments.device}", each * paper.iterations, memory, note]]


def bake(arguments: argparse.Namespace) -> list[Row]:
    """A map on --device from plates --enlarge times as large as the film's, held against the other device's."""
    import cv2

    from topo4d_blender.core.texture.frame import Canvas
    from topo4d_blender.core.texture.painter import open_painter
    from topo4d_blender.core.texture.uv import map_uv

    filmed, times, device = _read(arguments), arguments.enlarge, arguments.device
    given, cameras = [], []
    for k, (camera, plate) in enumerate(zip(filmed.cameras, filmed.frames[0], strict=True)):
        cameras.append(camera.scaled(camera.width * times, camera.height * times))
        whole = np.rint(plate * 255).astype(np.uint8)
        given.append((k, cv2.resize(whole, None, fx=times, fy=times, interpolation=cv2.INTER_CUBIC), None))
    painter = open_painter(device)

    def whole_frame(canvas: Canvas, cameras: list, given: list) -> tuple[np.ndarray, np.ndarray]:
        solved = painter.solve(canvas, filmed.template.vertices, cameras, given, lambda: None)
        texture, coverage = painter.paint(canvas, solved)
        del solved
        painter.fill(texture, canvas)
        return texture, coverage

    small = map_uv(filmed.template, 64, device=device)
    whole_frame(Canvas.of(filmed.template, 64, small), cameras[:2], given[:2])  # compiles, or loads kernels
    began = time.perf_counter()
    canvas = Canvas.of(
        filmed.template, arguments.resolution, map_uv(filmed.template, arguments.resolution, device=device)
    )
    once = time.perf_counter() - began
    name = "numba cpu" if device == "cpu" else f"torch {device}"
    seconds, memory = [], None
    for _ in range(1 if device == "cpu" else 2):  # on a device the second: the first uploads the UV map
        began = time.perf_counter()
        texture, coverage = whole_frame(canvas, cameras, given)
        seconds.append(time.perf_counter() - began)
    note = (
        f"{arguments.resolution} texels from {len(cameras)} plates of {cameras[0].width}x{cameras[0].height}, in memory"
    )
    if device != "cpu":
        memory = _peak(device)
        if painter.budget.most < type(painter.budget)(painter.budget.device).most:
            note += f"; {painter.budget.most} texels at once, for the card's memory"
    note += _held_against(arguments.film / BAKED, device, texture, coverage)
    rows = [["bake: UV map", name, once, None, "once a take"]]
    return [*rows, ["bake: frame", name, seconds[-1], memory, note]]


def _held_against(path: Path, device: str, texture: np.ndarray, coverage: np.ndarray) -> str:
    """How far a map lies from the other device's in `path`, written there if there is none yet, as part of a note."""
    if not path.exists():
        np.savez(path, device=device, texture=texture, coverage=coverage)
        return ""
    with np.load(path) as other:
        both = (other["coverage"] > 0) & (coverage > 0)
        unlike = ((other["coverage"] > 0) != (coverage > 0)).mean()
        apart = np.abs(other["texture"].astype(np.int16) - texture)[both]
    return (
        f"; from the other's: mean {apart.mean():.4f} levels, 99.9 % within {np.percentile(apart, 99.9):.0f}, max "
        f"{apart.max()}; {unlike:.4%} of the texels seen by one alone"
    )


def _peak(device: str) -> float | None:
    """GB of the card's memory at most; None where torch computes on the processor."""
    import torch

    return torch.cuda.max_memory_allocated() / 2**30 if device.startswith("cuda") else None


def _read(arguments: argparse.Namespace) -> object:
    from track_scenes import read_film

    return read_film(arguments.film)


STEPS = {"film": film, "numba": track_numba, "torch": track_torch, "splat": splat, "bake": bake}


def parser() -> argparse.ArgumentParser:
    """What gpu_check.py says to its steps."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    made.add_argument("step", choices=STEPS)
    made.add_argument("film", type=Path)
    made.add_argument("--device", default="cuda")
    made.add_argument("--cameras", type=int, default=24)
    made.add_argument("--size", type=int, nargs=2, default=(375, 512), metavar=("WIDTH", "HEIGHT"))
    made.add_argument("--vertices", type=int, default=14062)
    made.add_argument("--frames", type=int, default=4)
    made.add_argument("--iterations", type=int, default=100, help="of splat, instead of the paper's 1000")
    made.add_argument("--resolution", type=int, default=8192, help="of the bake's map")
    made.add_argument("--enlarge", type=int, default=8, help="the bake's plates against the film's")
    return made


if __name__ == "__main__":
    told = parser().parse_args()
    print(json.dumps(STEPS[told.step](told)))
