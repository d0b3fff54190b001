"""pip as a process of its own: found where this Python has one, its words kept in the log, its failure a sentence."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from ..errors import BridgeError
from ..interpreter import clean_environment

NO_PIP = (
    f"This Python ({sys.executable}) has no pip to download with: install the engine from a folder of wheels, "
    "which brings its own, or choose a Python that has pip."
)
_STEP_S = 0.3


def find_pip(folder_pip: Path | None = None) -> list[str]:
    """The command line of pip: the wheel that a folder brings, this Python's own, or the one that ensurepip carries.

    Raises BridgeError where there is none, as with the Python of some Linux distributions.
    """
    start = [sys.executable, "-I", "-X", "utf8"]
    if folder_pip is not None:
        return [*start, str(folder_pip / "pip")]  # a wheel runs as it is: Python imports from zip files
    if importlib.util.find_spec("pip"):
        return [*start, "-m", "pip"]
    ensurepip = importlib.util.find_spec("ensurepip")
    if ensurepip and ensurepip.origin:
        wheels = sorted((Path(ensurepip.origin).parent / "_bundled").glob("pip-*.whl"))
        if wheels:
            return [*start, str(wheels[-1] / "pip")]
    raise BridgeError(NO_PIP)


def run_pip(command: list[str], words: list[str], scratch: Path, tick: Callable[[], None], offline: bool) -> str:
    """Run pip; returns its stdout. Its stderr is this process's: the log.

    `tick` is called a few times a second and may raise to stop it. Temporary files go to `scratch`: /tmp may be
    small, and a move within one disk is instant. `offline`: no setting of the user's, no index. Raises BridgeError
    with pip's last error.
    """
    environment = clean_environment() | {name: str(scratch) for name in ("TMPDIR", "TEMP", "TMP")}
    alone = ["--isolated"] if offline else []
    if offline:
        environment = {name: value for name, value in environment.items() if not name.upper().startswith("PIP_")}
        environment["PIP_CONFIG_FILE"] = os.devnull
    command = [*command, *alone, "--no-input", "--disable-pip-version-check", "--no-color", *words]
    print("$", *command, file=sys.stderr, flush=True)
    out, err = scratch / "pip.out", scratch / "pip.err"
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment)
        try:
            while True:
                try:
                    process.wait(_STEP_S)
                    break
                except subprocess.TimeoutExpired:
                    tick()
        except BaseException:
            process.kill()
            process.wait()
            raise
    said, problems = out.read_text("utf-8", "replace"), err.read_text("utf-8", "replace")
    print(said if len(said) < 20000 else f"({len(said)} letters)", problems, sep="\n", file=sys.stderr, flush=True)
    if process.returncode:
        raise BridgeError(in_words(said + problems))
    return said


def in_words(said: str) -> str:
    """One sentence for what pip said before it failed."""
    if "No space left" in said or "Errno 28" in said or "not enough space" in said:
        return "The disk is full: free some space and install again; nothing that was there has changed."
    if "enable Windows Long Path" in said or "WinError 206" in said:
        return "Windows refuses paths this long: turn on long paths in its settings, then install again."
    if "THESE PACKAGES DO NOT MATCH THE HASHES" in said:
        return "A package is not the promised one (its hash differs): install again, or ask who gave you the folder."
    if re.search(r"NewConnectionError|Max retries|Temporary failure in name|ConnectTimeout|ProxyError", said):
        return "The package index cannot be reached: connect to the network, or install from a folder of wheels."
    if match := re.search(r"No matching distribution found for (\S+)", said):
        return f"The package index has no {match[1]} for this machine; install from a folder of wheels."
    errors = [line.partition("ERROR:")[2].strip() for line in said.splitlines() if "ERROR:" in line]
    last = (
        errors[-1] if errors else next((x.strip() for x in reversed(said.splitlines()) if x.strip()), "it left no word")
    )
    return f"pip failed: {last.rstrip('.')}."
