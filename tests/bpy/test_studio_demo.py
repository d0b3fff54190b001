"""The demo from end to end, small: every file is there, says the same, and a second run makes nothing anew."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

from topo4d_blender.core.errors import Cancelled, RequestError  # noqa: E402
from topo4d_blender.core.progress import Progress  # noqa: E402
from topo4d_blender.core.take import Take  # noqa: E402
from topo4d_blender.studio.demo import run_demo, run_stage  # noqa: E402

SMALL = dict(vertices=500, cameras=4, frames=2, width=96, height=128, texture=128, samples=2)
ROOT = Path(__file__).parents[2]


class Heard(Progress):
    """Remembers the stages, and stops when told."""

    def __init__(self, stop_in: str = ""):
        self.stages, self.steps, self._stop_in = [], 0, stop_in

    def stage(self, name, total, by_frame=False):
        self.stages.append(name)
        self.steps = 0

    def advance(self, steps=1):
        self.steps += steps

    def cancelled(self):
        return bool(self.stages) and self.stages[-1] == self._stop_in and self.steps > 0


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "a demo"
    with pytest.raises(Cancelled):
        run_demo(out, 64, Heard(stop_in="Filming"), **SMALL)
    first = Heard()
    return out, run_demo(out, 64, first, **SMALL), first


def test_everything_is_there_and_the_track_is_near_the_truth(demo):
    out, summary, heard = demo
    for name in ("capture/capture.json", "take/take.json", "demo.blend", "demo.abc", "report.html"):
        assert (out / name).stat().st_size > 0
    assert Take.open(out / "take").textured_frames() == [1, 2]
    assert heard.stages.index("Tracking") < heard.stages.index("Writing the .blend")
    assert summary["mean_mm"] < 2.0  # pixels are 4 mm wide here
    assert json.loads((out / "scores.json").read_text())["overall"]["frames"] == 2


def test_the_blend_opened_again_plays_the_take_with_relative_paths(demo):
    out, *_ = demo
    bpy.ops.wm.open_mainfile(filepath=str(out / "demo.blend"))
    scene = bpy.context.scene
    assert (scene.frame_start, scene.frame_end, scene.frame_current) == (1, 2, 1)
    subject = bpy.data.objects["Suzanne"]
    take = Take.open(out / "take")
    for frame in (1, 2):
        scene.frame_set(frame)
        mesh = subject.evaluated_get(bpy.context.evaluated_depsgraph_get()).data
        shown = np.empty((len(mesh.vertices), 3), np.float32)
        mesh.vertices.foreach_get("co", shown.ravel())
        assert (shown == take.read_geometry(frame)).all()
    paths = [image.filepath for image in bpy.data.images if image.filepath]
    assert len(paths) >= 5 and all(path.startswith("//") for path in paths)
    assert all(Path(bpy.path.abspath(path)).is_file() for path in paths)
    assert len([o for o in bpy.data.objects if o.type == "CAMERA"]) == 4
    assert not (out / "demo.blend1").exists()


def test_the_alembic_read_back_plays_the_take(demo):
    out, *_ = demo
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.alembic_import(filepath=str(out / "demo.abc"), as_background_job=False)
    subject = next(obj for obj in bpy.data.objects if obj.type == "MESH")
    take = Take.open(out / "take")
    for frame in (1, 2):
        bpy.context.scene.frame_set(frame)
        evaluated = subject.evaluated_get(bpy.context.evaluated_depsgraph_get())
        world = np.array([tuple(evaluated.matrix_world @ v.co) for v in evaluated.data.vertices])
        x, y, z = take.read_geometry(frame).T
        assert np.abs(world - np.stack([x, -z, y], axis=1)).max() < 1e-6


def test_a_second_run_makes_nothing_anew_but_the_report_and_another_film_is_refused(demo):
    out, *_ = demo
    kept = [p for p in out.rglob("*") if p.is_file() and p.name not in ("report.html", "scores.json", "timings.json")]
    kept = {path: path.stat().st_mtime_ns for path in kept if path.name != "log.txt"}
    run_demo(out, 64, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    with pytest.raises(RequestError, match="another film"):
        run_demo(out, 64, **{**SMALL, "seed": 1})
    run_demo(out, 32, **SMALL)  # another resolution: the maps, and what shows them, are made anew
    assert (out / "take" / "texture" / "000001.png").stat().st_mtime_ns > kept[out / "take" / "texture" / "000001.png"]
    assert (out / "demo.blend").stat().st_mtime_ns > kept[out / "demo.blend"]


def test_a_failing_stage_is_one_sentence(tmp_path):
    (tmp_path / "film").mkdir()
    (tmp_path / "film" / "notes.txt").write_text("mine")
    with pytest.raises(RequestError, match="film holds other files"):
        run_stage(["film", f"--out={tmp_path / 'film'}"], Progress())


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_when_the_demo_is_stopped_or_killed_its_stage_ends_too(tmp_path, number):
    """Two thousand frames would take minutes."""
    script = (
        "import sys; from pathlib import Path; from topo4d_blender.core.bars import BarProgress\n"
        "from topo4d_blender.studio.demo import run_demo\n"
        "with BarProgress().stopping() as progress: run_demo(Path(sys.argv[1]), 64, progress, **eval(sys.argv[2]))"
    )
    options = repr({**SMALL, "frames": 2000})
    command = [sys.executable, "-c", script, str(tmp_path / "demo"), options]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    images = tmp_path / "demo" / "capture" / "images"
    deadline = time.monotonic() + 120
    while not list(images.glob("*/*.jpg")) and time.monotonic() < deadline:
        time.sleep(0.1)
    os.kill(process.pid, number)
    _, complaints = process.communicate(timeout=60)
    assert number == signal.SIGKILL or "Stopped at your request" in complaints
    deadline = time.monotonic() + 15  # for the picture at hand
    while (count := len(list(images.glob("*/*.jpg")))) and time.monotonic() < deadline:
        time.sleep(1.5)
        if len(list(images.glob("*/*.jpg"))) == count:
            break
    else:
        pytest.fail("the stage films on")
    assert 0 < count < 8000
    assert not list(images.glob("*/.*"))  # nothing half written
