"""The walls of the house: which room may import what."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "topo4d_blender"
FILES = sorted(PACKAGE.rglob("*.py"))
BLENDER = {"bpy", "bpy_extras", "mathutils", "gpu", "addon_utils"}
IN_BLENDER = ("bridge", "operators", "panels")  # with the files at the top: what Blender's process imports
SHARED = {
    "core",
    "core.protocol",
    "core.pins",
    "core.gpus",
    "core.flags",
}  # the standard library alone: both sides import them
ALLOWED_IN_BLENDER = BLENDER | {"numpy"} | set(sys.stdlib_module_names)


def imports(path: Path) -> list[tuple[int, str]]:
    """(level, module) of every import statement of a file, the ones inside functions included."""
    found = []
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found += [(0, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.level, node.module or ""))
            found += [
                (node.level, f"{node.module or ''}.{alias.name}".strip(".")) for alias in node.names if node.level
            ]
    return found


def room(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else ""


def absolute(path: Path) -> set[str]:
    return {module.split(".")[0] for level, module in imports(path) if level == 0}


def named(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


@pytest.mark.parametrize("path", FILES, ids=named)
def test_imports_inside_the_package_are_relative(path):
    assert not absolute(path) & {"topo4d_blender", "topo4d"}


@pytest.mark.parametrize("path", [path for path in FILES if room(path) == "core"], ids=named)
def test_the_engine_knows_nothing_of_blender(path):
    assert not absolute(path) & BLENDER
    leaves = [module for level, module in imports(path) if level > len(path.relative_to(PACKAGE / "core").parts)]
    if path == PACKAGE / "core" / "cli.py":  # `topo4d demo` films first
        leaves = [module for module in leaves if not module.startswith("studio.demo")]
    assert not leaves, "core imports from outside of core"


@pytest.mark.parametrize("path", [path for path in FILES if room(path) != "core"], ids=named)
def test_torch_stays_in_the_engine(path):
    assert "torch" not in absolute(path)


@pytest.mark.parametrize("path", [path for path in FILES if room(path) in ("", *IN_BLENDER)], ids=named)
def test_blenders_process_needs_numpy_alone(path):
    if path.name == "launch_worker.py":
        assert absolute(path) <= set(sys.stdlib_module_names)  # it runs in the engine's Python
        return
    assert absolute(path) <= ALLOWED_IN_BLENDER
    core = {".".join(m.split(".")[:2]) for level, m in imports(path) if level and m.split(".")[0] == "core"}
    assert core <= SHARED


INSTALLER = [
    *sorted((PACKAGE / "bridge" / "install").glob("*.py")),
    *(PACKAGE / "bridge" / name for name in ("engine.py", "errors.py", "interpreter.py", "__init__.py")),
    *(PACKAGE / "core" / f"{name.split('.')[1]}.py" for name in sorted(SHARED) if "." in name),
]


@pytest.mark.parametrize("path", INSTALLER, ids=named)
def test_the_installer_runs_in_a_python_with_nothing_installed(path):
    assert absolute(path) <= set(sys.stdlib_module_names)
    if room(path) == "bridge":
        beside = {path.stem for path in INSTALLER} | {"install", "core", ""}
        assert {m.split(".")[0] for level, m in imports(path) if level} <= beside


def test_the_package_imports_without_blender_and_without_torch():
    code = (
        "import sys\n"
        "sys.modules.update({name: None for name in ('bpy', 'torch', 'numpy', 'numba')})\n"  # None: importing it raises
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "import topo4d_blender, topo4d_blender.core.protocol, topo4d_blender.bridge\n"
    )
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
