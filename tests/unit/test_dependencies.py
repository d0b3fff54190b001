"""What pyproject.toml declares, what the code imports and what docs/dependencies.md lists are the same things."""

import ast
import re
import sys
import tomllib
from email.message import Message
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from release import licences
from topo4d_blender.core import pins

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


ROWS = re.findall(
    r"^\| ([\w-]+) \| (\d[\w.]*) \| ([^|]+) \|", (ROOT / "docs" / "dependencies.md").read_text("utf-8"), re.M
)
BROUGHT = PYPROJECT["tool"]["uv"]["constraint-dependencies"]
GSPLAT = PYPROJECT["tool"]["topo4d"]["gsplat"]
# Where Blender runs: the markers of what a package brings along are read for each of these.
MACHINES = [
    {"platform_system": system, "sys_platform": sys_platform, "os_name": os_name, "platform_machine": machine}
    | {"python_version": python, "python_full_version": f"{python}.5", "implementation_name": "cpython", "extra": ""}
    | {"platform_python_implementation": "CPython"}
    for python in pins.pythons()
    for system, sys_platform, os_name, machine in (
        ("Linux", "linux", "posix", "x86_64"),
        ("Windows", "win32", "nt", "AMD64"),
        ("Darwin", "darwin", "posix", "arm64"),
    )
]


def test_one_pip_installs_everywhere():
    assert pins.PIP in PYPROJECT["dependency-groups"]["release"]


def test_the_tables_of_dependencies_say_the_same():
    assert {f"{name}=={version}" for name, version, _ in ROWS} == {*PINS, *BROUGHT, *GSPLAT}


def test_gsplat_is_what_the_code_asks_for():
    assert f"gsplat=={pins.gsplat_pins()['gsplat']}" in GSPLAT
    for path in (PACKAGE / "core" / "jobs.py", PACKAGE / "core" / "splat" / "gsplat_renderer.py"):
        assert set(re.findall(r"gsplat==[\d.]*\d", path.read_text("utf-8"))) <= set(GSPLAT)


@pytest.mark.parametrize(("name", "licence"), sorted({(name, licence) for name, _, licence in ROWS}))
def test_every_licence_may_be_combined_with_ours_and_is_what_the_package_says(name, licence):
    licences.check(name, licence, nvidia=True)
    assert (licence == licences.NVIDIA) == name.startswith(("nvidia-", "cuda-toolkit"))
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return  # of another platform, or of a group that is not installed
    assert licences.licence_of(found) == licence


FOR_CUDA = re.compile(
    "nvidia-|cuda-|triton"
)  # only torch's build for CUDA brings these, which is not installed everywhere


def brought_by(name: str) -> set[str]:
    """What a package requires on some machine of MACHINES, NVIDIA's libraries for CUDA aside."""
    try:
        requirements = [Requirement(text) for text in metadata.requires(name) or []]
    except metadata.PackageNotFoundError:
        return set()
    needed = [r for r in requirements if r.marker is None or any(r.marker.evaluate(machine) for machine in MACHINES)]
    return {name for r in needed if not FOR_CUDA.match(name := pins.canonical(r.name))}


def test_everything_that_is_brought_along_is_pinned_and_nothing_else():
    reached, waiting = set(), {name_of(requirement) for requirement in ENGINE}
    while waiting:
        reached |= waiting
        waiting = set().union(*(brought_by(name) for name in waiting)) - reached
    assert reached - {name_of(pin) for pin in ENGINE} == {
        name for pin in BROUGHT if not FOR_CUDA.match(name := name_of(pin))
    }


@pytest.mark.parametrize("python", pins.pythons())
def test_what_differs_on_another_python_replaces_something(python):
    table = PYPROJECT["tool"]["topo4d"]["python"].get(python, {})
    known = {name_of(pin) for pin in (*ENGINE, *BROUGHT)}
    assert {name_of(pin) for pin in table.get("instead", [])} <= known
    assert set(table.get("without", [])) <= known
    assert all("==" in pin for pin in (*table.get("instead", []), *BROUGHT))


@pytest.mark.parametrize(
    "licence",
    [
        "CC-BY-NC-4.0",
        "LicenseRef-NVIDIA-Proprietary",
        "LicenseRef-Proprietary",
        "Nvidia Source Code License (1-Way Commercial)",
        "SSPL-1.0",
        "GPL-2.0-only",
        "MIT AND CC-BY-NC-4.0",
        "UNKNOWN",
    ],
)
def test_what_may_not_be_combined_with_ours_is_refused(licence):
    with pytest.raises(licences.Forbidden, match="thing is licensed as"):
        licences.check("thing", licence)


def test_one_side_of_an_or_is_enough_and_nvidia_is_for_those_who_accept_it():
    licences.check("thing", "CC-BY-NC-4.0 OR MIT")
    licences.check("nvidia-cublas", licences.NVIDIA, nvidia=True)
    with pytest.raises(licences.Forbidden):
        licences.check("thing", "LicenseRef-Proprietary", nvidia=True)


def test_a_package_that_does_not_tell_its_licence_is_refused():
    silent = Message()
    silent["Name"] = "silent"
    with pytest.raises(licences.Forbidden, match="silent"):
        licences.licence_of(silent)


def test_no_licence_is_read_by_hand_in_vain():
    assert set(licences.READ_BY_HAND) <= {name_of(pin) for pin in (*ENGINE, *BROUGHT)}
