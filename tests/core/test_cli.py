"""The command line: exit status, one sentence on stderr, progress, and what bad input is told."""

import errno
import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image
from synthetic import make_capture

from topo4d_blender.core import bars, cli, files
from topo4d_blender.core.capture import open_capture
from topo4d_blender.core.errors import Cancelled, WorkError
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.template import read_template

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "topo4d_blender.core"]


def topo4d(*args: object) -> Result:
    return CliRunner().invoke(cli.main, [str(a) for a in args])


def refused(result: Result, *words: object, status: int = 2) -> None:
    """One sentence on stderr that holds `words`; nothing on stdout."""
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    lines = [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]
    assert len(lines) == 1 and lines[0].startswith("error: ") and "Traceback" not in result.stderr, result.stderr
    for word in words:
        assert str(word) in lines[0], lines[0]


@pytest.fixture
def filmed(tmp_path: Path) -> Path:
    folder = tmp_path / "a film"  # with a space, as artists' folders have
    make_capture(folder, frames=2, cameras=2, size=(48, 64), vertices=120)
    return folder


def track(folder: Path, **options: object) -> Result:
    options = {"template": folder / "start.obj", "out": folder.parent / "take", **options}
    return topo4d("track", folder, *(part for k, v in options.items() for part in (f"--{k.replace('_', '-')}", v)))


def test_usage_errors_are_one_sentence():
    refused(topo4d("track"), "CAPTURE", "topo4d track --help")
    refused(topo4d("bogus"), "bogus")
    refused(topo4d("bake", "x", "--resolution", "3"), "--resolution")
    assert topo4d("--help").exit_code == 0
    assert topo4d().exit_code == 2


def test_no_such_folder(tmp_path):
    result = topo4d("track", tmp_path / "absent", "--template", "t.obj", "--out", tmp_path / "take")
    refused(result, tmp_path / "absent")
    for command in (["bake"], ["evaluate", "--truth", "truth.npz"]):
        refused(topo4d(*command, tmp_path / "absent"), tmp_path / "absent")
    assert not (tmp_path / "take").exists()


def remove_calibration(folder: Path) -> str:
    (folder / "capture.json").unlink()
    return str(folder)


def foreign_calibration(folder: Path) -> str:
    (folder / "capture.json").rename(folder / "rig.abcdef")
    return str(folder)


def broken_calibration(folder: Path) -> str:
    (folder / "capture.json").write_text("{")
    return "capture.json"


def other_names(folder: Path) -> str:
    for i, camera in enumerate(sorted((folder / "images").iterdir())):
        camera.rename(folder / "images" / f"left{i}")
    return "left0"


def another_size(folder: Path) -> str:
    path = folder / "images" / "cam00" / "000001.png"
    Image.new("RGB", (48, 50)).save(path)
    return str(path)


def no_images(folder: Path) -> str:
    for path in folder.glob("images/*/*.png"):
        path.unlink()
    return str(folder)


def no_template(folder: Path) -> str:
    (folder / "start.obj").unlink()
    return "start.obj"


def template_with_nan(folder: Path) -> str:
    text = (folder / "start.obj").read_text().split("\n")
    (folder / "start.obj").write_text("\n".join(["v nan 0 0", *text[1:]]))
    return "start.obj"


@pytest.mark.parametrize(
    "harm",
    [
        remove_calibration,
        foreign_calibration,
        broken_calibration,
        other_names,
        another_size,
        no_images,
        no_template,
        template_with_nan,
    ],
)
def test_a_bad_capture_or_template_is_refused_and_nothing_is_begun(filmed, harm):
    named = harm(filmed)
    refused(track(filmed), named)
    assert not (filmed.parent / "take").exists()


def test_frames_and_units_that_mean_nothing(filmed):
    refused(track(filmed, frames="7-9"), "7-9", "1-2")
    refused(track(filmed, frames="all"), "all", "1-120")
    refused(track(filmed, unit_mm=-1), "-1")


def test_cuda_is_refused_in_words(filmed):
    refused(track(filmed, device="cuda"), "--device")


def test_an_out_folder_that_is_taken(filmed, monkeypatch):
    out = filmed.parent / "take"
    out.mkdir()
    (out / "holiday.jpg").write_bytes(b"x")
    refused(track(filmed), out, "holiday.jpg")
    assert [p.name for p in out.iterdir()] == ["holiday.jpg"]
    capture = open_capture(filmed)
    other = TakeRequest(str(capture.source), capture.frames, 7.0)
    template = read_template(filmed / "start.obj")
    Take.create(filmed.parent / "other", other, template).write_geometry(1, template.vertices, {})
    refused(track(filmed, out=filmed.parent / "other"), filmed.parent / "other", "--resume")
    refused(track(filmed, out=filmed / "start.obj"), "start.obj")


def test_a_place_that_cannot_be_written(filmed):
    result = track(filmed, out=filmed / "start.obj" / "take")  # below a file; permissions do not stop root
    refused(result, "start.obj", "cannot be written")


def test_a_full_disk_is_said(filmed, monkeypatch):
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    refused(track(filmed), "disk is full")


def test_bake_and_evaluate_of_a_take_without_frames(filmed):
    capture = open_capture(filmed)
    out = filmed.parent / "take"
    Take.create(out, TakeRequest(str(capture.source), (1, 2), 1000.0), read_template(filmed / "start.obj"))
    refused(topo4d("bake", out), out, "topo4d track")
    refused(topo4d("evaluate", out, "--truth", filmed / "truth.npz"), out, "topo4d track")


def test_evaluate_prints_json_alone_on_stdout(filmed):
    capture = open_capture(filmed)
    truth = np.load(filmed / "truth.npz")
    out = filmed.parent / "take"
    take = Take.create(out, TakeRequest(str(capture.source), (1, 2), 1000.0), read_template(filmed / "start.obj"))
    take.write_geometry(1, truth["vertices"][0], {})
    result = topo4d("evaluate", out, "--truth", filmed / "truth.npz")
    scores = json.loads(result.stdout)
    assert result.exit_code == 0 and scores["overall"]["vertex_error_mm"]["max"] == 0
    assert result.stderr.startswith("warning: 1 of the 2 frames")


def test_warnings_of_the_capture_are_shown(filmed, monkeypatch):
    (filmed / "images" / "cam01" / "000002.png").unlink()
    monkeypatch.setattr("topo4d_blender.core.track.track_take", lambda *_: None)
    result = track(filmed)
    assert result.exit_code == 0
    assert re.search(r"^warning: .*cam01.*2", result.stderr, re.M)
    assert "cam01" in (filmed.parent / "take" / "log.txt").read_text()


@pytest.mark.parametrize(
    ("failure", "status", "words"),
    [
        (RuntimeError("two\nlines"), 1, ["RuntimeError: two lines", "log.txt"]),
        (MemoryError(), 1, ["memory"]),
        (OSError(errno.ENOSPC, "full"), 2, ["disk is full"]),
        (PermissionError(errno.EACCES, "Permission denied", "/locked"), 2, ["/locked", "Permission denied"]),
        (KeyboardInterrupt(), 1, ["Stopped at your request"]),
        (Cancelled("Stopped."), 1, ["Stopped."]),
        (WorkError("It broke."), 1, ["It broke."]),
        (ModuleNotFoundError("No module named 'numba'", name="numba"), 2, ["numba", "topo4d doctor"]),
    ],
)
def test_whatever_happens_inside_is_one_sentence(filmed, monkeypatch, failure, status, words):
    def fail(*_: object) -> None:
        raise failure

    monkeypatch.setattr("topo4d_blender.core.track.track_take", fail)
    refused(track(filmed), *words, status=status)
    if isinstance(failure, RuntimeError):
        assert "Traceback" in (filmed.parent / "take" / "log.txt").read_text()


def test_unforeseen_failures_outside_a_take_leave_their_details_in_a_file(monkeypatch):
    def fail(**_: object) -> None:
        raise ZeroDivisionError("deep inside")

    monkeypatch.setattr(cli, "track_job", lambda progress, **_: fail())
    result = topo4d("track", "x", "--template", "y", "--out", "z")
    refused(result, "deep inside", status=1)
    log = Path(re.search(r"details are in (.*)\.$", result.stderr.strip())[1])
    assert "ZeroDivisionError" in log.read_text()
    log.unlink()


def test_ctrl_c_asks_first_and_insists_the_second_time():
    progress, before = bars.BarProgress(), signal.getsignal(signal.SIGINT)
    with progress.stopping():
        assert not progress.cancelled()
        signal.raise_signal(signal.SIGINT)
        assert progress.cancelled()
        with pytest.raises(Cancelled):
            progress.check()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_while_the_command_line_loads_is_one_sentence():
    code = """
import signal, sys
class Pressed:
    def find_spec(self, name, *_):
        if name == "click":
            signal.raise_signal(signal.SIGINT)
sys.meta_path.insert(0, Pressed())
from topo4d_blender.core.__main__ import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code, "doctor"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "error: Stopped at your request.\n")


def test_progress_into_a_file_is_a_few_whole_lines(capsys):
    progress = bars.BarProgress()
    with progress.stopping():
        progress.stage("Tracking", 500)
        for _ in range(500):
            progress.advance()
        progress.warning("Mind the gap.")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) < 6 and "\r" not in "".join(lines)
    assert any(line.startswith("Tracking: 500 of 500") and "left" in line for line in lines)
    assert "warning: Mind the gap." in lines


def test_progress_into_a_file_says_nothing_twice(capsys, monkeypatch):
    monkeypatch.setattr(bars, "_QUIET_S", 0.0)
    progress = bars.BarProgress()
    progress.stage("Tracking", 2)
    progress.advance(2)
    progress.close()  # tqdm shows a bar once more at its end
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["Tracking: 0 of 2", "Tracking: 2 of 2"]


def test_the_real_process_says_one_line_and_its_status(tmp_path):
    done = subprocess.run(
        [*COMMAND, "track", tmp_path / "absent", "--template", "x", "--out", tmp_path / "take"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.count("\n") == 1 and str(tmp_path / "absent") in done.stderr


def test_a_python_without_the_packages_says_which():
    # -S: no site-packages, as in a bare Python named in Blender's preferences.
    done = subprocess.run([sys.executable, "-S", *COMMAND[1:], "doctor"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "no package" in done.stderr and "Traceback" not in done.stderr
