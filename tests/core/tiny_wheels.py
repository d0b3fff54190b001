"""Wheels of a few bytes with the names and versions of the engine's packages: what they install is no engine."""

import zipfile
from pathlib import Path

from topo4d_blender.core import pins


def make_wheels(folder: Path, **licences: str) -> Path:
    """Every direct package of the engine for Python 3.11 without torch, and pip; MIT but for those in `licences`."""
    folder.mkdir(parents=True, exist_ok=True)
    packages = {name: v for name, v in pins.engine_pins().items() if name not in pins.HEAVY} | {"pip": "25.3"}
    for name, version in packages.items():
        write_wheel(folder, name, version, licences.get(name, "MIT"))
    return folder


def write_wheel(
    folder: Path, name: str, version: str, licence: str, tag: str = "py3-none-any", needs: str = ""
) -> Path:
    """One wheel: a module that says its name."""
    module = name.replace("-", "_")
    info = f"{module}-{version}.dist-info"
    requires = f"Requires-Dist: {needs}\n" if needs else ""
    files = {
        f"{module}/__init__.py": f"NAME = {name!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{requires}"
        f"License-Expression: {licence}\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{module}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for place, text in files.items():
            wheel.writestr(zipfile.ZipInfo(place, (1980, 1, 2, 0, 0, 0)), text)
    return path
