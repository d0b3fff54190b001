"""The program's entry: `topo4d`, and `python -m topo4d_blender.core`."""

import os
import signal
import sys
from typing import NoReturn

# Before numpy loads: sums that a BLAS splits among threads differ by machine, and a take must not.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")


def main() -> NoReturn:
    """Load the command line and run it; also while it loads, nothing that happens is a traceback."""
    before = signal.signal(signal.SIGINT, _stop_at_once)
    try:
        from .cli import main as run
    except ModuleNotFoundError as error:  # a Python without the engine's packages, named in Blender's preferences
        print(
            f"error: This Python ({sys.executable}) has no package {error.name}; install the engine's.", file=sys.stderr
        )
        sys.exit(2)
    signal.signal(signal.SIGINT, before)
    run(prog_name="topo4d")


def _stop_at_once(number: int, frame: object) -> NoReturn:
    """Ctrl-C before there is anything to lose: an exception from here would surface in the middle of some import."""
    os.write(2, b"error: Stopped at your request.\n")
    os._exit(1)


if __name__ == "__main__":
    main()
