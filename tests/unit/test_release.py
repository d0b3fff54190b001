"""build_addon.py --offline and --index: the same input, the same bytes; what may not be passed on is refused."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_wheels import make_wheels, write_wheel

from release import licences, wheelhouse
from topo4d_blender.bridge.install.wheels import sha256
from topo4d_blender.core import pins

ROOT = Path(__file__).resolve().parents[2]
NEEDS_BPY = pytest.mark.skipif(importlib.util.find_spec("bpy") is None, reason="Blender's extension tool is in bpy")


def order(folder: Path, **values: object) -> wheelhouse.Order:
    """An order that no index is asked for."""
    return wheelhouse.Order("linux-x64", wheels_from=[folder], index=False, **values)


@pytest.fixture
def wheels(tmp_path) -> Path:
    return make_wheels(tmp_path / "wheels here é")


@pytest.mark.parametrize("platform", wheelhouse.PLATFORMS)
def test_every_wheel_is_pinned_with_its_hash_and_licence(tmp_path, wheels, platform):
    folder, house = wheelhouse.make(wheelhouse.Order(platform, wheels_from=[wheels], index=False), tmp_path / "out")
    assert folder.name == f"topo4d-0.1.0-{platform}-py311" and house.torch == "none"
    assert house.packages == {name: v for name, v in pins.engine_pins().items() if name != "torch"}
    for wheel in house.wheels:
        assert sha256(folder / wheel.file) == wheel.sha256
        assert (
            f"{wheel.name}=={wheel.version} --hash=sha256:{wheel.sha256}\n" in (folder / "requirements.txt").read_text()
        )
        assert f"| {wheel.name} | {wheel.version} | {wheel.licence} |" in (folder / "LICENCES.md").read_text()
    assert house.pip.name == "pip" and "pip==" not in (folder / "requirements.txt").read_text()
    expected = {w.file for w in (*house.wheels, house.pip)} | {"LICENCES.md", "requirements.txt", "wheelhouse.json"}
    assert {path.name for path in folder.iterdir()} == expected


def test_the_same_wheels_give_the_same_bytes_in_the_place_of_the_old(tmp_path, wheels):
    folder, _ = wheelhouse.make(order(wheels), tmp_path / "out")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "left over").touch()
    again, _ = wheelhouse.make(order(wheels), tmp_path / "out")
    assert again == folder and {path.name: path.read_bytes() for path in again.iterdir()} == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == [folder.name]


def test_a_forbidden_licence_is_refused_and_leaves_nothing(tmp_path):
    wheels = make_wheels(tmp_path / "wheels", tqdm="CC-BY-NC-4.0")
    with pytest.raises(licences.Forbidden, match="tqdm is licensed as CC-BY-NC-4.0"):
        wheelhouse.make(order(wheels), tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_what_a_package_brings_along_is_taken_and_judged_too(tmp_path, wheels):
    write_wheel(wheels, "tqdm", pins.engine_pins()["tqdm"], "MIT", needs="attrs")
    write_wheel(wheels, "attrs", pins.constraints()["attrs"], "MIT")
    write_wheel(wheels, "attrs", "99.0", "MIT")
    assert wheelhouse.make(order(wheels), tmp_path / "out")[1].packages["attrs"] == pins.constraints()["attrs"]
    write_wheel(wheels, "attrs", pins.constraints()["attrs"], "LicenseRef-Proprietary")
    with pytest.raises(licences.Forbidden, match="attrs"):
        wheelhouse.make(order(wheels), tmp_path / "out")


def test_nvidias_libraries_are_for_those_who_accept_their_licence(tmp_path, wheels):
    cublas = pins.constraints()["nvidia-cublas"]
    write_wheel(wheels, "torch", pins.engine_pins()["torch"], "BSD-3-Clause", needs="nvidia-cublas")
    write_wheel(wheels, "nvidia-cublas", cublas, "LicenseRef-NVIDIA-Proprietary")
    with pytest.raises(wheelhouse.WheelhouseError, match="build for CUDA: name a folder that has the CPU build"):
        wheelhouse.make(order(wheels, torch="cpu"), tmp_path / "out")
    with pytest.raises(licences.Forbidden, match="nvidia"):
        wheelhouse.make(order(wheels, torch="cuda"), tmp_path / "out")
    folder, house = wheelhouse.make(order(wheels, torch="cuda", nvidia=True), tmp_path / "out")
    assert house.packages["nvidia-cublas"] == cublas and folder.name.endswith("-cuda")
    assert "not to be passed on" in (folder / "LICENCES.md").read_text()


@pytest.mark.parametrize(
    ("version", "tag", "taken"),
    [("1.5.3", "py3-none-any", False), ("1.5.3+torch2.13.0.cu130", "cp311-cp311-linux_x86_64", True)],
)
def test_gsplat_is_taken_only_where_it_is_compiled(tmp_path, wheels, version, tag, taken):
    write_wheel(wheels, "torch", pins.engine_pins()["torch"], "BSD-3-Clause")
    write_wheel(wheels, "gsplat", version, "Apache-2.0", tag=tag, needs="rich")
    write_wheel(wheels, "rich", pins.gsplat_pins()["rich"], "MIT")
    write_wheel(wheels, "rich", "99.0", "MIT")
    _, house = wheelhouse.make(order(wheels, torch="cuda"), tmp_path / "out")
    assert house.packages.get("gsplat") == (version if taken else None)
    assert house.packages.get("rich") == (pins.gsplat_pins()["rich"] if taken else None)
    _, house = wheelhouse.make(order(wheels, torch="cpu"), tmp_path / "out")
    assert "gsplat" not in house.packages


def test_an_unknown_python_and_a_missing_wheel_are_said_in_a_sentence(tmp_path, wheels):
    with pytest.raises(wheelhouse.WheelhouseError, match="not made for Python 3.9; choose one of 3.11"):
        wheelhouse.make(order(wheels, python="3.9"), tmp_path / "out")
    next(wheels.glob("tqdm-*")).unlink()
    with pytest.raises(wheelhouse.WheelhouseError, match="uv cannot resolve .*tqdm"):
        wheelhouse.make(order(wheels), tmp_path / "out")


@NEEDS_BPY
def test_the_command_line_builds_zip_repository_and_folder(tmp_path, wheels):
    words = ["--out", tmp_path / "dist", "--index", "--offline", "linux-x64", "--no-index", "--wheels-from", wheels]
    done = subprocess.run([sys.executable, ROOT / "build_addon.py", *words], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "MB installed)" in done.stdout and "KiB)" in done.stdout
    repository = tmp_path / "dist" / "repository"
    (entry,) = json.loads((repository / "index.json").read_text("utf-8"))["data"]
    archive = repository / "topo4d-0.1.0.zip"
    assert (entry["id"], entry["version"], entry["license"]) == ("topo4d", "0.1.0", ["SPDX:GPL-3.0-or-later"])
    assert entry["archive_size"] == archive.stat().st_size < 10**6
    assert entry["archive_hash"] == f"sha256:{sha256(archive)}" and entry["archive_url"].endswith(archive.name)
    before = (repository / "index.json").read_bytes()
    subprocess.run([sys.executable, ROOT / "build_addon.py", *words], check=True, capture_output=True)
    assert (repository / "index.json").read_bytes() == before
    make_wheels(wheels, click="CC-BY-NC-4.0")
    done = subprocess.run([sys.executable, ROOT / "build_addon.py", *words], capture_output=True, text=True)
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and "click" in done.stderr
