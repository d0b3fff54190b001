"""Which build of torch serves a machine: read off what nvidia-smi says, without torch and without a graphics library.

Sources: NVIDIA, CUDA compatibility, "Minor version compatibility" (driver 580 and newer runs every CUDA 13.x); CUDA
toolkit 13.0 release notes (compute capability below 7.5, which is Volta, Pascal and older, was removed).
"""

from __future__ import annotations

import platform
import subprocess
import sys
from dataclasses import dataclass

LEAST_DRIVER = 580  # of the CUDA 13 that torch 2.13 is built with
LEAST_CAPABILITY = (7, 5)  # Turing
QUERY = ("nvidia-smi", "--query-gpu=name,driver_version,compute_cap,memory.total", "--format=csv,noheader,nounits")


_SYSTEMS = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}
_MACHINES = {"x86_64": "x64", "AMD64": "x64", "aarch64": "arm64"}


@dataclass(frozen=True)
class Gpu:
    """An NVIDIA card as its driver describes it."""

    name: str
    driver: str  # "580.65.06"
    capability: tuple[int, int]
    memory_gb: float


@dataclass(frozen=True)
class Choice:
    """The build of torch for a machine, "cuda", "cpu" or "none", and why in a sentence."""

    torch: str
    why: str
    step: str = ""  # what a person can do to get more, if anything


def this_platform() -> str:
    """This machine in a word: "linux-x64", "windows-x64", "macos-arm64"."""
    machine = platform.machine()
    return f"{_SYSTEMS.get(platform.system(), platform.system())}-{_MACHINES.get(machine, machine)}"


def ask_nvidia() -> list[Gpu]:
    """The NVIDIA cards of this machine; [] where there is no driver, or one that cannot answer."""
    try:
        flags = subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
        done = subprocess.run(QUERY, capture_output=True, text=True, timeout=20, creationflags=flags)
    except (OSError, subprocess.SubprocessError):
        return []
    return read_nvidia(done.stdout) if done.returncode == 0 else []


def read_nvidia(text: str) -> list[Gpu]:
    """The cards in the answer to QUERY; other lines (an error, a card without these facts) are passed over."""
    cards = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.rsplit(",", 3)]
        try:
            name, driver, capability, memory = parts
            major, minor = capability.split(".")
            int(driver.split(".")[0])
            cards.append(Gpu(name, driver, (int(major), int(minor)), round(float(memory) / 1024, 1)))
        except ValueError:
            continue
    return cards


def choose_torch(platform: str, gpus: list[Gpu]) -> Choice:
    """The build for `platform` ("linux-x64") with these cards.

    The public index has no CPU build for Linux, and tracking by Gauss-Newton needs no torch: smaller without it.
    """
    if platform.startswith("macos"):
        return Choice(
            "cpu",
            "The engine computes on the processor: its solver needs 64-bit floats, which Apple's graphics lack.",
        )
    if not gpus:
        return Choice(
            "none", "No NVIDIA card answers here: the engine computes on the processor and needs no torch for that."
        )
    able = [gpu for gpu in gpus if gpu.capability >= LEAST_CAPABILITY]
    if not able:
        return Choice(
            "none", f"{gpus[0].name} is older than what CUDA 13 supports: the engine computes on the processor."
        )
    card = max(able, key=lambda gpu: gpu.memory_gb)
    if int(card.driver.split(".")[0]) < LEAST_DRIVER:
        return Choice(
            "none",
            f"The driver {card.driver} of {card.name} is too old for CUDA 13.",
            f"Update the driver to {LEAST_DRIVER} or newer, then install the engine again.",
        )
    return Choice("cuda", f"{card.name} with driver {card.driver} runs CUDA 13.")
