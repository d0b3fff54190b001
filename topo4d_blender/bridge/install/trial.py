"""Whether an engine works: greeted through the launcher that Blender uses, then a job with numbers by its doctor."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..engine import Engine
from ..errors import BridgeError
from ..interpreter import Interpreter, clean_environment

if TYPE_CHECKING:
    from .work import Teller

_STEP_S = 0.1
_DOCTOR_S = 600.0  # compiling the first kernels on a slow, busy machine


def trial(packages: str, teller: Teller) -> dict:
    """Hello and a numeric job of this Python's engine (its own packages, or those in the folder `packages`).

    Returns what its doctor found. Raises BridgeError with what fails.
    """
    interpreter = Interpreter(sys.executable, packages)
    _greet(interpreter, teller)
    found = examine(interpreter, teller)
    failed = [
        f"{method['method']} ({method['why']})"
        for method in found["methods"]
        if method.get("needed") and not method["runs"]
    ]
    if failed:
        raise BridgeError(f"The engine does not pass its test: {'; '.join(failed)}.")
    return found


def examine(interpreter: Interpreter, teller: Teller) -> dict:
    """What `topo4d doctor` finds in that Python. Raises BridgeError if it cannot even look."""
    command = interpreter.command("core.__main__", "doctor", "--json")
    flags = subprocess.CREATE_NO_WINDOW if sys.platform == "win32" else 0
    with tempfile.TemporaryFile() as out:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, env=clean_environment(), creationflags=flags
        )
        end = time.monotonic() + _DOCTOR_S
        try:
            while process.poll() is None:
                teller.check()
                if time.monotonic() > end:
                    raise BridgeError(
                        f"The engine's doctor did not end within {_DOCTOR_S:.0f} s; try again when the machine is idle."
                    )
                time.sleep(_STEP_S)
        finally:
            process.kill()
            process.wait()
        out.seek(0)
        said = out.read().decode("utf-8", "replace")
    try:
        return json.loads(said)
    except ValueError:
        raise BridgeError(f"The engine does not run in {interpreter.python}; the log says why.") from None


def _greet(interpreter: Interpreter, teller: Teller) -> None:
    with tempfile.TemporaryDirectory() as folder:
        engine = Engine(interpreter, Path(folder) / "engine.log")
        engine.start()
        try:
            while engine.hello is None and not engine.failure:
                engine.poll()
                teller.check()
                time.sleep(_STEP_S)
        finally:
            engine.close()
        if engine.hello is None:
            raise BridgeError(engine.failure)
