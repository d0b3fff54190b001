"""A folder of wheels that an engine can be installed from without a network, and the record that says what is in it.

`build_addon.py --offline` makes such folders, and a download makes one on its way; wheelhouse.json is their record:

    {"format": 1, "engine": "0.1.0", "platform": "linux-x64", "python": "3.11", "torch": "cpu", "unpacked": 612000000,
     "wheels": [{"name", "version", "file", "sha256", "size", "licence"}, ...], "pip": such a wheel, or null}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from ...core.gpus import this_platform
from ..errors import BridgeError
from . import engines

RECORD = "wheelhouse.json"
FORMAT = 1


@dataclass(frozen=True)
class Wheel:
    """One wheel."""

    name: str  # as registries compare it
    version: str
    file: str
    sha256: str
    size: int  # bytes
    licence: str = ""  # SPDX expression; "" where nobody looked


@dataclass(frozen=True)
class Wheelhouse:
    """The record of a folder of wheels."""

    engine: str
    platform: str
    python: str
    torch: str  # "none", "cpu" or "cuda"
    unpacked: int  # bytes on disk once installed
    wheels: tuple[Wheel, ...]
    pip: Wheel | None = None  # not installed: it does the installing

    @property
    def size(self) -> int:
        """Bytes of all wheels."""
        return sum(wheel.size for wheel in self.wheels)

    @property
    def packages(self) -> dict[str, str]:
        """Name -> version."""
        return {wheel.name: wheel.version for wheel in self.wheels}

    def requirements(self) -> str:
        """Every wheel pinned with its hash, in the order of names, as pip reads it."""
        return "".join(f"{w.name}=={w.version} --hash=sha256:{w.sha256}\n" for w in self.wheels)

    def write(self, folder: Path) -> None:
        """Write the record and requirements.txt into `folder`."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        (folder / RECORD).write_text(text, "utf-8", newline="\n")
        (folder / "requirements.txt").write_text(self.requirements(), "utf-8", newline="\n")


def read_wheelhouse(folder: Path, python: str) -> Wheelhouse:
    """The record of `folder`, which must be for this machine, for `python`, and of this extension's engine.

    Raises BridgeError otherwise, with what to get instead.
    """
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))
        version = found.pop("format")
        wheels = tuple(Wheel(**wheel) for wheel in found.pop("wheels"))
        pip = found.pop("pip")
        house = Wheelhouse(**found, wheels=wheels, pip=Wheel(**pip) if pip else None) if version == FORMAT else None
    except FileNotFoundError:
        raise BridgeError(f"{folder} holds no {RECORD}; choose a folder made by build_addon.py --offline.") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BridgeError(f"{folder / RECORD} cannot be read ({_words(error)}); copy the folder again.") from None
    if house is None:
        raise BridgeError(f"{folder} was made for a newer Topo4D (format {version}); update the extension.")
    here = this_platform()
    if (house.platform, house.python) != (here, python):
        raise BridgeError(
            f"{folder} is for {house.platform} and Python {house.python}; this is {here} and Python {python}: "
            "get the folder for it."
        )
    if not engines.fits(house.packages, python):
        raise BridgeError(
            f"{folder} holds the packages of engine {house.engine}, which this extension was not tested with; "
            "get the folder of its own version."
        )
    return house


def verify(folder: Path, house: Wheelhouse, advance: Callable[[int], None]) -> None:
    """Hold every wheel against its hash, telling `advance` the bytes read. BridgeError names the first bad one."""
    for wheel in (*house.wheels, *([house.pip] if house.pip else [])):
        path = folder / wheel.file
        try:
            found = sha256(path, advance)
        except OSError as error:
            raise BridgeError(f"{path} cannot be read ({_words(error)}); copy the folder again.") from None
        if found != wheel.sha256:
            raise BridgeError(f"{path} is not the file that {RECORD} lists; copy the folder again.")


def sha256(path: Path, advance: Callable[[int], None] = lambda _: None) -> str:
    """The SHA-256 of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
            advance(len(block))
    return digest.hexdigest()


def _words(error: Exception) -> str:
    return getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
