"""Builds dist/topo4d-VERSION.zip, the extension, with Blender's own validator and builder.

    python build_addon.py                      uses the tool inside the bpy module
    python build_addon.py --blender /usr/bin/blender
    python build_addon.py --index              also dist/repository/, to be shown by any web server
    python build_addon.py --offline linux-x64  also a folder of wheels, to install the engine from without a network

The same sources give the same bytes: caches stay out, every file has one date, and the entries are in one order.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path

from release import licences, repository, wheelhouse
from topo4d_blender.core import pins

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "topo4d_blender"
MANIFEST = ROOT / "blender_manifest.toml"
LARGEST = 10**6  # bytes of the zip
EPOCH = 315619200  # 1980-01-02, the first day that a zip can hold in every time zone
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.nbi", "*.nbc", ".*", "*.part", "*.tmp")


def main() -> int:
    """Build, validate, print the path and size; exit status 0, or Blender's own."""
    arguments = parse()
    tool = extension_tool(arguments.blender)
    if tool is None:
        print("Blender's extension tool was not found: install the bpy module or give --blender PATH.", file=sys.stderr)
        return 2
    out = arguments.out.resolve()
    archive = out / f"topo4d-{tomllib.loads(MANIFEST.read_text('utf-8'))['version']}.zip"
    if status := build(tool, archive):
        return status
    print(f"{archive} ({archive.stat().st_size / 1024:.0f} KiB)")
    if archive.stat().st_size > LARGEST:
        print(f"The zip is larger than {LARGEST / 1e6:.0f} MB: something is in it that is no source.", file=sys.stderr)
        return 1
    if arguments.index:
        if status := repository.make(tool, archive, out / "repository"):
            return status
        print(f"{out / 'repository' / 'index.json'}")
    return offline(arguments, out) if arguments.offline else 0


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="Build the Topo4D extension for Blender.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for what is built (default: dist)")
    parser.add_argument("--blender", type=Path, help="a Blender to build with instead of the bpy module")
    parser.add_argument("--index", action="store_true", help="also the static files of an extension repository")
    wheels = parser.add_argument_group("a folder of wheels to install the engine from")
    wheels.add_argument("--offline", metavar="PLATFORM", choices=wheelhouse.PLATFORMS, help="%(choices)s")
    wheels.add_argument(
        "--python", default=pins.TESTED, choices=pins.pythons(), help="Blender's own (default: %(default)s)"
    )
    wheels.add_argument("--torch", default="none", choices=["none", "cpu", "cuda"], help="default: %(default)s")
    wheels.add_argument("--wheels-from", type=Path, action="append", default=[], help="a folder to take wheels from")
    wheels.add_argument("--no-index", action="store_true", help="take wheels from those folders alone")
    wheels.add_argument("--accept-nvidia", action="store_true", help="with NVIDIA's libraries, for your own machines")
    return parser.parse_args()


def build(tool: list[str], archive: Path) -> int:
    """Validate and build the zip; exit status 0, or that of Blender's tool, whose words are on stderr then."""
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(Path(folder) / "topo4d")
        for words in (["validate", str(staged)], ["build", f"--source-dir={staged}", f"--output-filepath={archive}"]):
            done = subprocess.run([*tool, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                print(done.stdout, file=sys.stderr)
                return done.returncode
    sort_entries(archive)
    return 0


def offline(arguments: argparse.Namespace, out: Path) -> int:
    """Make the folder of wheels; exit status 0, 1 if it cannot be made, 2 if a licence forbids it."""
    order = wheelhouse.Order(
        arguments.offline,
        arguments.python,
        arguments.torch,
        [path.resolve() for path in arguments.wheels_from],
        not arguments.no_index,
        arguments.accept_nvidia,
    )
    try:
        folder, house = wheelhouse.make(order, out)
    except (wheelhouse.WheelhouseError, licences.Forbidden) as error:
        print(error, file=sys.stderr)
        return 2 if isinstance(error, licences.Forbidden) else 1
    for wheel in house.wheels:
        print(f"  {wheel.name:24} {wheel.version:14} {wheel.size / 1e6:8.1f} MB  {wheel.licence}")
    print(f"{folder} ({len(house.wheels)} wheels, {house.size / 1e6:.0f} MB; {house.unpacked / 1e6:.0f} MB installed)")
    return 0


def extension_tool(blender: Path | None = None) -> list[str] | None:
    """The command in front of `validate` and `build`: a Blender's, or the plain script inside the bpy module."""
    if blender is not None:
        return [str(blender), "--background", "--factory-startup", "--command", "extension"]
    spec = importlib.util.find_spec("bpy")  # finds without importing: no Blender starts here
    if spec is None or not spec.submodule_search_locations:
        return None
    places = (Path(place) for place in spec.submodule_search_locations)
    scripts = [path for place in places for path in place.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")]
    return [sys.executable, str(scripts[0])] if scripts else None


def stage(folder: Path) -> Path:
    """Lay the extension out in `folder` as Blender wants it, the manifest beside `__init__.py`; returns `folder`.

    pyproject.toml goes along: the installer reads the engine's pins there.
    """
    shutil.copytree(PACKAGE, folder, ignore=_LEFT_OUT)
    for path in (MANIFEST, ROOT / "LICENSE", ROOT / "pyproject.toml"):
        shutil.copy(path, folder)
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
        os.utime(path, (EPOCH, EPOCH))
    return folder


def sort_entries(archive: Path) -> None:
    """Put the entries in the order of their names: Blender's builder takes them as the file system lists them."""
    with zipfile.ZipFile(archive) as built:
        files = [(info, built.read(info)) for info in sorted(built.infolist(), key=lambda info: info.filename)]
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as ordered:
        for info, data in files:
            ordered.writestr(info, data)


if __name__ == "__main__":
    sys.exit(main())
