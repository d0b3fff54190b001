"""Blender windows for the tests of this folder: roots that make_window.sh made, named in TOPO4D_GUI_ROOTS (a:b:c)."""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Window:
    """A root that Blender can open a window in."""

    root: Path
    bind: tuple[str, ...] | None = None  # paths that are seen in there; None: this test's own Python

    def run(self, work: Path, *command: str, seconds: float) -> subprocess.CompletedProcess:
        """Run `command` in there, `work` seen as /w."""
        bind = " ".join(engine_places() if self.bind is None else self.bind)
        with subprocess.Popen(
            [HERE / "in_window.sh", self.root, work, *command],
            env={**os.environ, "BIND": bind},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                output, _ = process.communicate(timeout=seconds)
            except BaseException:
                process.kill()  # SIGKILL: it takes everything in there along
                raise
        return subprocess.CompletedProcess(command, process.returncode, output)


def engine_places() -> list[str]:
    """What must be seen in a window for this Python to run there: its environment and its interpreter's folder."""
    base = Path(sys.base_prefix)
    if base == Path("/usr"):  # the distribution's: its folder alone would hide the window's own
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        interpreter = [Path("/usr/bin", version), Path("/usr/lib", version)]
    else:
        interpreter = [base, base.resolve()]
    return list(dict.fromkeys(map(str, [Path(sys.prefix), *interpreter])))


def why_not(root: Path) -> str:
    """Why no window can be opened in `root`; "" if one can."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "Blender windows are opened in a chroot: needs Linux and root"
    if not (root / "usr/bin/blender").exists():
        return f"{root} holds no Blender; make it with tests/gui/make_window.sh"
    with tempfile.TemporaryDirectory() as work:
        probe = Window(root).run(Path(work), sys.executable, "-c", "print('engine')", seconds=60)
    if probe.stdout.strip() != "engine":
        return f"{root} cannot be entered: {probe.stdout.strip() or 'no output'}"
    return ""


def roots_named() -> list[Path]:
    """The roots that TOPO4D_GUI_ROOTS names."""
    return [Path(root) for root in os.environ.get("TOPO4D_GUI_ROOTS", "").split(":") if root]
