"""What pyproject.toml declares, what the code imports and what docs/dependencies.md lists are the same things."""

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "topo4d_blender"
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ENGINE = PYPROJECT["project"]["dependencies"]
GROUPS = PYPROJECT["dependency-groups"].values()
PINS = ENGINE + [pin for group in GROUPS for pin in group] + PYPROJECT["build-system"]["requires"]

# Where the name one installs is not the name one imports.
IMPORT_NAMES = {"opencv-python-headless": "cv2", "openexr": "OpenEXR", "pillow": "PIL"}
# Inside Blender's process (or the bpy module's) these come with bpy and are nobody's dependency to declare.
BLENDER_OWN = {"bpy", "bmesh", "mathutils", "gpu", "bl_ext", "addon_utils", "bpy_extras"}
# Imported only where the user installed them; never required.
OPTIONAL = {"gsplat", "nvdiffrast"}


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9_.-]+", requirement).group().lower()


def import_name(requirement: str) -> str:
    name = name_of(requirement)
    return IMPORT_NAMES.get(name, name.replace("-", "_"))


def third_party_imports(folder: Path) -> dict[str, str]:
    """Top-level modules imported anywhere under `folder` (in functions too) -> one file that does."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules = [node.module]
            else:
                continue
            for module in modules:
                top = module.split(".")[0]
                if top not in sys.stdlib_module_names:
                    found.setdefault(top, str(path.relative_to(ROOT)))
    return found


@pytest.mark.parametrize("requirement", ENGINE)
def test_every_engine_dependency_is_imported(requirement):
    assert import_name(requirement) in third_party_imports(PACKAGE)


@pytest.mark.parametrize("room", ["core", "studio"])
def test_every_third_party_import_is_declared(room):
    declared = {import_name(requirement) for requirement in ENGINE} | OPTIONAL
    if room == "studio":
        declared |= BLENDER_OWN
    undeclared = {m: path for m, path in third_party_imports(PACKAGE / room).items() if m not in declared}
    assert not undeclared


def test_every_pin_is_exact():
    assert [pin for pin in PINS if "==" not in pin] == []


def test_the_table_of_dependencies_says_the_same():
    table = (ROOT / "docs" / "dependencies.md").read_text("utf-8")
    rows = re.findall(r"^\| ([\w-]+) \| (\d[\w.]*) \|", table, re.MULTILINE)
    assert {f"{name}=={version}" for name, version in rows} == set(PINS)
