"""Runs in the engine's Python, not in Blender's: starts the worker of the package folder that this file lies in.

    launch_worker.py [--packages FOLDER] [--run MODULE WORDS...]

FOLDER is an installed engine, which is kept from being swept for as long as this process lives. MODULE is one of the
package (`core.__main__`) whose `main` is called instead of the worker's, with WORDS as its arguments.

The package is loaded from its folder under the folder's name, without a search path entry: the folder above an
installed extension holds all the others, and one of them called `numpy` must not take numpy's place.
"""

import importlib
import importlib.util
import sys
from pathlib import Path


def main() -> None:
    """Load the package and hand over to `core.worker.main`, or to what --run names."""
    major, minor = sys.version_info[:2]
    if (major, minor) < (3, 11):  # whatever a person chose
        sys.exit(f"This Python is {major}.{minor} and the engine needs 3.11 or newer: choose another.")
    words, module = sys.argv[1:], "core.worker"
    package = load_package(Path(__file__).absolute().parents[1])
    if words[:1] == ["--packages"]:
        use_packages(package, words[1])
        words = words[2:]
    if words[:1] == ["--run"]:
        module, words = words[1], words[2:]
    sys.argv[1:] = words
    importlib.import_module(f"{package}.{module}").main()


def load_package(folder: Path) -> str:
    """Load the package in `folder`; returns its name."""
    spec = importlib.util.spec_from_file_location(
        folder.name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    package = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = package
    spec.loader.exec_module(package)
    return folder.name


def use_packages(package: str, folder: str) -> None:
    """Put the engine in `folder` on the search path, .pth files included; mark it as used until this process ends."""
    import site

    site.addsitedir(folder)
    importlib.import_module(f"{package}.bridge.install.engines").hold(Path(folder))


if __name__ == "__main__":
    main()
