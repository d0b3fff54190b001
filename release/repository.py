"""The static files of an extension repository: a folder that any web server can show and Blender can install from."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path


def make(tool: list[str], archive: Path, folder: Path) -> int:
    """Put `archive` and Blender's own index.json into `folder`, made anew; the exit status of Blender's tool."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    shutil.copy(archive, folder)
    done = subprocess.run(
        [*tool, "server-generate", f"--repo-dir={folder}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    if done.returncode:
        print(done.stdout)
    return done.returncode
