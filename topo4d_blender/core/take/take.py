"""A take: what was asked, the template, and every frame solved so far, each there whole or not at all.

Layout (docs/formats.md): take.json, template.npz, geometry/000123.npy, metrics.jsonl, texture/000123.png,
texture_2k/000123.png, log.txt. take.json is written first, and again only when `--resume` is given other frames.
Everything but the journal and the log is written beside and renamed.
"""

from __future__ import annotations

import json
import os
import platform
from dataclasses import asdict, dataclass, field, fields
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import RequestError, WorkError
from ..files import atomic_write, cannot_write, sweep
from ..protocol import ENGINE
from ..template import Template, read_template, write_template
from .journal import append_line, read_lines, to_json
from .maps import Maps

FORMAT = 1  # major version of the folder; a newer one is refused


@dataclass(frozen=True)
class TakeRequest:
    """What take.json says: everything needed to solve the take again."""

    capture: str  # the calibration file, absolute
    frames: tuple[int, ...]  # in the order they are solved; the first is the template's own frame
    unit_mm: float
    method: str = "gauss-newton"
    settings: dict = field(default_factory=dict)  # what differs from the method's defaults
    cameras: tuple[str, ...] | None = None  # those that are looked through; None: all of the capture


class Take:
    """An open take folder. Several may be open on one folder; one of them writes."""

    folder: Path
    request: TakeRequest

    def __init__(self, folder: Path, document: dict, request: TakeRequest) -> None:
        """Use `create` or `open`."""
        self.folder = folder
        self.request = request
        self._document = document

    @classmethod
    def create(cls, folder: Path, request: TakeRequest, template: Template, resume: bool = False) -> Take:
        """Begin a take, or with `resume` go on with the one there.

        Going on may mean other frames, if those solved so far are the first of them. Raises RequestError if the folder
        holds another take (or the same one and not `resume`), other files, or a newer format; StorageError if it
        cannot be written.
        """
        folder = Path(folder).absolute()
        request = _plain(request)
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"{folder} is a file; name a folder for the take.")
        if (folder / "take.json").exists():
            take = cls.open(folder)
            take._refuse_another(request, template, resume)
            if take.request != request:
                take._replace_frames(request)
            for place in (folder, folder / "geometry", folder / "texture", folder / "texture_2k", folder / "coverage"):
                sweep(place)
        else:
            _refuse_other_files(folder)
            document = _document(request, template)
            _write_document(folder, document)
            take = cls(folder, document, request)
        if not (folder / "template.npz").exists():  # also after a crash between the two files
            write_template(folder / "template.npz", template)
        return take

    @classmethod
    def open(cls, folder: Path) -> Take:
        """Open an existing take. Raises RequestError if there is none, it is broken or of a newer format."""
        folder = Path(folder).absolute()
        path = folder / "take.json"
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            version = document["format"]
        except FileNotFoundError:
            raise RequestError(f"{folder} holds no take (no take.json); give the folder that track wrote.") from None
        except OSError as error:
            raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
        except (ValueError, KeyError, TypeError) as error:
            raise RequestError(f"{path} is damaged; track into another folder.") from error
        if not isinstance(version, int) or version > FORMAT:
            raise RequestError(f"{folder} was written by a newer Topo4D (format {version}); update to open it.")
        try:
            request = _request(document)
            int(document["vertices"]), str(document["template_digest"])
        except (KeyError, TypeError, ValueError) as error:
            raise RequestError(f"{path} is damaged ({error}); track into another folder.") from error
        return cls(folder, document, request)

    @cached_property
    def template(self) -> Template:
        """The template as it was when the take began. Raises RequestError if its file is damaged."""
        path = self.folder / "template.npz"
        template = read_template(path)
        if template.digest != self._document["template_digest"]:
            raise RequestError(f"{path} is not the template this take began with; put it back or track again.")
        return template

    def solved_frames(self) -> list[int]:
        """Frame numbers whose geometry is whole on disk, ascending."""
        return [frame for frame, path in _numbered(self.folder / "geometry", ".npy") if self._is_whole(path)]

    def geometry_path(self, frame: int) -> Path:
        """geometry/000123.npy."""
        return self.folder / "geometry" / f"{frame:06d}.npy"

    def read_geometry(self, frame: int) -> np.ndarray:
        """Vertices of a solved frame.  # [V, 3] float32, capture units. Raises RequestError if it is not whole."""
        path = self.geometry_path(frame)
        if not self._is_whole(path):
            raise RequestError(f"Frame {frame} of {self.folder} is not solved; track it first (--resume goes on).")
        return np.load(path, allow_pickle=False)

    def write_geometry(self, frame: int, vertices: np.ndarray, metrics: dict) -> Path:
        """Write a frame whole, then its line of metrics.jsonl. Raises StorageError (disk full, not writable).

        `vertices` [V, 3] in capture units; `metrics` holds plain values or numpy's, what is not finite becomes null.
        """
        vertices = np.ascontiguousarray(vertices, np.float32)
        if vertices.shape != (self._document["vertices"], 3):
            raise ValueError(f"frame {frame} has vertices {vertices.shape}, template has {self._document['vertices']}")
        if not np.isfinite(vertices).all():
            raise WorkError(f"Frame {frame} was solved to positions that are not finite; it was not written.")
        path = self.geometry_path(frame)
        atomic_write(path, lambda file: np.save(file, vertices, allow_pickle=False))
        journal = self.folder / "metrics.jsonl"
        try:
            append_line(journal, {"frame": int(frame), **metrics})
        except OSError as error:
            raise cannot_write(journal, error) from error
        return path

    def metrics(self) -> dict[int, dict]:
        """The newest line of metrics.jsonl of every solved frame that has one."""
        lines = {line["frame"]: line for line in read_lines(self.folder / "metrics.jsonl") if "frame" in line}
        return {frame: lines[frame] for frame in self.solved_frames() if frame in lines}

    @cached_property
    def maps(self) -> Maps:
        """The colour maps."""
        return Maps(self.folder)

    def texture_path(self, frame: int) -> Path:
        """texture/000123.png, the master; a template of several UDIM tiles has more, see `maps`."""
        return self.maps.master(frame)

    def proxy_path(self, frame: int) -> Path:
        """texture_2k/000123.png, or the master where that is small."""
        return self.maps.proxy(frame)

    def textured_frames(self) -> list[int]:
        """Frame numbers whose master is whole on disk, ascending."""
        return self.maps.whole()

    def _is_whole(self, path: Path) -> bool:
        """Whether `path` holds all of float32 [V, 3]; reads the header only."""
        try:
            with path.open("rb") as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    return False
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                whole = os.fstat(file.fileno()).st_size == file.tell() + 12 * self._document["vertices"]
        except (OSError, ValueError):
            return False
        return whole and shape == (self._document["vertices"], 3) and dtype == np.float32 and not fortran

    def _refuse_another(self, request: TakeRequest, template: Template, resume: bool) -> None:
        """Raise RequestError unless this take is the one asked for and may go on."""
        differing = [f.name for f in fields(TakeRequest) if getattr(self.request, f.name) != getattr(request, f.name)]
        if template.digest != self._document["template_digest"]:
            differing.insert(0, "template")
        if differing == ["frames"] and resume and self._begins(request.frames):
            return
        if differing:
            raise RequestError(
                f"{self.folder} holds another take (its {', '.join(differing)} differ from what is asked); "
                "name another folder, or ask for the same again with --resume."
            )
        if not resume:
            raise RequestError(
                f"{self.folder} already holds this take with {len(self.solved_frames())} of {len(request.frames)} "
                "frames solved; add --resume to go on, or name another folder."
            )

    def _begins(self, frames: tuple[int, ...]) -> bool:
        """Whether `frames` go on from where this take stands: what is solved would have been solved just so."""
        solved = set(self.solved_frames())
        return frames[:1] == self.request.frames[:1] and solved == set(frames[: len(solved)])

    def _replace_frames(self, request: TakeRequest) -> None:
        self._document = {**self._document, "frames": list(request.frames)}
        self.request = request
        _write_document(self.folder, self._document)


def _write_document(folder: Path, document: dict) -> None:
    atomic_write(folder / "take.json", lambda file: file.write(json.dumps(document, indent=1).encode()))


def _document(request: TakeRequest, template: Template) -> dict:
    """What take.json holds (docs/formats.md)."""
    return {
        "format": FORMAT,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"topo4d": ENGINE, "python": platform.python_version(), "numpy": np.__version__},
        "template_digest": template.digest,
        "vertices": len(template.vertices),
        **asdict(request),
    }


def _plain(request: TakeRequest) -> TakeRequest:
    """`request` as it will read back from JSON, so that the two can be compared."""
    return _request(json.loads(json.dumps(to_json(asdict(request)))))


def _request(document: dict) -> TakeRequest:
    """The request that stands in take.json; takes of before there was a choice have no `cameras`."""
    values = {f.name: document[f.name] for f in fields(TakeRequest) if f.name != "cameras"}
    cameras = document.get("cameras")
    frames = tuple(int(frame) for frame in values.pop("frames"))
    return TakeRequest(**values, frames=frames, cameras=None if cameras is None else tuple(map(str, cameras)))


def _refuse_other_files(folder: Path) -> None:
    """Raise RequestError if `folder` holds anything a take would mix with; hidden files and a log may lie there."""
    if not folder.is_dir():
        return
    others = [p.name for p in folder.iterdir() if not p.name.startswith(".") and p.name != "log.txt"]
    if others:
        raise RequestError(f"{folder} holds other files ({min(others)}) and no take; name an empty or a new folder.")


def _numbered(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    """The files 000123<suffix> of `folder` by number, ascending."""
    if not folder.is_dir():
        return []
    return sorted((int(p.stem), p) for p in folder.iterdir() if p.suffix == suffix and p.stem.isdecimal())
