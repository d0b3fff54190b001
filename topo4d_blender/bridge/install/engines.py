"""The folder of installed engines: beside each other, each of use only once its ready-file says so.

engines/0.1.0-1a2b3c4d/        the packages, as pip laid them out
engines/0.1.0-1a2b3c4d/ready.json   written last, after the self-test
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core import pins

try:
    import fcntl
except ImportError:  # Windows: a folder that holds an open file cannot be renamed, which protects it as well
    fcntl = None

READY = "ready.json"
UNREADY = "installing"  # there and locked while an installer is at work
FORMAT = 1
_held: list = []  # open files: locks that last as long as this process


@dataclass(frozen=True)
class Ready:
    """What a ready-file says of its engine."""

    engine: str  # version
    python: str  # "3.11"
    torch: str  # "none", "cpu" or "cuda"
    packages: dict[str, str]  # name -> version, of everything installed
    size: int  # bytes
    format: int = FORMAT


def new_folder(engines: Path, engine: str, digest: str) -> Path:
    """Make the folder of a new engine: never one that exists, so an engine at work is never written over."""
    name, count = f"{engine}-{digest[:8]}", 1
    while True:
        folder = engines / (name if count == 1 else f"{name}.{count}")
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            count += 1
    (folder / UNREADY).touch()
    _lock(folder / UNREADY)
    return folder


def make_ready(folder: Path, ready: Ready) -> None:
    """Write the ready-file, whole or not at all: from now on the engine is one."""
    beside = folder / f"{READY}.tmp"
    with beside.open("w", encoding="utf-8") as file:
        json.dump(asdict(ready), file, indent=1, sort_keys=True)
        file.flush()
        os.fsync(file.fileno())
    os.replace(beside, folder / READY)


def read_ready(folder: Path) -> Ready | None:
    """What the engine in `folder` is; None while it is not ready, or where the file is of no use."""
    try:
        found = json.loads((folder / READY).read_text("utf-8"))
        return Ready(**found) if found.get("format") == FORMAT else None
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def newest(engines: Path, python: str | None) -> Path | None:
    """The engine to use: ready, for this Python (None: any), of this extension's pins; the youngest of several."""
    fitting = [
        folder
        for folder in _folders(engines)
        if (ready := read_ready(folder))
        and ready.python in (python or ready.python,)
        and fits(ready.packages, ready.python)
    ]
    return max(fitting, key=lambda folder: (folder / READY).stat().st_mtime, default=None)


def any_ready(engines: Path) -> bool:
    """Whether some engine is there, of use to this extension and this Blender or not."""
    return any(read_ready(folder) for folder in _folders(engines))


def fits(packages: dict[str, str], python: str) -> bool:
    """Whether `packages` are those that this extension was tested with; what is HEAVY may be absent."""
    wanted = pins.engine_pins(python)
    have = {name: version.partition("+")[0] for name, version in packages.items()}  # 2.13.0+cpu is a 2.13.0
    absent = set(pins.HEAVY) - set(have)
    return bool(wanted) and all(have.get(name) == version for name, version in wanted.items() if name not in absent)


def hold(folder: Path) -> None:
    """Keep the engine in `folder` from being swept for as long as this process lives."""
    if (folder / READY).exists():
        _lock(folder / READY, shared=True)


def sweep(engines: Path, keep: Path) -> list[str]:
    """Remove every engine but `keep`: older ones, and what broken-off installations left; returns what was removed.

    One that a process still uses (another Blender's) stays until the next time.
    """
    removed = []
    for folder in _folders(engines):
        if folder == keep or _in_use(folder):
            continue
        doomed = folder if folder.name.startswith(".") else folder.with_name(f".old-{folder.name}-{os.getpid()}")
        try:
            if doomed != folder:
                folder.rename(doomed)
        except OSError:
            continue
        shutil.rmtree(doomed, ignore_errors=True)
        removed.append(folder.name)
    return removed


def _folders(engines: Path) -> list[Path]:
    return sorted(path for path in engines.iterdir() if path.is_dir()) if engines.is_dir() else []


def _lock(path: Path, shared: bool = False) -> None:
    file = path.open("rb")
    _held.append(file)
    if fcntl is not None:
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:  # a file system without locks: then nothing there is ever found free either
            pass


def _in_use(folder: Path) -> bool:
    if fcntl is None:
        return False
    for name in (READY, UNREADY):
        try:
            with (folder / name).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except OSError:
            return True
    return False
