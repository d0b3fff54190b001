"""From a folder of wheels to an engine that has passed its test: beside the old one, which is swept only then."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ...core import pins
from ...core.protocol import ENGINE
from ..errors import BridgeError
from . import engines
from .pip import find_pip, run_pip
from .trial import trial
from .wheels import Wheelhouse, read_wheelhouse, verify

if TYPE_CHECKING:
    from .work import Teller

_ROOM = 1.1  # of what the packages take, for what their first start compiles


def install(wheels: Path, engines_folder: Path, teller: Teller) -> dict:
    """Install the engine of the folder `wheels`; returns {folder, size, swept, doctor}.

    Raises BridgeError; then nothing has changed.
    """
    house = read_wheelhouse(wheels, pins.tag())
    check_room(engines_folder, house.unpacked)
    teller.stage("Checking the wheels", house.size)
    verify(wheels, house, teller.advance)
    digest = hashlib.sha256(f"{house.python}\n{house.requirements()}".encode()).hexdigest()
    folder = engines.new_folder(engines_folder, ENGINE, digest)
    try:
        teller.stage(f"Installing {len(house.wheels)} packages", house.unpacked)
        unpack(wheels, house, folder, teller)
        teller.stage("Testing the engine")
        found = trial(str(folder), teller)
        size = bytes_in(folder)
        engines.make_ready(folder, engines.Ready(house.engine, house.python, house.torch, house.packages, size))
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    return {"folder": str(folder), "size": size, "swept": engines.sweep(engines_folder, folder), "doctor": found}


def unpack(wheels: Path, house: Wheelhouse, folder: Path, teller: Teller) -> None:
    """Let pip lay the wheels out in `folder`: from these files alone, no setting of the user's, every hash checked."""
    scratch = folder / ".tmp"
    scratch.mkdir()
    requirements = scratch / "requirements.txt"
    requirements.write_text(house.requirements(), "utf-8")
    words = ["install", "--no-index", "--find-links", str(wheels), "--require-hashes", "-r", str(requirements)]
    words += [
        "--only-binary",
        ":all:",
        "--no-deps",
        "--no-compile",
        "--no-warn-script-location",
        "--target",
        str(folder),
    ]
    pip = find_pip(wheels / house.pip.file if house.pip else None)
    run_pip(pip, words, scratch, lambda: teller.reach(bytes_in(folder)), offline=True)
    shutil.rmtree(scratch, ignore_errors=True)


def check_room(engines_folder: Path, unpacked: int) -> None:
    """Raises BridgeError if the disk does not take the engine."""
    try:
        engines_folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(engines_folder).free
    except OSError as error:
        raise BridgeError(f"{engines_folder} cannot be written ({error.strerror}); check its permissions.") from None
    if free < _ROOM * unpacked:
        raise BridgeError(
            f"The engine takes {_ROOM * unpacked / 1e9:.1f} GB and the disk of {engines_folder} has {free / 1e9:.1f} "
            "GB left: free some space and install again."
        )


def bytes_in(folder: Path) -> int:
    """The bytes of all files under `folder`; files that come and go meanwhile do not matter."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.stat(os.path.join(place, name)).st_size
    return total
