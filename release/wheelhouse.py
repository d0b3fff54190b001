"""A folder of wheels for one platform and one Python: pinned with hashes, every licence read, ready to be copied.

Resolution is uv's, which knows the markers of a platform that it does not run on; the files are fetched by pip, each
held against its hash. The same index gives the same folder, byte for byte.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import ZipFile

from packaging.utils import canonicalize_name, parse_wheel_filename

from topo4d_blender.bridge.install.wheels import Wheel, Wheelhouse, sha256
from topo4d_blender.core import pins
from topo4d_blender.core.protocol import ENGINE

from . import licences

_UV_PLATFORM = {"linux-x64": "x86_64-manylinux_2_28", "windows-x64": "windows", "macos-arm64": "aarch64-apple-darwin"}
_MACOS = "14.0"  # the oldest that torch's wheels are made for
_TAGS = {
    "linux-x64": [f"manylinux_2_{n}_x86_64" for n in range(28, 4, -1)] + ["manylinux2014_x86_64", "linux_x86_64"],
    "windows-x64": ["win_amd64"],
    "macos-arm64": ["macosx_14_0_arm64", "macosx_14_0_universal2"],
}
PLATFORMS = tuple(_TAGS)


class WheelhouseError(Exception):
    """Why no folder could be made, in a sentence."""


@dataclass(frozen=True)
class Order:
    """What is asked for."""

    platform: str
    python: str = pins.TESTED
    torch: str = "none"  # "none", "cpu" or "cuda"
    wheels_from: list[Path] = field(default_factory=list)
    index: bool = True  # whether the package index may be asked
    nvidia: bool = False  # CUDA's libraries may be put in: the folder is for the builder's own machines

    @property
    def name(self) -> str:
        """The folder's name: topo4d-0.1.0-linux-x64-py311, with the build of torch behind it if there is one."""
        torch = "" if self.torch == "none" else f"-{self.torch}"
        return f"topo4d-{ENGINE}-{self.platform}-py{self.python.replace('.', '')}{torch}"


def make(order: Order, out: Path) -> tuple[Path, Wheelhouse]:
    """Make the folder in `out`, in the place of an older one; returns it and its record.

    Raises WheelhouseError, Forbidden.
    """
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".wheels-") as scratch:
        work = Path(scratch) / order.name
        work.mkdir()
        resolved = resolve(order, Path(scratch))
        refuse_nvidia(order, resolved)
        fetch(order, resolved, work)
        house = describe(order, work)
        house.write(work)
        write_licences(order, house, work)
        folder = out / order.name
        if folder.exists():
            shutil.rmtree(folder)
        work.replace(folder)
    return folder, house


def wanted(order: Order) -> list[str]:
    """The direct requirements."""
    chosen = pins.engine_pins(order.python)
    if not chosen:
        raise WheelhouseError(
            f"The engine is not made for Python {order.python}; choose one of {', '.join(pins.pythons())}."
        )
    left_out = pins.HEAVY if order.torch == "none" else ()
    requirements = [f"{name}=={version}" for name, version in chosen.items() if name not in left_out]
    return requirements + ([f"gsplat=={pins.gsplat_pins()['gsplat']}"] if _takes_gsplat(order) else [])


def resolve(order: Order, scratch: Path) -> Path:
    """A requirements file of the direct ones, pip, and everything they bring along, with hashes, by uv."""
    uv = os.environ.get("UV") or shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    asked, constraints, resolved = (scratch / name for name in ("asked.txt", "constraints.txt", "resolved.txt"))
    asked.write_text("".join(f"{line}\n" for line in (*wanted(order), pins.PIP)), "utf-8")
    brought = pins.constraints(order.python) | (pins.gsplat_pins() if _takes_gsplat(order) else {})
    constraints.write_text("".join(f"{name}=={version}\n" for name, version in brought.items()), "utf-8")
    words = ["pip", "compile", asked, "-c", constraints, "-o", resolved, "--python-version", order.python]
    words += ["--python-platform", _UV_PLATFORM[order.platform], "--generate-hashes", "--only-binary", ":all:"]
    words += ["--no-annotate", "--no-header", "--no-config", "--no-python-downloads", "--quiet", *_sources(order)]
    words += [] if order.index else ["--no-cache"]
    _run([uv, *map(str, words)], "uv cannot resolve the engine's packages", {"MACOSX_DEPLOYMENT_TARGET": _MACOS})
    return resolved


def refuse_nvidia(order: Order, resolved: Path) -> None:
    """Raises, before gigabytes are fetched, where CUDA's libraries come along unasked or unaccepted."""
    if not re.search(r"^nvidia-", resolved.read_text("utf-8"), re.M):
        return
    if order.torch != "cuda":
        raise WheelhouseError(
            "The torch that was found is the build for CUDA: name a folder that has the CPU build (--wheels-from), "
            "or leave torch out (--torch none)."
        )
    if not order.nvidia:
        raise licences.Forbidden(
            "Torch for CUDA needs NVIDIA's libraries (nvidia-*), whose licence forbids passing them on with ours: "
            "give --accept-nvidia if the folder is for your own machines alone."
        )


def fetch(order: Order, resolved: Path, folder: Path) -> None:
    """Download the wheels that `resolved` pins, for the platform that was asked for."""
    words = ["--no-deps", "--require-hashes", "-r", str(resolved), "--python-version", order.python]
    words += ["--implementation", "cp", *(word for tag in _TAGS[order.platform] for word in ("--platform", tag))]
    _download(order, words, folder)


def describe(order: Order, folder: Path) -> Wheelhouse:
    """The record of the wheels in `folder`, each with its METADATA's licence. Raises Forbidden, WheelhouseError."""
    wheels, pip, unpacked = [], None, 0
    for path in sorted(folder.glob("*.whl")):
        metadata = licences.metadata_of(path)
        licence = licences.licence_of(metadata)
        name = canonicalize_name(metadata["Name"])
        licences.check(name, licence, order.nvidia)
        wheel = Wheel(name, metadata["Version"], path.name, sha256(path), path.stat().st_size, licence)
        if f"{name}=={wheel.version}" == pins.PIP:
            pip = wheel
            continue
        wheels.append(wheel)
        with ZipFile(path) as file:
            unpacked += sum(info.file_size for info in file.infolist())
    wheels.sort(key=lambda wheel: wheel.name)
    return Wheelhouse(ENGINE, order.platform, order.python, order.torch, unpacked, tuple(wheels), pip)


def write_licences(order: Order, house: Wheelhouse, folder: Path) -> None:
    """LICENCES.md: what each wheel is licensed under; the texts are inside the wheels."""
    lines = [f"# Licences of the engine's packages: {order.platform}, Python {order.python}", ""]
    if any(wheel.licence == licences.NVIDIA for wheel in house.wheels):
        lines += [
            "NVIDIA's libraries are here under NVIDIA's own licence: for your own machines, not to be passed on.",
            "",
        ]
    lines += [
        "The text of each licence is in its wheel.",
        "",
        "| package | version | licence | MB |",
        "|---|---|---|---|",
    ]
    everything = [*house.wheels, *([house.pip] if house.pip else [])]
    lines += [f"| {w.name} | {w.version} | {w.licence} | {w.size / 1e6:.1f} |" for w in everything]
    (folder / "LICENCES.md").write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def _takes_gsplat(order: Order) -> bool:
    """Whether gsplat goes in: for CUDA, and only compiled, for its wheel in the index compiles at first use."""
    if order.torch != "cuda":
        return False
    found = [parse_wheel_filename(path.name) for folder in order.wheels_from for path in folder.glob("gsplat-*.whl")]
    return any(tag.platform != "any" for _, _, _, tags in found for tag in tags)


def _sources(order: Order) -> list[str]:
    links = [str(path) for path in order.wheels_from]
    links += os.environ.get("PIP_FIND_LINKS", "").split() if order.index else []
    return [word for link in links for word in ("--find-links", link)] + ([] if order.index else ["--no-index"])


def _download(order: Order, words: list[str], folder: Path) -> None:
    alone = [] if order.index else ["--isolated"]  # from those folders: no setting of the builder's names another place
    command = [sys.executable, "-m", "pip", *alone, "download", "--quiet", "--disable-pip-version-check"]
    command += ["--only-binary", ":all:", *_sources(order), "--dest", str(folder), *words]
    _run(command, "pip cannot fetch the engine's packages", {} if order.index else {"PIP_CONFIG_FILE": os.devnull})


def _run(command: list[str], failure: str, more: dict[str, str]) -> None:
    environment = os.environ | more
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment)
    except FileNotFoundError:
        raise WheelhouseError(f"{failure}: {command[0]} is not installed.") from None
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip() and not line.startswith("WARNING")]
        raise WheelhouseError(f"{failure}: {' '.join(said[-6:])[:600]}")
