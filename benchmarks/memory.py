"""Peak memory by the number of frames: `python benchmarks/memory.py CAPTURE --template start.obj [--frames 100 600]`.

The capture's frames are linked there and back until there are enough. Each length is tracked by a process of its own,
whose peak resident memory (what `getrusage` says) is a row of the table. `--iterations 1` makes the solver hasty and
changes no buffer, so that 600 frames take minutes and not an hour.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))
from long_film import lengthen

from topo4d_blender.core.capture import open_capture

TRACK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from topo4d_blender.core import jobs
from topo4d_blender.core.progress import Progress
steps = ("iterations", "refine_iterations", "finest_iterations")
settings = {name: int(sys.argv[5]) for name in steps} if sys.argv[5] else {}
jobs.track(Progress(), capture=Path(sys.argv[2]), template=Path(sys.argv[3]), take=Path(sys.argv[4]), settings=settings)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def main() -> None:
    """Print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("capture", type=Path)
    parser.add_argument("--template", type=Path, required=True)
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 600])
    parser.add_argument("--iterations", type=int, help="Gauss-Newton steps a stage; default: the tracker's own")
    arguments = parser.parse_args()
    short = open_capture(arguments.capture)
    print(f"{len(short.cameras)} cameras of {short.cameras[0].width}x{short.cameras[0].height}\n")
    print("| frames | peak memory, MB | s a frame |\n|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as scratch:
        for frames in arguments.frames:
            folder = Path(scratch) / str(frames)
            film = lengthen(short, folder / "film", frames)
            began = time.perf_counter()
            options = [film, arguments.template, folder / "take", arguments.iterations or ""]
            root = Path(__file__).resolve().parents[1]
            done = subprocess.run(
                [sys.executable, "-c", TRACK, str(root), *map(str, options)], check=True, stdout=subprocess.PIPE
            )
            seconds = (time.perf_counter() - began) / frames
            kilobytes = int(done.stdout) / (1024 if sys.platform == "darwin" else 1)
            print(f"| {frames} | {kilobytes / 1024:.0f} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
