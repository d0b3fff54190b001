"""Runs in the engine's Python, not in Blender's: starts the worker of the package folder that this file lies in.

The package is loaded from its folder under the folder's name, without a search path entry: the folder above an
installed extension holds all the others, and one of them called `numpy` must not take numpy's place.
"""

import importlib
import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Load the package and hand over to `core.worker.main`."""
    folder = Path(__file__).absolute().parents[1]
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = package
    spec.loader.exec_module(package)
    importlib.import_module(f"{folder.name}.core.worker").main()


if __name__ == "__main__":
    main()
