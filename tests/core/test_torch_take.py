"""Whole takes by the tracker on torch's devices: the loop, the files and resuming, as with the numba tracker."""

import numpy as np
import pytest
from synthetic import make_capture
from torch_devices import CUDA

from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.errors import Cancelled
from topo4d_blender.core.progress import Progress
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.template import read_template
from topo4d_blender.core.track import track_take
from topo4d_blender.core.track.methods import make_solver
from topo4d_blender.core.track.torch_solver import TorchSolver

TORCH_CPU = "cpu:0"  # a name by which torch, and not numba, computes on the processor


class Stopping(Progress):
    """Stops the work once a frame was solved beside the given one."""

    def __init__(self):
        self.frames, self.warnings = 0, []

    def warning(self, sentence: str) -> None:
        self.warnings.append(sentence)

    def frame(self, frame: int, path: str, metrics: dict) -> None:
        self.frames += 1

    def cancelled(self) -> bool:
        return self.frames >= 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    make_capture(folder, frames=4, cameras=4, size=(72, 96), vertices=300)
    return folder


def track(folder, take, device: str, progress: Progress | None = None) -> np.ndarray:
    """Vertices [F, V, 3] of the take's frames, in millimetres."""
    capture = open_capture(folder)
    request = TakeRequest(str(capture.source), capture.frames, capture.unit_mm)
    opened = Take.create(take, request, read_template(folder / "start.obj"), resume=take.exists())
    track_take(opened, capture, progress, device)
    return np.stack([opened.read_geometry(frame) for frame in capture.frames]) * capture.unit_mm


@pytest.mark.parametrize("device", [TORCH_CPU, pytest.param("cuda", marks=CUDA)])
def test_a_take_is_that_of_the_numba_tracker(folder, tmp_path, device):
    ours, numba = track(folder, tmp_path / "ours", device), track(folder, tmp_path / "numba", "cpu")
    seen, apart = np.load(folder / "truth.npz")["face_mask"], np.linalg.norm(ours - numba, axis=2)
    assert apart[:, seen].mean() < 0.05 and apart[:, seen].max() < 0.3  # mm; a pixel is 2.6 mm
    one, two = (Take.open(tmp_path / name).metrics() for name in ("ours", "numba"))
    assert [line["flags"] for line in one.values()] == [line["flags"] for line in two.values()]


def test_a_take_that_is_gone_on_with_has_the_same_bits(folder, tmp_path):
    whole = track(folder, tmp_path / "whole", TORCH_CPU)
    with pytest.raises(Cancelled):
        track(folder, tmp_path / "halves", TORCH_CPU, Stopping())
    np.testing.assert_array_equal(track(folder, tmp_path / "halves", TORCH_CPU), whole)


def test_the_device_chooses_the_solver(folder):
    capture, template = open_capture(folder), read_template(folder / "start.obj")
    solvers = [make_solver("gauss-newton", template, capture.cameras, {}, d)[0] for d in ("cpu", TORCH_CPU)]
    assert [isinstance(solver, TorchSolver) for solver in solvers] == [False, True]
    assert solvers[0].scales == solvers[1].scales and solvers[0].stages == solvers[1].stages


def test_a_take_that_is_gone_on_with_elsewhere_says_so_and_which_frame_was_solved_where(folder, tmp_path):
    begun, gone_on = Stopping(), Stopping()
    with pytest.raises(Cancelled):
        track(folder, tmp_path / "take", "cpu", begun)
    with pytest.raises(Cancelled):
        track(folder, tmp_path / "take", TORCH_CPU, gone_on)
    assert not begun.warnings and len(gone_on.warnings) == 1
    assert "2 on cpu" in gone_on.warnings[0] and f"the rest is solved on {TORCH_CPU}" in gone_on.warnings[0]
    lines = Take.open(tmp_path / "take").metrics()
    assert [line.get("device") for line in lines.values()] == [None, "cpu", TORCH_CPU, TORCH_CPU]
