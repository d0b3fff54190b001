"""Builds dist/topo4d-VERSION.zip, the extension, with Blender's own validator and builder.

    python build_addon.py                      uses the tool inside the bpy module
    python build_addon.py --blender /usr/bin/blender

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

ROOT = Path(__file__).resolve().parent
PACKAGE = ROOT / "topo4d_blender"
MANIFEST = ROOT / "blender_manifest.toml"
EPOCH = 315619200  # 1980-01-02, the first day that a zip can hold in every time zone
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.py[cod]", "*.nbi", "*.nbc", ".*", "*.part", "*.tmp")


def main() -> int:
    """Build, validate, print the path and size; exit status 0, or Blender's own."""
    parser = argparse.ArgumentParser(description="Build the Topo4D extension for Blender.")
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder for the zip (default: dist)")
    parser.add_argument("--blender", type=Path, help="a Blender to build with instead of the bpy module")
    arguments = parser.parse_args()
    tool = extension_tool(arguments.blender)
    if tool is None:
        print("Blender's extension tool was not found: install the bpy module or give --blender PATH.", file=sys.stderr)
        return 2
    archive = arguments.out.resolve() / f"topo4d-{tomllib.loads(MANIFEST.read_text('utf-8'))['version']}.zip"
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        staged = stage(Path(folder) / "topo4d")
        for words in (["validate", str(staged)], ["build", f"--source-dir={staged}", f"--output-filepath={archive}"]):
            done = subprocess.run([*tool, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            if done.returncode:
                print(done.stdout, file=sys.stderr)
                return done.returncode
    sort_entries(archive)
    print(f"{archive} ({archive.stat().st_size / 1024:.0f} KiB)")
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
    """Lay the extension out in `folder` as Blender wants it, the manifest beside `__init__.py`; returns `folder`."""
    shutil.copytree(PACKAGE, folder, ignore=_LEFT_OUT)
    shutil.copy(MANIFEST, folder)
    shutil.copy(ROOT / "LICENSE", folder)
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
