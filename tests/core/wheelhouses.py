"""Folders of wheels for the tests that install an engine: those in TOPO4D_WHEELHOUSES, else made here and now."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from topo4d_blender.core.gpus import this_platform

ROOT = Path(__file__).parents[2]


def find_or_make(python: str, out: Path) -> Path:
    """A folder of wheels for `python` ("3.13") here, made in `out` if need be; skips where it cannot be had."""
    tag = f"{this_platform()}-py{python.replace('.', '')}"
    named = os.environ.get("TOPO4D_WHEELHOUSES")
    if named:
        found = sorted(Path(named).glob(f"topo4d-*-{tag}*/wheelhouse.json"))
        if found:
            return found[0].parent  # the one without torch, where there are several
    command = [sys.executable, str(ROOT / "build_addon.py"), "--out", str(out), "--offline", this_platform()]
    done = subprocess.run([*command, "--python", python], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no wheels for Python {python}: {(done.stderr or done.stdout).strip().splitlines()[-1][:300]}")
    (record,) = out.glob(f"topo4d-*-{tag}/wheelhouse.json")
    return record.parent
