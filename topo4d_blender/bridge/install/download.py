"""An engine from the package index: first a look at how large it is, then, asked again, the download.

What is downloaded is what was looked at: every file with its hash. It becomes a folder of wheels, and the rest is
the same as without a network. A user's own settings of pip (a studio's index, a proxy, certificates) hold.
"""

from __future__ import annotations

import json
import shutil
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from ...core import pins
from ...core.gpus import ask_nvidia, choose_torch, this_platform
from ...core.protocol import ENGINE
from ..errors import BridgeError
from . import engines, setup
from .pip import find_pip, run_pip
from .wheels import Wheel, Wheelhouse

if TYPE_CHECKING:
    from .work import Teller

_TIMEOUT_S = 30.0
_UNPACKED = 1.8  # times the download: what wheels grow to at least (CUDA's; numerical packages to 3.5 times)


def look(torch: str, index: str, teller: Teller) -> dict:
    """What a download would bring: {size, unknown, packages, why, house}. `torch`: "auto", "none" or "usual".

    Raises BridgeError.
    """
    teller.stage("Asking the package index")
    choice = choose_torch(this_platform(), ask_nvidia())
    asked = choice.torch if torch == "auto" else torch
    found = [_wheel(item) for item in _resolve(wanted(asked), index, teller)]
    with ThreadPoolExecutor(8) as pool:
        sizes = list(pool.map(lambda item: _size(item[1]), found))
    wheels = tuple(
        Wheel(**asdict(wheel) | {"size": size or 0})
        for (wheel, _), size in sorted(zip(found, sizes, strict=True), key=lambda pair: pair[0][0].name)
    )
    build = build_of(wheels)
    least = int(_UNPACKED * sum(wheel.size for wheel in wheels))
    house = Wheelhouse(ENGINE, this_platform(), pins.tag(), build, least, wheels)
    without = " The package index has no torch with CUDA for this system." if (asked, build) == ("cuda", "cpu") else ""
    return {
        "size": house.size,
        "unknown": [wheel.name for wheel in wheels if not wheel.size],
        "packages": len(wheels),
        "why": f"{choice.why} {choice.step}".strip() + without,
        "house": asdict(house),
    }


def build_of(wheels: tuple[Wheel, ...]) -> str:
    """Which build of torch is among `wheels`: "none", "cpu" or "cuda", by its version or what it brings."""
    torch = next((wheel for wheel in wheels if wheel.name == "torch"), None)
    if torch is None:
        return "none"
    return "cuda" if "+cu" in torch.version or any(wheel.name.startswith("nvidia-") for wheel in wheels) else "cpu"


def install(engines_folder: Path, found: dict, index: str, teller: Teller) -> dict:
    """Download what `look` found and install it; the summary is `setup.install`'s. Raises BridgeError."""
    house = Wheelhouse(
        **found["house"] | {"wheels": tuple(Wheel(**wheel) for wheel in found["house"]["wheels"]), "pip": None}
    )
    setup.check_room(engines_folder, house.size + house.unpacked)
    work = engines.new_folder(engines_folder, "download", "wheels")
    try:
        wheels = work / "wheels"
        wheels.mkdir()
        _fetch(house, wheels, index, teller)
        unpacked = sum(_unpacked(path) for path in wheels.glob("*.whl"))
        here = tuple(Wheel(**asdict(w) | {"size": (wheels / w.file).stat().st_size}) for w in house.wheels)
        Wheelhouse(**asdict(house) | {"wheels": here, "pip": None, "unpacked": unpacked}).write(wheels)
        return setup.install(wheels, engines_folder, teller)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def wanted(torch: str) -> list[str]:
    """The requirements of an engine; `torch` "none" for one without it."""
    left_out = pins.HEAVY if torch == "none" else ()
    return [f"{name}=={version}" for name, version in pins.engine_pins(pins.tag()).items() if name not in left_out]


def _resolve(requirements: list[str], index: str, teller: Teller) -> list[dict]:
    """What pip would install: the items of pip's installation report."""
    work = Path(_scratch())
    try:
        constraints = work / "constraints.txt"
        constraints.write_text(
            "".join(f"{name}=={version}\n" for name, version in pins.constraints(pins.tag()).items()), "utf-8"
        )
        words = ["install", "--dry-run", "--ignore-installed", "--quiet", "--report", str(work / "report.json")]
        words += ["--use-feature", "fast-deps"]  # where an index offers no metadata apart: its bytes, not whole wheels
        words += ["--only-binary", ":all:", "--constraint", str(constraints), *_index(index), *requirements]
        run_pip(_new_pip(work, index, teller), words, work, teller.check, offline=False)
        return json.loads((work / "report.json").read_text("utf-8"))["install"]
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _new_pip(work: Path, index: str, teller: Teller) -> list[str]:
    """The command line of a pip that can look without downloading, if the index has it; else this Python's own."""
    own = find_pip()
    try:
        words = ["download", "--no-deps", "--only-binary", ":all:", "--dest", str(work), *_index(index), pins.PIP]
        run_pip(own, words, work, teller.check, offline=False)
    except BridgeError:
        teller.check()
        return own
    (wheel,) = work.glob("pip-*.whl")
    return find_pip(wheel)


def _wheel(item: dict) -> tuple[Wheel, str]:
    """An item of the report as a wheel of unknown size, and its address."""
    info = item["download_info"]
    digest = info.get("archive_info", {}).get("hashes", {}).get("sha256")
    name = pins.canonical(item["metadata"]["name"])
    path = Path(unquote(urlsplit(info["url"]).path))
    if not digest and info["url"].startswith("file:"):
        from .wheels import sha256

        digest = sha256(path)
    if not digest:
        raise BridgeError(
            f"The package index gives no hash of {name}, so what it sends cannot be checked; use another index."
        )
    return Wheel(name, item["metadata"]["version"], path.name, digest, 0), info["url"]


def _size(url: str) -> int | None:
    """The bytes behind an address, without fetching them; None where its server does not say."""
    try:
        if url.startswith("file:"):
            return Path(unquote(urlsplit(url).path)).stat().st_size
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=_TIMEOUT_S) as answer:
            return int(answer.headers["Content-Length"])
    except (OSError, ValueError, TypeError):
        return None


def _fetch(house: Wheelhouse, wheels: Path, index: str, teller: Teller) -> None:
    """Download the wheels of `house`, each by its hash."""
    teller.stage(f"Downloading {house.size / 1e6:.0f} MB", house.size)
    scratch = wheels.parent / "scratch"
    scratch.mkdir()
    requirements = scratch / "requirements.txt"
    requirements.write_text(house.requirements(), "utf-8")
    words = [
        "download",
        "--no-deps",
        "--require-hashes",
        "--only-binary",
        ":all:",
        "--no-cache-dir",
        "--progress-bar",
        "off",
    ]
    words += ["--dest", str(wheels), *_index(index), "-r", str(requirements)]
    run_pip(find_pip(), words, scratch, lambda: teller.reach(setup.bytes_in(wheels.parent)), offline=False)
    missing = [wheel.file for wheel in house.wheels if not (wheels / wheel.file).is_file()]
    if missing:
        raise BridgeError(f"The package index sent another file than {missing[0]}: look again, then download.")


def _index(index: str) -> list[str]:
    return ["--extra-index-url", index] if index else []


def _unpacked(wheel: Path) -> int:
    with zipfile.ZipFile(wheel) as file:
        return sum(info.file_size for info in file.infolist())


def _scratch() -> str:
    import tempfile

    return tempfile.mkdtemp(prefix="topo4d-")
