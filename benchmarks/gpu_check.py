"""All that needs an NVIDIA card, in one command: `python benchmarks/gpu_check.py [--wheels FOLDER]`.

Runs the tests that need CUDA, then times every stage on the card and on the processor: tracking by gauss-newton (numba,
torch on the card, torch on the processor), the paper's splat (gsplat, numba) and the bake (torch on the card, numba),
on the ball of tests/core/synthetic.py filmed for it, and holds what the card finds against what the processor finds.
Prints a table and writes benchmarks/results/gpu_<date>.md with the device and all versions. Every step has a budget of
its own, and all together end within --minutes, set-up included: what does not fit is left out, and the table says so.

--wheels FOLDER   installs what is missing from there into this Python; nothing is fetched from anywhere
--rehearse        everything on the processor with a tiny film, to try this script; writes no results

Exit status: 0 if every test and step went well, 1 if one failed, 2 where no card can be used.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from topo4d_blender.core.doctor import REQUIRED
from topo4d_blender.core.gpus import ask_nvidia
from topo4d_blender.core.machine import cores, package_version

ROOT = Path(__file__).resolve().parents[1]
TOOLS = {"pytest": "pytest", "pytest-timeout": "pytest_timeout"}
NAMED = ("torch", "gsplat", "numba", "numpy", "scipy", "opencv-python-headless")
RESERVE = 10.0  # seconds kept for writing the table
AS_ENGINE = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # as core/__main__.py sets it: BLAS's threads are in the way
HEADING = ("stage", "device", "seconds", "GB of the card", "note")


@dataclass(frozen=True)
class Step:
    """A step: the arguments of its process and the seconds it may take."""

    name: str
    seconds: float
    command: list[str]


@dataclass
class Check:
    """One run: its clock and what was found."""

    minutes: float
    began: float = field(default_factory=time.monotonic)
    rows: list[list] = field(default_factory=list)
    failed: bool = False

    def left(self) -> float:
        """Seconds that may still be spent on steps."""
        return 60 * self.minutes - RESERVE - (time.monotonic() - self.began)

    def run(self, step: Step) -> bool:
        """Run a step and keep its rows; whether it went well. One that does not fit is left out and said to be."""
        limit = min(step.seconds, self.left())
        if limit < 5:
            self.say(step.name, "left out: no time was left")
            return False
        print(f"{step.name} (at most {limit:.0f} s) ...", flush=True)
        try:
            command = [sys.executable, *step.command]
            done = subprocess.run(command, cwd=ROOT, timeout=limit, capture_output=True, text=True, env=AS_ENGINE)
        except subprocess.TimeoutExpired:
            self.say(step.name, f"not finished within {limit:.0f} s")
            return False
        if step.name == "tests":
            return self._tests(done)
        if done.returncode != 0:
            self.failed = True
            self.say(step.name, f"FAILED: {last_line(done.stderr)}")
            return False
        self.rows += json.loads(done.stdout.splitlines()[-1])
        return True

    def say(self, name: str, note: str) -> None:
        """A row without figures."""
        print(f"{name}: {note}", flush=True)
        self.rows.append([name, "", None, None, note])

    def _tests(self, done: subprocess.CompletedProcess) -> bool:
        self.failed |= done.returncode != 0
        broken = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
        self.say("tests", last_line(done.stdout or done.stderr).strip("= "))
        for line in broken[:20]:
            self.say("tests", line[:200])
        return done.returncode == 0


def last_line(text: str) -> str:
    """The last line that says something."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "no word")


def install(folder: Path) -> None:
    """Install from `folder` what this Python lacks; SystemExit in words if something needed is not there."""
    missing = [name for name, module in REQUIRED.items() if importlib.util.find_spec(module) is None]
    for name, module in (TOOLS | {"gsplat": "gsplat"}).items():  # without these it checks less
        if list(folder.glob(f"{name.replace('-', '_')}-*.whl")) and importlib.util.find_spec(module) is None:
            missing.append(name)
    if not missing:
        return
    print(f"Installing {', '.join(missing)} from {folder} ...", flush=True)
    pip = [sys.executable, "-m", "pip", "--isolated", "install", "--quiet", "--no-index", "--find-links", str(folder)]
    alone = os.environ | {"PIP_CONFIG_FILE": os.devnull}  # no setting names another place, with another torch in it
    done = subprocess.run([*pip, *missing], capture_output=True, text=True, env=alone)
    if done.returncode != 0:
        refuse(f"{folder} does not hold all that is missing ({last_line(done.stderr)}).")


def refuse(sentence: str) -> None:
    """End in one sentence: nothing was checked."""
    print(f"error: {sentence}", file=sys.stderr)
    sys.exit(2)


def plan(film: Path, rehearse: bool) -> list[Step]:
    """The steps, what matters most first, for 8 minutes together."""
    card = "cpu" if rehearse else "cuda"
    few = ["--cameras", "3", "--size", "72", "96", "--vertices", "300", "--frames", "3", "--iterations", "3"]
    size = [*few, "--resolution", "64", "--enlarge", "2"] if rehearse else []

    def step(name: str, what: str, seconds: float, *more: str) -> Step:
        script = str(ROOT / "benchmarks" / "gpu_steps.py")
        return Step(name, seconds, [script, what, str(film), *size, *more])

    tests = sorted(str(path) for path in (ROOT / "tests" / "core").glob("test_torch_*.py"))
    tests += [str(ROOT / "tests" / "core" / f"test_{name}.py") for name in ("splat_gsplat", "bake_uv")]
    chosen = "cpu and median" if rehearse else "cuda or draws_the_twins_picture or nvdiffrast_draws"
    pytest = ["-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider", *tests, "-k", chosen]
    steps = [
        Step("tests", 180, pytest),
        step("filming", "film", 90),
        step("track, numba", "numba", 75),
        step("track, torch on the card", "torch", 60, "--device", card),
        step("splat, gsplat", "splat", 60, "--device", card),
        step("bake on the card", "bake", 60, "--device", "cpu:0" if rehearse else card),
        step("bake on the processor", "bake", 90, "--device", "cpu"),
    ]
    if rehearse:
        return [replace(step, seconds=600) for step in steps]
    return [
        *steps,
        step("splat, numba", "splat", 60, "--device", "cpu", "--iterations", "20"),
        step("track, torch on the processor", "torch", 60, "--device", "cpu", "--frames", "2"),
    ]


def run(minutes: float, began: float, rehearse: bool) -> Check:
    """All steps."""
    check = Check(minutes, began)
    with tempfile.TemporaryDirectory() as name:
        filmed = True
        for step in plan(Path(name), rehearse):
            if step.name == "tests" and not all(importlib.util.find_spec(module) for module in TOOLS.values()):
                check.say(step.name, f"left out: {' and '.join(TOOLS)} are not installed")
            elif step.name == "splat, gsplat" and not rehearse and package_version("gsplat") is None:
                check.say(step.name, "left out: gsplat is not installed")
            elif step.name in ("tests", "filming"):
                filmed = check.run(step)
            elif not filmed:
                check.say(step.name, "left out: there is no film")
            else:
                check.run(step)
    return check


def describe(device: str) -> list[str]:
    """The machine and its packages, a line each."""
    versions = ", ".join(f"{name} {package_version(name) or 'absent'}" for name in NAMED)
    return [
        f"# On the card, {time.strftime('%Y-%m-%d')}",
        "",
        f"{device}; {cores()} cores, {platform.processor() or platform.machine()}, {platform.system()}, "
        f"Python {platform.python_version()}; {versions}.",
        "Seconds are medians a frame unless the note says once. The subject is the ball of tests/core/synthetic.py.",
        "",
    ]


def table(rows: list[list]) -> list[str]:
    """`rows` in Markdown."""
    lines = [f"| {' | '.join(HEADING)} |", f"|{'---|' * len(HEADING)}"]
    for row in rows:
        cells = ["" if cell is None else f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in row]
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return lines


def main() -> None:
    """Check, print, write."""
    began = time.monotonic()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, help="a folder of wheels to install what is missing from")
    parser.add_argument("--minutes", type=float, default=8.0, help="all together, set-up included")
    parser.add_argument("--rehearse", action="store_true", help="on the processor, with a tiny film")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", help="where the table goes")
    arguments = parser.parse_args()
    cards = ask_nvidia()
    if not cards and not arguments.rehearse:
        refuse("No NVIDIA card answers on this machine; run this on one that has a card and its driver.")
    if arguments.wheels:
        install(arguments.wheels)
    device = "Rehearsal on the processor" if arguments.rehearse else card_in_words(cards)
    check = run(arguments.minutes, began, arguments.rehearse)
    lines = [*describe(device), *table(check.rows)]
    print("\n".join(lines))
    if not arguments.rehearse:
        arguments.results.mkdir(parents=True, exist_ok=True)
        path = arguments.results / f"gpu_{time.strftime('%Y-%m-%d')}.md"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        print(f"\nWritten to {path}.")
    sys.exit(int(check.failed))


def card_in_words(cards: list) -> str:
    """The card that torch computes on, or the end in one sentence where it computes on none."""
    try:
        import torch
    except (ImportError, OSError) as error:
        refuse(f"Torch does not load here ({last_line(str(error))}); install it, or name --wheels.")
    if not torch.cuda.is_available():
        refuse(f"{cards[0].name} answers, but this torch {torch.__version__} uses no card; `topo4d doctor` says why.")
    card = torch.cuda.get_device_properties(0)
    return f"{card.name}, {card.total_memory / 2**30:.0f} GB, driver {cards[0].driver}, CUDA {torch.version.cuda}"


if __name__ == "__main__":
    main()
