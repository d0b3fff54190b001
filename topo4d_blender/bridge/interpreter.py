"""Which Python runs the engine, and how it is called. Knows the standard library alone: the installer uses it too."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

LAUNCHER = Path(__file__).with_name("launch_worker.py")
_SCRUBBED = ("LD_LIBRARY_PATH", "LD_PRELOAD", "DYLD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "VIRTUAL_ENV")


@dataclass(frozen=True)
class Interpreter:
    """A Python, and the folder of the engine's packages if they are not its own."""

    python: str
    packages: str = ""  # an installed engine's folder; "": the packages are installed in this Python itself

    def command(self, *words: str, launcher: Path = LAUNCHER) -> list[str]:
        """The command line that starts the worker; with `words`, the module of this package that they begin with.

        An installed engine sees the standard library and its own folder, nothing else that the Python has (-S).
        """
        command = [self.python, "-I", *(["-S"] if self.packages else []), "-u", "-X", "utf8", str(launcher)]
        if self.packages:
            command += ["--packages", self.packages]
        return [*command, *(["--run", *words] if words else [])]


def clean_environment() -> dict[str, str]:
    """This process's environment without what would lead another Python astray: PYTHONPATH, PYTHONHOME, ..."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PYTHON", "__PYVENV", "QT_")) and name not in _SCRUBBED
    }


def last_words(log: Path) -> str:
    """The last line that a process left in its log, which in Python is what went wrong, and where the rest is."""
    try:
        lines = log.read_text("utf-8", "replace").split("\n")
    except OSError:
        lines = []
    last = next((line.strip() for line in reversed(lines) if line.strip()), "it left no word")
    return f"{last.rstrip('.')} (see {log})."
