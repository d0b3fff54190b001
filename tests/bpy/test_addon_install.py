"""The zip that users get: built by Blender's own tool, installed, enabled, disabled, without a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from synthetic import make_capture
from wheelhouses import find_or_make

pytest.importorskip("bpy")
pytestmark = pytest.mark.bpy

ROOT = Path(__file__).resolve().parents[2]

INSTALL = """
import sys

import bpy

MODULE = "bl_ext.user_default.topo4d"


def state():
    lists = {name: getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers)}
    lists = {name: value for name, value in lists.items() if isinstance(value, list)}
    handlers = {name: [f.__name__ for f in value if "topo4d" in f.__module__] for name, value in lists.items()}
    ours = sorted(name for name in dir(bpy.types) if "topo4d" in name.lower())
    operators = dir(bpy.ops.topo4d)
    return handlers, ours, operators, hasattr(bpy.types.Scene, "topo4d"), hasattr(bpy.types.Object, "topo4d")


before = state()
bpy.ops.extensions.package_install_files(filepath=sys.argv[1], repo="user_default", enable_on_install=True)
for _ in range(2):
    assert MODULE in bpy.context.preferences.addons
    during = state()
    assert "TOPO4D_PT_track" in during[1] and "track" in during[2] and during[3] and during[4]
    assert all(during[0][name] for name in ("undo_post", "redo_post", "load_post"))
    pump = sys.modules[MODULE + ".bridge.pump"]
    assert bpy.app.timers.is_registered(pump.tick)
    bpy.ops.preferences.addon_disable(module=MODULE)
    assert not bpy.app.timers.is_registered(pump.tick)
    assert state() == before, state()
    bpy.ops.preferences.addon_enable(module=MODULE)
assert bpy.context.preferences.addons[MODULE].preferences.device == "auto"
log = sys.modules[MODULE + ".preferences"].engine_log()
assert str(log).startswith(sys.argv[2]), log
assert not [name for name in sys.modules if name.split(".")[0] in ("torch", "numba", "scipy", "cv2", "PIL")]
print("INSTALLED")
"""


def without_network() -> list[str]:
    """The words in front of a command that take the network from it; none where this user may not."""
    words = ["unshare", "--map-root-user", "--net"]
    try:
        return words if subprocess.run([*words, "true"], capture_output=True).returncode == 0 else []
    except FileNotFoundError:
        return []


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("dist")
    done = subprocess.run(
        [sys.executable, str(ROOT / "build_addon.py"), "--out", str(out)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (archive,) = out.glob("topo4d-*.zip")
    assert str(archive) in done.stdout and "KiB" in done.stdout
    return archive


def test_the_zip_installs_enables_and_leaves_nothing_behind(archive, tmp_path):
    environment = os.environ | {"BLENDER_USER_RESOURCES": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-I", "-c", INSTALL, str(archive), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and "INSTALLED" in done.stdout, done.stdout + done.stderr


def test_the_zip_holds_the_package_and_nothing_else(archive):
    with zipfile.ZipFile(archive) as file:
        names = file.namelist()
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 2, 0, 0, 0)}
    assert names == sorted(names)
    assert {"blender_manifest.toml", "__init__.py", "core/protocol.py", "core/worker.py", "LICENSE"} <= set(names)
    assert "pyproject.toml" in names, "the installer reads the engine's pins there"
    assert not [name for name in names if name.endswith(".whl") or ".dist-info/" in name], "they would shadow Blender's"
    assert archive.stat().st_size < 10**6
    assert not [name for name in names if "__pycache__" in name or "tests/" in name or name.endswith((".nbi", ".nbc"))]


def test_the_same_sources_give_the_same_bytes(archive, tmp_path):
    subprocess.run([sys.executable, str(ROOT / "build_addon.py"), "--out", str(tmp_path)], check=True)
    assert (tmp_path / archive.name).read_bytes() == archive.read_bytes()


FRAMES = 3


@pytest.fixture(scope="module")
def visit(archive, tmp_path_factory):
    """What installed.py saw, in a folder with a space and letters of other languages, without a network."""
    work = tmp_path_factory.mktemp("größe 映画")
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wheels = work / "wheels on a stick"
    shutil.copytree(find_or_make(python, tmp_path_factory.mktemp("made")), wheels, copy_function=os.link)
    make_capture(work / "capture", frames=FRAMES, cameras=4, motion_mm=2.0)
    script = Path(__file__).with_name("installed.py")
    words = [sys.executable, "-I", str(script), str(archive), str(wheels), str(work / "capture")]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PIP_", "UV_", "PYTHON"))}
    environment |= {"BLENDER_USER_RESOURCES": str(work / "resources"), "NUMBA_CACHE_DIR": str(work / "numba")}
    done = subprocess.run([*without_network(), *words], env=environment, capture_output=True, text=True, cwd=work)
    seen = [line for line in done.stdout.splitlines() if line.startswith("SEEN")]
    logs = [path.read_text("utf-8", "replace")[-2000:] for path in (work / "resources").rglob("*.log")]
    assert done.returncode == 0 and seen, "\n".join([done.stdout[-2000:], done.stderr[-2000:], *logs])
    return work, json.loads(seen[0].removeprefix("SEEN"))


def test_an_engine_is_installed_from_a_folder_of_wheels_alone(visit):
    work, seen = visit
    engine = Path(seen["engine"])
    assert seen["failure"] == "" and not seen["tracks_before"]
    assert not seen["before"], "nothing may be looked up while Blender is offline"
    assert engine.is_relative_to(work / "resources") and (engine / "ready.json").is_file()
    assert [path.name for path in engine.parent.iterdir()] == [engine.name]
    assert "Testing the engine" in seen["stages"]
    assert seen["found_again"] == seen["engine"]
    assert seen["foreign"] == []


def test_the_doctor_of_an_installed_engine_says_what_this_machine_can_do(visit):
    found = visit[1]["doctor"]
    assert found["methods"][0]["runs"] and found["can"][0].startswith("Tracks and bakes on the processor")
    assert all(package["works"] for package in found["packages"] if package["version"])
    assert "pip install" not in " ".join(found["advice"]), "it would end in Blender's own Python"


def test_the_installed_engine_tracks_and_shape_keys_arrive(visit):
    work, seen = visit
    truth = np.load(work / "capture" / "truth.npz")
    keys = np.load(work / "keys.npy")
    assert keys.shape == truth["vertices"].shape, seen["message"]
    error_mm = np.linalg.norm(keys - truth["vertices"], axis=2)[:, truth["face_mask"]] * float(truth["unit_mm"])
    assert error_mm.mean() < 0.3
