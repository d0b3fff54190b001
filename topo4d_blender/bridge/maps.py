"""The colour maps in a take folder, at the size a viewport wants or at full size, as sequences that Blender can play.

The layout is the engine's (docs/formats.md): texture.json, texture/000123.png (or .jpg, .tif, .exr), for the viewport
texture_2k/000123.png, and texture/000123.1001.png for a UDIM tile. Blender counts the last digits of a file's name, and
those are the tile's: every tile gets a folder of links, texture_tiles/proxies/1001/000123.png.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

from . import plates
from .errors import BridgeError

SUFFIXES = {"png": ".png", "png16": ".png", "jpeg": ".jpg", "tiff": ".tif", "exr": ".exr"}
LINKS = "texture_tiles"


@dataclass(frozen=True)
class Maps:
    """The maps of one take at one size."""

    tiles: dict[int | None, dict[int, Path]]  # UDIM number (None: the template has one map) -> frame -> file
    linear: bool  # texels are linear light, not sRGB
    masters: bool  # at full size

    @property
    def frames(self) -> list[int]:
        """Frames that have a map, ascending; the same for every tile."""
        return sorted(next(iter(self.tiles.values()), {}))


def find(folder: Path, masters: bool = False) -> Maps:
    """The maps of the take at `folder`: those for the viewport, or the `masters`.

    Where a bake was too small to need proxies the masters are both. Frames that lack a tile are left out.
    """
    asked = _request(folder)
    suffix = SUFFIXES.get(asked.get("format"), ".png")
    numbers = asked.get("tiles") or [None]
    proxies = _tiles(folder / "texture_2k", ".png", numbers)
    full = _tiles(folder / "texture", suffix, numbers)
    if proxies[numbers[0]] and not (masters and full[numbers[0]]):  # an empty folder of proxies may be left behind
        return Maps(proxies, linear=False, masters=False)
    return Maps(full, linear=suffix == ".exr", masters=True)


def as_sequences(maps: Maps, folder: Path) -> Maps:
    """`maps` by names that Blender can count: themselves, or for UDIM tiles links to them in the take at `folder`.

    Raises BridgeError if the links cannot be made there.
    """
    if None in maps.tiles:
        return maps
    linked = {}
    for tile, paths in maps.tiles.items():
        place = folder / LINKS / ("masters" if maps.masters else "proxies") / str(tile)
        try:
            for old in place.glob("*.*") if place.is_dir() else ():
                old.unlink()  # it may lead to a map that is gone, or hold the room of one that was baked anew
            linked[tile] = plates.link_sequence(paths, place)
        except OSError as error:
            raise BridgeError(
                f"The maps of several UDIM tiles need links in {place} to be played, and they cannot be made "
                f"({error.strerror}); copy the take to a disk that allows them."
            ) from error
    return Maps(linked, maps.linear, maps.masters)


def _request(folder: Path) -> dict:
    """What texture.json says; nothing of use is an empty one: maps of a single tile as PNG."""
    try:
        document = json.loads((folder / "texture.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _tiles(folder: Path, suffix: str, numbers: list[int | None]) -> dict[int | None, dict[int, Path]]:
    found: dict[int | None, dict[int, Path]] = {number: {} for number in numbers}
    for path in folder.iterdir() if folder.is_dir() else ():
        match = re.fullmatch(r"(\d+)(?:\.(\d{4}))?", path.stem)
        if match is None or path.suffix != suffix:
            continue
        tile = int(match[2]) if match[2] else None
        if tile in found:
            found[tile][int(match[1])] = path
    whole = set.intersection(*(set(frames) for frames in found.values()))
    return {tile: {frame: frames[frame] for frame in sorted(whole)} for tile, frames in found.items()}
