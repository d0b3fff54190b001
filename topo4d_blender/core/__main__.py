"""`python -m topo4d_blender.core` is the command line."""

from .cli import main

if __name__ == "__main__":
    main(prog_name="topo4d")
