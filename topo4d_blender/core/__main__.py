"""`python -m topo4d_blender.core` is the command line."""

import sys

if __name__ == "__main__":
    try:
        from .cli import main
    except ModuleNotFoundError as error:  # a Python without the engine's packages, named in Blender's preferences
        print(
            f"error: This Python ({sys.executable}) has no package {error.name}; install the engine's.", file=sys.stderr
        )
        sys.exit(2)
    main(prog_name="topo4d")
