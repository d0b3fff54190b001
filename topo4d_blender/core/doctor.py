"""`topo4d doctor`: what this machine can run, in words, and for everything missing the one step that mends it."""

from __future__ import annotations

import importlib
import platform
import shutil
import sys
from pathlib import Path

from . import pins
from .cuda import look_at_cuda
from .jobs import BAKE_METHODS, METHODS
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
    "nvdiffrast": "draws UV maps on CUDA a little faster; NVIDIA licenses it for non-commercial use alone",
}
_LEAST_MEMORY_GB = 4.0  # a take of 24 plates of 12 megapixels, with room for the system
_LEAST_DISK_GB = 5.0


def diagnose() -> dict:
    """Everything doctor says, as plain JSON values. `can`, `advice`: sentences, the most pressing advice first."""
    wanted = pins.engine_pins(pins.tag()) or pins.engine_pins()
    packages = [_required(name, module, wanted.get(name)) for name, module in REQUIRED.items() if name in wanted]
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
    }
    on_cpu = _on_the_processor(packages)
    found["cuda"] = look_at_cuda() if on_cpu["runs"] else {"runs": False, "why": "The engine does not run.", "step": ""}
    found["methods"] = _methods(packages, on_cpu, found["cuda"])
    return {**found, "can": _can(found), "advice": _advice(found, wanted)}


def works(found: dict) -> bool:
    """Whether the engine is of use here: what every engine must do, it does."""
    return all(method["runs"] for method in found["methods"] if method["needed"])


def in_words(found: dict) -> str:
    """What `diagnose` found, for a person."""
    lines = [
        f"Topo4D engine {found['engine']} (protocol {found['protocol']})",
        f"Python {found['python']} on {found['system']}",
        "",
        *found["can"],
        "",
        "Packages:",
    ]
    for package in found["packages"]:
        lines.append(f"  {package['name']:24} {package['version'] or 'missing'}{_remark(package)}")
    lines += ["", "Optional:"]
    for package in found["optional"]:
        lines.append(f"  {package['name']:24} {package['version'] or 'not installed'} ({package['use']})")
    lines += ["", "Methods:"]
    for method in found["methods"]:
        state = "runs here" if method["runs"] else f"does not run: {method['why']}"
        lines.append(f"  {method['method']} on {method['device']}: {state}")
    lines += [
        "",
        "For Blender, paste this into the add-on's preferences as Existing Python:",
        f"  {found['executable']}",
    ]
    if found["advice"]:
        lines += ["", "What to do:", *(f"  - {sentence}" for sentence in found["advice"])]
    else:
        lines += ["", f"Nothing is missing{'' if found['cuda']['runs'] else ' for work on the processor'}."]
    return "\n".join(lines)


def _remark(package: dict) -> str:
    if not package["version"] or package["works"]:
        return (
            "" if package["pin"] in (None, package["version"].partition("+")[0]) else f" (tested with {package['pin']})"
        )
    return f" (does not load: {package['why']})"


def _required(name: str, module: str, pin: str | None) -> dict:
    """Whether a package is there and can be imported (a wheel for another system is there and can not)."""
    found = {"name": name, "version": package_version(name) or "", "pin": pin, "works": True, "why": ""}
    try:
        importlib.import_module(module)
    except Exception as error:  # a package may fail in any way while it loads
        found.update(works=False, why=" ".join(str(error).split())[:120])
    return found


def _methods(packages: list[dict], on_cpu: dict, cuda: dict) -> list[dict]:
    """{"method", "device", "needed", "runs", "why"} of everything that tracks and bakes; CUDA only where it answers."""
    methods = [{"method": METHODS[0], "device": "cpu", "needed": True, **on_cpu}]
    on_cuda = [(METHODS[0], cuda["tracks"], cuda["why"])] if cuda["runs"] else []
    methods += [_checked(*one) for one in on_cuda]
    methods.append(_splat(packages, cuda))
    methods.append({"method": f"bake {BAKE_METHODS[0]}", "device": "cpu", "needed": True, **on_cpu})
    return methods + ([_checked(f"bake {BAKE_METHODS[0]}", cuda["bakes"], cuda["why"])] if cuda["runs"] else [])


def _checked(method: str, works: bool, said: str) -> dict:
    why = "" if works else f"{said[:1].lower()}{said[1:].rstrip('.')}"
    return {"method": method, "device": "cuda", "needed": False, "runs": works, "why": why}


def _on_the_processor(packages: list[dict]) -> dict:
    """Compile and run a kernel and solve a small system: that needs the packages, a compiler and a writable cache."""
    broken = [p["name"] for p in packages if not p["works"] and p["name"] not in pins.HEAVY]
    if broken:
        return {"runs": False, "why": f"{', '.join(broken)} missing or broken"}
    try:
        import numpy as np
        from scipy.sparse import diags_array
        from scipy.sparse.linalg import spsolve

        from .raster import rasterise

        corners = np.array([[0, 0], [8, 0], [0, 8]], np.float32)
        ids, _ = rasterise(corners, np.ones(3, np.float32), np.array([[0, 1, 2]], np.int32), 4, 4)
        ramp = spsolve(diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9), format="csc"), np.eye(9)[8])
        wrong = (ids != 0).any() or not np.allclose(ramp, np.arange(1, 10) / 10)
    except Exception as error:  # whatever it is, the engine does not run
        return {"runs": False, "why": f"numba or scipy fails ({' '.join(str(error).split())[:120]})"}
    return {"runs": not wrong, "why": "numba or scipy computes wrong numbers here" if wrong else ""}


def _splat(packages: list[dict], cuda: dict) -> dict:
    torch = next((p for p in packages if p["name"] == "torch"), None)
    runs = torch is not None and torch["works"]
    why = "" if runs else "torch is not installed" if not torch or not torch["version"] else "torch does not load"
    return {"method": "splat", "device": "cuda" if cuda["runs"] else "cpu", "needed": False, "runs": runs, "why": why}


def _can(found: dict) -> list[str]:
    """What this machine can do, a sentence each."""
    memory = f"{found['memory_gb']} GB of memory" if found["memory_gb"] is not None else "memory unknown"
    machine = f"{found['cores']} cores, {memory}, {found['disk_free_gb']} GB free on this disk"
    first = found["methods"][0]
    lines = [f"Tracks and bakes on the processor: {machine}." if first["runs"] else f"Cannot track: {first['why']}."]
    torch = next((p for p in found["packages"] if p["name"] == "torch"), {"version": "", "works": False})
    gsplat = next(p["version"] for p in found["optional"] if p["name"] == "gsplat")
    lines.append(_cuda_in_words(found["cuda"], torch["version"], gsplat))
    if not found["cuda"]["runs"]:
        lines.append(f"Torch: {torch['version'] or 'not installed; only the method splat and CUDA need it'}.")
    return lines


def _cuda_in_words(cuda: dict, torch: str, gsplat: str | None) -> str:
    if not cuda["runs"]:
        return f"CUDA: no. {cuda['why']}"
    able = [verb for verb, works in (("tracks", cuda["tracks"]), ("bakes", cuda["bakes"])) if works]
    if len(able) < 2:
        kept = f"it {able[0]} there alone" if able else "the engine computes on the processor"
        return f"CUDA: {cuda['card']} answers, but {kept}. {cuda['why']}"
    drawn = f"gsplat {gsplat} draws for splat" if gsplat else "without gsplat"
    return (
        f"CUDA: yes, tracks and bakes on {cuda['card']}, {cuda['free_gb']:.1f} GB of it free; torch {torch}, {drawn}."
    )


def _advice(found: dict, wanted: dict[str, str]) -> list[str]:
    """One step for each thing that is missing, the most pressing first."""
    advice = []
    if pins.tag() not in pins.pythons():
        tested = ", ".join(pins.pythons())
        advice.append(f"Use Python {tested}: the engine is tested with these and this is {found['python']}.")
    broken = [p["name"] for p in found["packages"] if not p["works"] and (p["version"] or p["name"] not in pins.HEAVY)]
    if broken and sys.flags.no_site:  # installed by the extension, into a folder of its own
        advice.append(
            f"Install the engine again in the extension's preferences: {', '.join(broken)} missing or broken."
        )
    elif broken:
        pinned = " ".join(f'"{name}=={wanted[name]}"' for name in broken)
        advice.append(
            f'Install what is missing or broken: "{found["executable"]}" -m pip install --force-reinstall {pinned}'
        )
    elif not works(found):
        advice.append(
            "Set the environment variable NUMBA_CACHE_DIR to a folder you can write to, then run doctor again."
        )
    if found["cuda"]["step"]:
        advice.append(found["cuda"]["step"])
    if found["cuda"]["runs"] and not package_version("gsplat"):
        advice.append("For the method splat on CUDA, install the engine from a folder that holds a compiled gsplat.")
    if found["memory_gb"] is not None and found["memory_gb"] < _LEAST_MEMORY_GB:
        advice.append(f"Close other programs: {found['memory_gb']} GB of memory is little for full-size plates.")
    if found["disk_free_gb"] < _LEAST_DISK_GB:
        advice.append(f"Free some space: {found['disk_free_gb']} GB is little for a take with textures.")
    if not package_version("bpy") and not sys.flags.no_site:
        advice.append(f'For `topo4d demo` only: "{found["executable"]}" -m pip install "bpy==4.5.15"')
    return advice
