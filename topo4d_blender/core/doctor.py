"""`topo4d doctor`: what this machine can run, in words, and for everything missing the one step that mends it."""

from __future__ import annotations

import importlib
import platform
import re
import shutil
import sys
import tomllib
from importlib import metadata
from pathlib import Path

from .machine import cores, memory_gb, package_version
from .protocol import ENGINE, PROTOCOL

# What the engine imports. The pins are pyproject.toml's and are read from there.
REQUIRED = {
    "click": "click",
    "jinja2": "jinja2",
    "jsonschema": "jsonschema",
    "matplotlib": "matplotlib",
    "numba": "numba",
    "numpy": "numpy",
    "opencv-python-headless": "cv2",
    "openexr": "OpenEXR",
    "pillow": "PIL",
    "scipy": "scipy",
    "tifffile": "tifffile",
    "tinyobjloader": "tinyobjloader",
    "torch": "torch",
    "tqdm": "tqdm",
}
OPTIONAL = {
    "bpy": "films the demo and writes its .blend",
    "gsplat": "draws for --method splat on a CUDA device",
    "nvdiffrast": "draws UV maps on CUDA, where torch is",
}
_LEAST_MEMORY_GB = 4.0  # a take of 24 plates of 12 megapixels, with room for the system
_LEAST_DISK_GB = 5.0


def diagnose() -> dict:
    """Everything doctor says, as plain JSON values."""
    pins = _pins()
    packages = [_required(name, module, pins.get(name)) for name, module in REQUIRED.items()]
    optional = [{"name": name, "version": package_version(name), "use": use} for name, use in OPTIONAL.items()]
    memory = memory_gb()
    found = {
        "engine": ENGINE,
        "protocol": PROTOCOL,
        "python": platform.python_version(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cores": cores(),
        "memory_gb": None if memory is None else round(memory, 1),
        "disk_free_gb": round(shutil.disk_usage(Path.cwd()).free / 2**30, 1),
        "packages": packages,
        "optional": optional,
        "cuda": _cuda() if package_version("torch") else "no torch, so CUDA was not looked for",
        "methods": [{"method": "gauss-newton", "device": "cpu", **_gauss_newton(packages)}],
    }
    return {**found, "advice": _advice(found, pins)}


def in_words(found: dict) -> str:
    """What `diagnose` found, for a person."""
    memory = f"{found['memory_gb']} GB memory" if found["memory_gb"] is not None else "memory unknown"
    lines = [
        f"Topo4D engine {found['engine']} (protocol {found['protocol']})",
        f"Python {found['python']} on {found['system']}",
        f"{found['cores']} cores, {memory}, {found['disk_free_gb']} GB free on the disk of this folder",
        "",
        "Packages:",
    ]
    for package in found["packages"]:
        lines.append(f"  {package['name']:24} {package['version'] or 'missing'}{_remark(package)}")
    lines += ["", "Optional:"]
    for package in found["optional"]:
        lines.append(f"  {package['name']:24} {package['version'] or 'not installed'} ({package['use']})")
    lines += [f"  {'CUDA':24} {found['cuda']}", "", "Methods:"]
    for method in found["methods"]:
        state = "runs here" if method["runs"] else f"does not run: {method['why']}"
        lines.append(f"  {method['method']} on {method['device']}: {state}")
    lines += [
        "",
        "For Blender, paste this into the add-on's preferences as the engine's Python:",
        f"  {found['executable']}",
    ]
    if found["advice"]:
        lines += ["", "What to do:", *(f"  - {sentence}" for sentence in found["advice"])]
    else:
        lines += ["", "Nothing is missing."]
    return "\n".join(lines)


def _remark(package: dict) -> str:
    if not package["version"] or package["works"]:
        return "" if package["pin"] in (None, package["version"]) else f" (tested with {package['pin']})"
    return f" (does not load: {package['why']})"


def _required(name: str, module: str, pin: str | None) -> dict:
    """Whether a package is there and can be imported (a wheel for another system is there and can not)."""
    version = (package_version(name) or "").partition("+")[0] or None  # 2.13.0+cpu is a build of 2.13.0
    found = {"name": name, "version": version, "pin": pin, "works": True, "why": ""}
    try:
        importlib.import_module(module)
    except Exception as error:  # a package may fail in any way while it loads
        found.update(works=False, why=" ".join(str(error).split())[:120])
    return found


def _pins() -> dict[str, str]:
    """The exact versions this engine is tested with; empty where neither metadata nor pyproject.toml is at hand."""
    try:
        texts = metadata.requires("topo4d") or []
    except metadata.PackageNotFoundError:
        project = Path(__file__).parents[2] / "pyproject.toml"
        texts = (
            tomllib.loads(project.read_text(encoding="utf-8"))["project"]["dependencies"] if project.exists() else []
        )
    matches = (re.match(r"([\w.-]+)==([\w.]+)", text) for text in texts)
    return {match[1].lower(): match[2] for match in matches if match}


def _cuda() -> str:
    try:
        import torch
    except Exception as error:  # a broken installation fails in any way
        return f"torch does not load: {' '.join(str(error).split())[:120]}"
    if torch.cuda.is_available():
        return torch.cuda.get_device_name(0)
    if torch.version.cuda:
        return f"torch is built for CUDA {torch.version.cuda} but finds no device; update the graphics driver"
    return "torch is a build without CUDA"


def _gauss_newton(packages: list[dict]) -> dict:
    """Compile and run a kernel: that needs every package, a working compiler and a cache that can be written."""
    broken = [p["name"] for p in packages if not p["works"]]
    if broken:
        return {"runs": False, "why": f"{', '.join(broken)} missing or broken"}
    try:
        import numpy as np

        from .raster import rasterise

        corners = np.array([[0, 0], [8, 0], [0, 8]], np.float32)
        ids, _ = rasterise(corners, np.ones(3, np.float32), np.array([[0, 1, 2]], np.int32), 4, 4)
        assert (ids == 0).all()
    except Exception as error:  # whatever it is, the engine does not run
        return {"runs": False, "why": f"numba fails ({' '.join(str(error).split())[:120]})"}
    return {"runs": True, "why": ""}


def _advice(found: dict, pins: dict[str, str]) -> list[str]:
    """One step for each thing that is missing."""
    advice = []
    if not found["python"].startswith("3.11."):
        advice.append(f"Use Python 3.11: the engine is tested with it alone and this is {found['python']}.")
    broken = [p["name"] for p in found["packages"] if not p["works"]]
    if broken:
        wanted = " ".join(f'"{name}=={pins[name]}"' if name in pins else name for name in broken)
        advice.append(
            f'Install what is missing or broken: "{found["executable"]}" -m pip install --force-reinstall {wanted}'
        )
    elif not all(m["runs"] for m in found["methods"]):
        advice.append(
            "Set the environment variable NUMBA_CACHE_DIR to a folder you can write to, then run doctor again."
        )
    if not package_version("bpy"):
        advice.append(f'For `topo4d demo` only: "{found["executable"]}" -m pip install "bpy==4.5.15"')
    if found["memory_gb"] is not None and found["memory_gb"] < _LEAST_MEMORY_GB:
        advice.append(f"Close other programs: {found['memory_gb']} GB of memory is little for full-size plates.")
    if found["disk_free_gb"] < _LEAST_DISK_GB:
        advice.append(f"Free some space: {found['disk_free_gb']} GB is little for a take with textures.")
    return advice
