"""The exact packages that the engine is made of, as pyproject.toml says: a checkout's, or the one that the zip carries.

Knows the standard library alone: the doctor, Blender's process, the installer and the build all read the same pins.
"""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib import metadata
from pathlib import Path

TESTED = "3.11"  # the Python of pyproject.toml's own pins; for the others it says what differs
HEAVY = ("torch",)  # left out of an engine that has no use for it: several GB on some systems, and one method needs it
PIP = "pip==25.3"  # what installs; an older one reads whole wheels to learn what they need
_PIN = re.compile(r"([A-Za-z0-9._-]+)==([\w.]+)")


def tag(version: tuple[int, ...] | None = None) -> str:
    """A Python version as the pins name it: "3.11". Default: this Python's."""
    major, minor, *_ = version or sys.version_info
    return f"{major}.{minor}"


def canonical(name: str) -> str:
    """A package's name as registries compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pythons() -> tuple[str, ...]:
    """The Python versions that the engine can be installed for."""
    return (TESTED, *_project().get("tool", {}).get("topo4d", {}).get("python", {}))


def engine_pins(python: str = TESTED) -> dict[str, str]:
    """Package -> version for `python` ("3.13"); empty for a Python that nobody tried, or where no pins are at hand."""
    if python not in pythons():
        return {}
    pins = _read(_project()["project"]["dependencies"]) if _project() else _read(_installed())
    differs = _project().get("tool", {}).get("topo4d", {}).get("python", {}).get(python, {})
    pins |= _read(differs.get("instead", []))
    return {name: version for name, version in sorted(pins.items()) if name not in differs.get("without", [])}


def constraints(python: str = TESTED) -> dict[str, str]:
    """Package -> version of what the engine's packages bring along."""
    brought = _read(_project().get("tool", {}).get("uv", {}).get("constraint-dependencies", []))
    direct = engine_pins(python)
    return {name: version for name, version in brought.items() if name not in direct}


def gsplat_pins() -> dict[str, str]:
    """Package -> version of gsplat, which a folder of wheels for CUDA may hold, and of what it brings along."""
    return _read(_project().get("tool", {}).get("topo4d", {}).get("gsplat", []))


def _read(requirements: list[str]) -> dict[str, str]:
    matches = (_PIN.match(text) for text in requirements)
    return {canonical(match[1]): match[2] for match in matches if match}


def _installed() -> list[str]:
    """The requirements of `topo4d` installed as a package, without its extras."""
    try:
        return [text for text in metadata.requires("topo4d") or [] if "extra ==" not in text]
    except metadata.PackageNotFoundError:
        return []


@cache
def _project() -> dict:
    """pyproject.toml: beside the package in a checkout, inside it in the zip; {} where it is an installed wheel."""
    package = Path(__file__).resolve().parents[1]
    for path in (package / "pyproject.toml", package.parent / "pyproject.toml"):
        if (
            path.is_file()
            and (project := tomllib.loads(path.read_text("utf-8"))).get("project", {}).get("name") == "topo4d"
        ):
            return project
    return {}
