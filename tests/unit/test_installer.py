"""The installer without an engine: which torch for which machine, what is refused, what failure leaves: nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_wheels import make_wheels
from wheelhouses import find_or_make

from release import wheelhouse
from topo4d_blender.bridge.errors import BridgeError
from topo4d_blender.bridge.install import download, engines, pip, setup, wheels
from topo4d_blender.bridge.install.errand import Installation
from topo4d_blender.bridge.interpreter import LAUNCHER, Interpreter
from topo4d_blender.core import gpus, pins

PYTHON = pins.tag()
RTX = "NVIDIA GeForce RTX 4090, 580.65.06, 8.9, 24564\n"
OLD_DRIVER = "NVIDIA RTX A4000, 550.90.07, 8.6, 16376\n"
PASCAL = "NVIDIA GeForce GTX 1080 Ti, 580.65.06, 6.1, 11264\n"
NO_DRIVER = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n"


@pytest.mark.parametrize(
    ("platform", "answer", "torch", "words"),
    [
        ("linux-x64", RTX, "cuda", "RTX 4090 with driver 580.65.06 runs CUDA 13"),
        ("windows-x64", RTX, "cuda", "RTX 4090"),
        ("linux-x64", PASCAL + RTX, "cuda", "RTX 4090"),
        ("linux-x64", OLD_DRIVER, "none", "too old for CUDA 13. Update the driver to 580 or newer"),
        ("linux-x64", PASCAL, "none", "GTX 1080 Ti is older than what CUDA 13 supports"),
        ("linux-x64", NO_DRIVER, "none", "No NVIDIA card answers"),
        ("linux-x64", "", "none", "No NVIDIA card answers"),
        ("windows-x64", "GRID, 580.1, [N/A], [N/A]\n", "none", "No NVIDIA card answers"),
        ("macos-arm64", "", "cpu", "Apple"),
    ],
)
def test_the_torch_for_a_machine_is_read_off_its_driver(platform, answer, torch, words):
    choice = gpus.choose_torch(platform, gpus.read_nvidia(answer))
    assert choice.torch == torch and words in f"{choice.why} {choice.step}"


def test_a_card_is_read_whole():
    (card,) = gpus.read_nvidia("Some, odd name, 581.2, 12.0, 8192\n")
    assert card == gpus.Gpu("Some, odd name", "581.2", (12, 0), 8.0)


def ready(folder: Path, python: str = PYTHON, **changed: str) -> Path:
    """An engine in `folder` as far as its ready-file goes."""
    folder.mkdir(parents=True)
    packages = pins.engine_pins(python) | changed
    engines.make_ready(folder, engines.Ready("0.1.0", python, "cpu", packages, 1))
    return folder


def test_the_youngest_fitting_engine_is_the_one_to_use(tmp_path):
    assert engines.newest(tmp_path / "none", PYTHON) is None
    old, young = ready(tmp_path / "0.1.0-b"), ready(tmp_path / "0.1.0-a")
    os.utime(old / engines.READY, (1, 1))
    ready(tmp_path / "other pins", numba="0.1")
    ready(tmp_path / "other python", "3.13")
    (tmp_path / "unready").mkdir()
    (ready(tmp_path / "garbage") / engines.READY).write_text("{")
    assert engines.newest(tmp_path, PYTHON) == young
    assert engines.newest(tmp_path, "3.13") == tmp_path / "other python"


def test_an_engine_without_torch_fits_and_a_local_build_of_it_too():
    packages = pins.engine_pins(PYTHON)
    assert engines.fits(packages | {"torch": packages["torch"] + "+cpu", "attrs": "1"}, PYTHON)
    assert engines.fits({name: v for name, v in packages.items() if name != "torch"}, PYTHON)
    assert not engines.fits(packages | {"torch": "1.0"}, PYTHON)
    assert not engines.fits({name: v for name, v in packages.items() if name != "numba"}, PYTHON)
    assert not engines.fits(packages, "2.7")


def test_a_new_folder_is_never_an_old_one(tmp_path):
    folders = [engines.new_folder(tmp_path, "0.1.0", "abcdef0123456789") for _ in range(3)]
    assert [folder.name for folder in folders] == ["0.1.0-abcdef01", "0.1.0-abcdef01.2", "0.1.0-abcdef01.3"]


HOLD = """
import sys, time
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from topo4d_blender.bridge.install import engines
engines.hold(Path(sys.argv[2]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there an open file protects its folder")
def test_old_engines_are_swept_but_not_from_under_another_blender(tmp_path):
    used, old, new = (ready(tmp_path / name) for name in ("used", "old", "new"))
    (tmp_path / "broken off").mkdir()
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-c", HOLD, root, str(used)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        assert sorted(engines.sweep(tmp_path, new)) == ["broken off", "old"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["new", "used"]
        other.stdin.close()
        other.wait()
    assert engines.sweep(tmp_path, new) == ["used"] and not old.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="there an open file protects its folder")
def test_two_installers_at_once_do_not_sweep_each_other(tmp_path):
    keep = ready(tmp_path / "keep")
    busy = engines.new_folder(tmp_path, "0.1.0", "ffffffff")
    assert engines.sweep(tmp_path, keep) == [] and busy.is_dir()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder of wheels that are no engine; tests copy what they change."""
    work = tmp_path_factory.mktemp("tiny wheels é")
    made = make_wheels(work / "index")
    made_folder, house = wheelhouse.make(wheelhouse.Order(gpus.this_platform(), wheels_from=[made], index=False), work)
    (made_folder / house.pip.file).unlink()  # no pip either: this Python's own does the installing
    replace(house, pip=None).write(made_folder)
    return made_folder


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda record: record.update(python="3.7"), "is for .* and Python 3.7; this is .* get the folder for it"),
        (lambda record: record.update(platform="amiga"), "is for amiga"),
        (lambda record: record.update(format=2), "newer Topo4D .*update the extension"),
        (lambda record: record["wheels"].pop(), "not tested with; get the folder of its own version"),
        (lambda record: record.pop("wheels"), "cannot be read .*copy the folder again"),
    ],
)
def test_a_folder_of_another_kind_is_refused(folder, tmp_path, change, words):
    record = json.loads((folder / wheels.RECORD).read_text("utf-8"))
    change(record)
    (tmp_path / wheels.RECORD).write_text(json.dumps(record), "utf-8")
    with pytest.raises(BridgeError, match=words):
        wheels.read_wheelhouse(tmp_path, PYTHON)


def test_a_folder_without_a_record_is_refused_and_a_whole_one_is_read(folder, tmp_path):
    with pytest.raises(BridgeError, match="build_addon.py --offline"):
        wheels.read_wheelhouse(tmp_path, PYTHON)
    house = wheels.read_wheelhouse(folder, PYTHON)
    read: list[int] = []
    wheels.verify(folder, house, read.append)
    assert sum(read) == house.size


def run(job: dict, log: Path, cancel_at: str = "", seconds: float = 120) -> Installation:
    """The whole errand as Blender's timer would see it, cancelled when it reaches the stage `cancel_at`."""
    installation = Installation()
    installation.start(Interpreter(sys.executable), job, log)
    end = time.monotonic() + seconds
    while installation.job:
        assert time.monotonic() < end
        installation.step()
        if cancel_at and installation.stage.startswith(cancel_at):
            installation.cancel()
        time.sleep(0.01)
    return installation


@pytest.fixture
def job(folder, tmp_path) -> dict:
    """An errand that leads to wheels which are no engine, beside an old engine."""
    ready(tmp_path / "engines é" / "old")
    return {"job": "folder", "wheels": str(folder), "engines": str(tmp_path / "engines é")}


def test_what_does_not_pass_its_test_is_taken_away_and_the_old_engine_stays(job, tmp_path):
    done = run(job, tmp_path / "install.log")
    assert done.failure and done.engine is None and "\n" not in done.failure
    assert [path.name for path in Path(job["engines"]).iterdir()] == ["old"]
    assert "Successfully installed" in (tmp_path / "install.log").read_text("utf-8")


def test_a_spoiled_wheel_is_named_before_anything_is_written(job, folder, tmp_path):
    spoiled = tmp_path / "spoiled"
    spoiled.mkdir()
    for path in folder.iterdir():
        data = path.read_bytes()
        (spoiled / path.name).write_bytes(data + b"x" if path.name.startswith("numba-") else data)
    done = run(job | {"wheels": str(spoiled)}, tmp_path / "install.log")
    assert "numba-" in done.failure and "copy the folder again" in done.failure
    assert [path.name for path in Path(job["engines"]).iterdir()] == ["old"]


@pytest.mark.parametrize("stage", ["Starting", "Installing", "Testing"])
def test_cancel_takes_back_what_was_begun(job, tmp_path, stage):
    done = run(job, tmp_path / "install.log", cancel_at=stage)
    assert done.failure == "The installation was cancelled; nothing has changed."
    assert [path.name for path in Path(job["engines"]).iterdir()] == ["old"]


def test_a_python_that_is_not_there_is_a_sentence(job, tmp_path):
    installation = Installation()
    installation.start(Interpreter("/no/such/python"), job, tmp_path / "install.log")
    assert "/no/such/python cannot be started" in installation.failure and not installation.job
    assert installation.step() is False


def test_an_installer_that_dies_is_noticed(tmp_path):
    installation = Installation()
    installation.start(Interpreter(sys.executable), {"job": "folder"}, tmp_path / "install.log")
    installation._process.kill()
    end = time.monotonic() + 20
    while installation.job and time.monotonic() < end:
        installation.step()
        time.sleep(0.01)
    assert (
        "stopped unexpectedly: it left no word (see" in installation.failure and "install.log" in installation.failure
    )


def test_a_python_that_is_too_old_says_so(tmp_path):
    """A stand-in that only claims to be old: what is chosen by mistake may be as old as it likes."""
    old = tmp_path / "python3.9"
    claim = "import sys, runpy; sys.version_info = (3, 9, 1, 'final', 0); sys.argv = sys.argv[-3:]; "
    run_it = "runpy.run_path(sys.argv[0], run_name='__main__')"
    old.write_text(f'#!/bin/sh\nexec \'{sys.executable}\' -c "{claim}{run_it}" "$@"\n')
    old.chmod(0o755)
    installation = Installation()
    installation.start(Interpreter(str(old)), {"job": "check", "packages": ""}, tmp_path / "install.log")
    while installation.job:
        installation.step()
        time.sleep(0.01)
    assert "This Python is 3.9 and the engine needs 3.11 or newer" in installation.failure


def test_the_installer_ends_with_its_blender(job, tmp_path):
    """stdin closes when Blender is killed; nothing is left then, no process and no folder."""
    command = Interpreter(sys.executable).command("bridge.install.work")
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdin.write(json.dumps(job).encode() + b"\n")
        process.stdin.flush()
        while b"Installing" not in process.stdout.readline():
            pass
        process.stdin.close()
        assert process.wait(60) == 1
    assert [path.name for path in Path(job["engines"]).iterdir()] == ["old"]


def test_a_full_disk_is_told_before_anything_is_written(tmp_path):
    with pytest.raises(BridgeError, match="GB left: free some space"):
        setup.check_room(tmp_path, 10**18)


@pytest.fixture
def index(folder, monkeypatch) -> Path:
    """The tiny wheels as all that pip's settings know of."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", folder.as_uri())
    return folder


def test_a_look_says_how_much_a_download_is_and_the_download_is_that(index, job, tmp_path):
    looked = run({"job": "look", "torch": "none", "index": ""}, tmp_path / "install.log").found
    house = wheels.read_wheelhouse(index, PYTHON)
    assert (looked["size"], looked["packages"], looked["unknown"]) == (house.size, len(house.wheels), [])
    assert {w["file"]: w["sha256"] for w in looked["house"]["wheels"]} == {w.file: w.sha256 for w in house.wheels}
    done = run({"job": "download", "engines": job["engines"], "found": looked, "index": ""}, tmp_path / "install.log")
    assert "The engine does not run" in done.failure, "these wheels are no engine, but they were installed and tried"
    assert [path.name for path in Path(job["engines"]).iterdir()] == ["old"]
    looked["house"]["wheels"][0]["sha256"] = "0" * 64
    done = run({"job": "download", "engines": job["engines"], "found": looked, "index": ""}, tmp_path / "install.log")
    assert "its hash differs" in done.failure
    assert [path.name for path in Path(job["engines"]).iterdir()] == ["old"]


@pytest.mark.parametrize(
    ("version", "beside", "build"),
    [
        ("2.13.0", [], "cpu"),
        ("2.13.0+cpu", [], "cpu"),
        ("2.13.0+cu130", [], "cuda"),
        ("2.13.0", ["nvidia-nccl"], "cuda"),
    ],
)
def test_which_torch_a_download_brings_is_read_off_its_wheels(version, beside, build):
    found = [wheels.Wheel(name, "1", "", "", 1) for name in ("numba", *beside)]
    assert download.build_of(tuple(found[:1])) == "none"
    assert download.build_of((*found, wheels.Wheel("torch", version, "", "", 1))) == build


def test_an_index_without_the_packages_is_a_sentence(index, monkeypatch, tmp_path):
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    done = run({"job": "look", "torch": "none", "index": ""}, tmp_path / "install.log")
    assert "has no " in done.failure and "install from a folder of wheels" in done.failure and done.found is None


def test_a_downloaded_engine_takes_the_place_of_the_old_one(monkeypatch, tmp_path, tmp_path_factory):
    real = find_or_make(PYTHON, tmp_path_factory.mktemp("made"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", real.as_uri())
    old = ready(tmp_path / "engines é" / "old")
    looked = run({"job": "look", "torch": "none", "index": ""}, tmp_path / "install.log").found
    job = {"job": "download", "engines": str(old.parent), "found": looked, "index": ""}
    done = run(job, tmp_path / "install.log", seconds=400)
    assert done.failure == "" and done.ready.torch == "none" and done.doctor["methods"][0]["runs"]
    assert [path.name for path in old.parent.iterdir()] == [done.engine.name]
    assert engines.newest(old.parent, PYTHON) == done.engine
    assert run({"job": "check", "packages": str(done.engine)}, tmp_path / "install.log").doctor["can"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", "its hash differs"),
        ("ERROR: No matching distribution found for torch==2.13.0", "has no torch==2.13.0 for this machine"),
        (
            "WARNING: Retrying after NewConnectionError\nERROR: No matching distribution found for x",
            "cannot be reached",
        ),
        ("HINT: ... You can enable Windows Long Path support", "turn on long paths"),
        ("ERROR: something else.\n", "pip failed: something else."),
        ("", "pip failed: it left no word."),
    ],
)
def test_what_pip_says_becomes_a_sentence(said, words):
    assert words in pip.in_words(said)


def test_a_python_without_pip_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(pip.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(BridgeError, match="no pip to download with: install the engine from a folder of wheels"):
        pip.find_pip()
    assert pip.find_pip(tmp_path / "pip.whl")[-1] == str(tmp_path / "pip.whl" / "pip")


def test_an_installed_engine_sees_nothing_of_the_pythons_own_packages(tmp_path):
    """-S and the folder: not what pip, a distribution or another extension put into that Python."""
    (tmp_path / "only_here.py").write_text("")
    (tmp_path / "ready.json").write_text("{}")
    show = tmp_path / "show.pth"
    show.write_text("import sys; print([p for p in sys.path if 'site-packages' in p or 'dist-packages' in p])\n")
    command = Interpreter(sys.executable, str(tmp_path)).command("core.pins")
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout.startswith("[]") and command[1:3] == ["-I", "-S"] and str(LAUNCHER) in command
