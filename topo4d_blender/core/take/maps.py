"""The colour maps of a take: how they were baked (texture.json), where they lie, which of them are whole.

All maps of a take are baked alike: an image sequence of several sizes or kinds is of no use to anybody. texture.json
says how; texture.jsonl has a line a map, with the bytes its files have when they are whole and the geometry it shows.
"""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from ..capture.patterns import frames_text
from ..errors import RequestError
from ..files import atomic_write, cannot_write, sweep
from .journal import append_line, read_lines

PROXY = 2048  # texels along a side of the viewport's copy, at most
SUFFIXES = {"png": ".png", "png16": ".png", "jpeg": ".jpg", "tiff": ".tif", "exr": ".exr"}  # of masters, by format
_FORMAT = 1  # major version of texture.json
_FOLDERS = ("texture", "texture_2k", "coverage")
_PNG_END = b"IEND\xaeB`\x82"  # the last bytes of a whole .png
_AGAIN = "Tick Bake Again to replace the maps."  # for Blender, where --overwrite is a box


@dataclass(frozen=True)
class MapRequest:
    """How the maps of a take are baked."""

    resolution: int
    format: str = "png"
    method: str = "inverse"
    images: str = ""  # the calibration file of the plates, absolute
    cameras: tuple[str, ...] = ()
    base_texture: str | None = None  # what shows where no camera sees
    tiles: tuple[int, ...] | None = None  # UDIM numbers, ascending; None: one map a frame
    detail: float | None = None  # 0..1, as on the command line; None: what the noise of the plates asks for

    @property
    def small(self) -> bool:
        """Whether masters serve the viewport themselves, so that no proxies are written."""
        return self.format == "png" and self.resolution <= PROXY


class Maps:
    """The maps in one take folder."""

    def __init__(self, folder: Path) -> None:
        """`folder` is the take's."""
        self.folder = folder

    @property
    def request(self) -> MapRequest | None:
        """What texture.json says; None if there is none. Raises RequestError if it is damaged or of a newer format."""
        path = self.folder / "texture.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            version = int(document["format_version"])
            values = {"detail": None} | document  # takes of before it could be asked for lack it
            values = {f.name: values[f.name] for f in fields(MapRequest)}
            tiles = values["tiles"]
            values |= {"cameras": tuple(values["cameras"]), "tiles": None if tiles is None else tuple(map(int, tiles))}
            known = MapRequest(**values)
            SUFFIXES[known.format]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(f"{path} is damaged; delete it with the folder texture beside it.") from error
        if version > _FORMAT:
            raise RequestError(f"{path} was written by a newer Topo4D (format {version}); update to go on.")
        return known

    def master(self, frame: int, tile: int | None = None) -> Path:
        """texture/000123.png, or texture/000123.1001.png for a tile."""
        request = self.request
        return self._place("texture", frame, tile, SUFFIXES[request.format] if request else ".png")

    def proxy(self, frame: int, tile: int | None = None) -> Path:
        """texture_2k/000123.png; the master where it is small enough to be its own proxy."""
        request = self.request
        if request and request.small:
            return self.master(frame, tile)
        return self._place("texture_2k", frame, tile, ".png")

    def coverage(self, frame: int, tile: int | None = None) -> Path:
        """coverage/000123.png."""
        return self._place("coverage", frame, tile, ".png")

    def whole(self) -> list[int]:
        """Frames all of whose masters are whole on disk, ascending."""
        request, lines = self.request, self._lines()
        return [frame for frame in self._there(request) if self._is_whole(frame, request, lines.get(frame))]

    def choose(
        self, request: MapRequest, frames: Iterable[int], geometry: Callable[[int], Path], resume: bool, overwrite: bool
    ) -> list[int]:
        """Those of `frames` that are to be baked, ascending; nothing is changed yet.

        With `resume`, maps that are whole and show the geometry as it is stay; with `overwrite` none does. Raises
        RequestError if there are maps and neither is given, or if they were baked otherwise and not all of them would
        be replaced.
        """
        frames, before = sorted(set(frames)), self.request
        there = self._there(before)
        if there and before != request:
            self._refuse_mixture(before, request, sorted(set(there) - set(frames)), overwrite)
        elif there and not (resume or overwrite) and (clash := sorted(set(there) & set(frames))):
            raise RequestError(
                f"{self.folder} has maps of frame {frames_text(clash)} already; add --resume to keep them or "
                "--overwrite to bake them anew.",
                hint=_AGAIN,
            )
        if overwrite or not resume:
            return frames
        lines, current = self._lines(), set(self.whole())
        return [f for f in frames if f not in current or not self._is_current(f, request, lines.get(f), geometry(f))]

    def tidy(self) -> None:
        """Take away what is left of maps that were deleted by hand: coverage, proxies, lines. Raises StorageError.

        Only of frames that texture.jsonl speaks of: of others, another process may be about to write the master. And
        nothing where the masters' whole folder is out of reach.
        """
        if not (self.folder / "texture").is_dir():
            return
        said = set(self._lines())
        masters = {p.stem for p in _listed(self.folder / "texture") if p.suffix in SUFFIXES.values()}
        left = [p for name in _FOLDERS[1:] for p in _listed(self.folder / name) if _frame(p) in said]
        self._unlink([p for p in left if p.stem not in masters])
        journal = self.folder / "texture.jsonl"
        lines = read_lines(journal)
        kept = [line for line in lines if self._has_masters(line)]
        if len(kept) < len(lines):
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in kept)
            atomic_write(journal, lambda file: file.write(text.encode()))

    def begin(self, request: MapRequest) -> None:
        """Say in texture.json how maps are baked from now on; those baked otherwise go. Raises StorageError."""
        before = self.request
        if before != request:
            self._remove(self._there(before))
            document = {"format_version": _FORMAT, **asdict(request)}
            atomic_write(self.folder / "texture.json", lambda file: file.write(json.dumps(document, indent=1).encode()))
        for name in _FOLDERS:
            sweep(self.folder / name)

    def record(self, frame: int, geometry: int, metrics: dict) -> None:
        """Say in texture.jsonl that the map of `frame` is whole and shows the `geometry` of that checksum.

        Raises StorageError.
        """
        request, journal = self.request, self.folder / "texture.jsonl"
        sizes = {p.name: p.stat().st_size for p in self._masters(frame, request)}
        try:
            append_line(journal, {"frame": frame, **metrics, "bytes": sizes, "geometry": geometry})
        except OSError as error:
            raise cannot_write(journal, error) from error

    def bytes_of(self, frames: Iterable[int]) -> int:
        """How much room the files of `frames` take now."""
        return sum(p.stat().st_size for p in self._files(set(frames)))

    def bytes_to_go(self, request: MapRequest) -> int:
        """How much room `begin` will make: that of the maps baked otherwise."""
        before = self.request
        return 0 if before == request else self.bytes_of(self._there(before))

    def _place(self, folder: str, frame: int, tile: int | None, suffix: str) -> Path:
        return self.folder / folder / f"{frame:06d}{'' if tile is None else f'.{tile}'}{suffix}"

    def _masters(self, frame: int, request: MapRequest | None) -> list[Path]:
        suffix = SUFFIXES[request.format] if request else ".png"
        tiles = request.tiles if request and request.tiles else (None,)
        return [self._place("texture", frame, tile, suffix) for tile in tiles]

    def _has_masters(self, line: dict) -> bool:
        """Whether all masters that a line of texture.jsonl speaks of are there, whole or not."""
        return all((self.folder / "texture" / name).is_file() for name in line.get("bytes") or {})

    def _there(self, request: MapRequest | None) -> list[int]:
        """Frames of which any master is there, whole or not; of any format if it is not known how they were baked."""
        suffixes = (SUFFIXES[request.format],) if request else tuple(SUFFIXES.values())
        return sorted({_frame(p) for p in _listed(self.folder / "texture") if p.suffix in suffixes} - {None})

    def _files(self, frames: set[int]) -> list[Path]:
        return [p for name in _FOLDERS for p in _listed(self.folder / name) if _frame(p) in frames]

    def _lines(self) -> dict[int, dict]:
        return {line["frame"]: line for line in read_lines(self.folder / "texture.jsonl") if "frame" in line}

    def _is_whole(self, frame: int, request: MapRequest | None, line: dict | None) -> bool:
        for path in self._masters(frame, request):
            try:
                size = path.stat().st_size
            except OSError:
                return False
            if line is None and not _ends_with(path, _PNG_END):
                return False
            if line is not None and line.get("bytes", {}).get(path.name) != size:
                return False
        return True

    def _is_current(self, frame: int, request: MapRequest, line: dict | None, geometry: Path) -> bool:
        """Whether the map of `frame`, known to be whole, shows the geometry as it is and has all that belongs to it."""
        beside = [place(frame, tile) for place in (self.proxy, self.coverage) for tile in request.tiles or (None,)]
        there = all(path.is_file() for path in beside)
        return there and line is not None and line.get("geometry") == checksum(geometry)

    def _refuse_mixture(
        self, before: MapRequest | None, request: MapRequest, others: list[int], overwrite: bool
    ) -> None:
        """Raise RequestError unless all maps there, baked otherwise than `request`, are to be replaced."""
        how = "in a way that is not known" if before is None else _differences(before, request)
        if not overwrite:
            replace = "--overwrite, without --frames," if others else "--overwrite"
            raise RequestError(
                f"The maps in {self.folder} were baked {how}; add {replace} to replace them, or ask for the same.",
                hint=_AGAIN,
            )
        if others:
            raise RequestError(
                f"{self.folder} also has maps of frame {frames_text(others)}, baked {how}; bake those anew as well "
                "(--overwrite without --frames) or delete them.",
                hint="Empty the field of the frames, or delete the take's folder texture.",
            )

    def _remove(self, frames: list[int]) -> None:
        """Take the maps of `frames` off the disk, masters first: what is left of a killed removal is no map."""
        self._unlink(self._files(set(frames)))

    def _unlink(self, paths: list[Path]) -> None:
        """Take files off the disk in this order, and folders that are empty then."""
        for path in paths:
            try:
                path.unlink()
            except OSError as error:
                raise cannot_write(path, error) from error
        for name in _FOLDERS:
            try:
                (self.folder / name).rmdir()
            except OSError:  # not there, or something else lies in it
                continue


def _differences(before: MapRequest, now: MapRequest) -> str:
    """In words how maps were baked, as far as it is not how they are to be baked."""
    named = {f.name: (getattr(before, f.name), getattr(now, f.name)) for f in fields(MapRequest)}
    parts = []
    for name, (was, asked) in named.items():
        if was == asked:
            continue
        if name == "cameras":
            parts.append("through other cameras")
        elif name == "tiles":
            parts.append("onto other UV tiles")
        elif name == "images":
            parts.append(f"from {was}, not {asked}")
        else:
            parts.append(f"with {name.replace('_', ' ')} {_named(was)}, not {_named(asked)}")
    return " and ".join(parts)


def _named(value: object) -> str:
    return "none" if value is None else str(value)


def _listed(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []


def _frame(path: Path) -> int | None:
    """The frame of texture/000123.png or texture/000123.1001.png."""
    match = re.fullmatch(r"(\d+)(?:\.\d{4})?\.\w+", path.name)
    return int(match[1]) if match else None


def _ends_with(path: Path, end: bytes) -> bool:
    try:
        with path.open("rb") as file:
            file.seek(-len(end), os.SEEK_END)
            return file.read() == end
    except OSError:  # gone, or shorter than that
        return False


def checksum(path: Path) -> int:
    """CRC-32 of a file: whether a geometry is still the one that a map shows."""
    return zlib.crc32(path.read_bytes())
