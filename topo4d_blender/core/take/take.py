"""A take: what was asked, the template, and every frame solved so far, each there whole or not at all.

Layout (docs/formats.md): take.json, template.npz, geometry/000123.npy, head_pose.npy, anchors/000123.npy,
metrics.jsonl, the maps (maps.py), log.txt. take.json is written first, and again only when the take is given other
frames, another order or other anchors. Everything but the journals and the log is written beside and renamed.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path

import numpy as np

from ..errors import RequestError, WorkError
from ..files import atomic_write, cannot_write, sweep
from ..template import Template, read_template, write_template
from .frames import VertexFolder
from .journal import append_line, read_lines
from .maps import Maps, checksum
from .order import solved_alike
from .passes import Pass
from .request import TakeRequest, as_read_back, new_document, read_document, refuse_other_files


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

        Going on may mean other frames, if those solved so far would have been solved just so. A take without any frame
        begins anew. Raises RequestError if the folder holds another take (or the same one and not `resume`), other
        files, or a newer format; StorageError if it cannot be written.
        """
        folder = Path(folder).absolute()
        request = as_read_back(request)
        if folder.exists() and not folder.is_dir():
            raise RequestError(f"{folder} is a file; name a folder for the take.")
        if not (folder / "take.json").exists():
            refuse_other_files(folder)
            take = cls(folder, new_document(request, template), request)
            take._rewrite()
        elif (take := cls.open(folder))._is_empty():
            take._begin_anew(request, template)
        else:
            request = take._in_its_order(request)
            take._refuse_another(request, template, resume)
            if take.request != request:
                take._replace_frames(request.frames)
            for name in ("", "geometry", "anchors", "texture", "texture_2k", "coverage"):
                sweep(folder / name)
        if not (folder / "template.npz").exists():  # also after a crash between the two files
            write_template(folder / "template.npz", template)
        return take

    @classmethod
    def open(cls, folder: Path) -> Take:
        """Open an existing take. Raises RequestError if there is none, it is broken or of a newer format."""
        folder = Path(folder).absolute()
        return cls(folder, *read_document(folder))

    @cached_property
    def template(self) -> Template:
        """The template as it was when the take began. Raises RequestError if its file is damaged."""
        path = self.folder / "template.npz"
        template = read_template(path)
        if template.digest != self._document["template_digest"]:
            raise RequestError(f"{path} is not the template this take began with; put it back or track again.")
        return template

    @cached_property
    def geometry(self) -> VertexFolder:
        """The solved frames."""
        return VertexFolder(self.folder / "geometry", self._document["vertices"])

    def solved_frames(self) -> list[int]:
        """Frame numbers whose geometry is whole on disk, ascending."""
        return self.geometry.frames()

    def geometry_path(self, frame: int) -> Path:
        """geometry/000123.npy."""
        return self.geometry.path(frame)

    def read_geometry(self, frame: int) -> np.ndarray:
        """Vertices of a solved frame.  # [V, 3] float32, capture units. Raises RequestError if it is not whole."""
        if not self.geometry.has(frame):
            raise RequestError(f"Frame {frame} of {self.folder} is not solved; track it first (--resume goes on).")
        return self.geometry.read(frame)

    def refuse_foreign_geometry(self, frames: Iterable[int] | None = None) -> None:
        """Raise RequestError if any of `frames` (default: all) was tracked on a template of other topology.

        The template's own file is compared with what the take began with when it is read.
        """
        foreign = self.geometry.foreign()
        for frame in sorted(foreign if frames is None else foreign.keys() & set(frames)):
            raise RequestError(
                f"{self.geometry_path(frame)} has {foreign[frame]} vertices and the template of {self.folder} "
                f"{self._document['vertices']}: it was tracked on another template; put this take's own frame back, or "
                "track it again with --resume."
            )

    def shows(self, frame: int, geometry: int) -> bool:
        """Whether `frame` still is what had this checksum (maps.py)."""
        try:
            return checksum(self.geometry_path(frame)) == geometry
        except OSError:  # it is gone
            return False

    def write_geometry(self, frame: int, vertices: np.ndarray, metrics: dict) -> Path:
        """Write a frame whole, then its line of metrics.jsonl. Raises StorageError (disk full, not writable).

        `vertices` [V, 3] in capture units; `metrics` holds plain values or numpy's, what is not finite becomes null.
        """
        if not np.isfinite(vertices).all():
            raise WorkError(f"Frame {frame} was solved to positions that are not finite; it was not written.")
        path = self.geometry.write(frame, vertices)
        self._note({"frame": int(frame), **metrics})
        return path

    def metrics(self) -> dict[int, dict]:
        """The newest line of metrics.jsonl of every solved frame that has one."""
        lines = {line["frame"]: line for line in self._lines() if "again" not in line}
        return {frame: lines[frame] for frame in self.solved_frames() if frame in lines}

    def ask_again(self, frames: Iterable[int]) -> None:
        """Mark solved `frames` to be solved again; what they hold stays until then. Raises StorageError."""
        for frame in frames:
            self._note({"frame": int(frame), "again": True})

    def trust(self, frames: Iterable[int]) -> None:
        """Let others start from `frames` as they lie there now, corrected by hand perhaps. Raises StorageError."""
        lines, poses = self.metrics(), self.head_pose()
        for frame in sorted(set(frames) & lines.keys()):
            poses[self.request.frames.index(frame)] = np.nan  # to be fitted anew
            flags = [flag for flag in lines[frame].get("flags", []) if flag != "lost"]
            self._note({**lines[frame], "flags": flags, "trusted": True})
        self.write_head_pose(poses)

    def pending_frames(self) -> set[int]:
        """The frames of the request that are still to be solved, or again.

        A frame without a line was cut off between its geometry and its line, and what follows needs the line.
        """
        newest = {line["frame"]: line for line in self._lines()}
        done = {frame for frame in self.solved_frames() if "again" not in newest.get(frame, {"again": True})}
        return set(self.request.frames) - done

    def head_pose(self) -> np.ndarray:
        """The head's rigid motion from the template to every frame, as far as it is known.

        # [F, 4, 4] float64, capture units, in the order of `request.frames`; NaN where a frame is not solved.
        """
        poses = np.full((len(self.request.frames), 4, 4), np.nan)
        try:
            stored = np.load(self.folder / "head_pose.npy", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return poses
        return stored if stored.shape == poses.shape and stored.dtype == poses.dtype else poses

    def write_head_pose(self, poses: np.ndarray) -> None:
        """Write head_pose.npy whole; `poses` as `head_pose` gives them. Raises StorageError."""
        if poses.shape != (len(self.request.frames), 4, 4):
            raise ValueError(f"{poses.shape} poses for {len(self.request.frames)} frames")
        poses = np.ascontiguousarray(poses, np.float64)
        atomic_write(self.folder / "head_pose.npy", lambda file: np.save(file, poses, allow_pickle=False))

    @cached_property
    def maps(self) -> Maps:
        """The colour maps."""
        return Maps(self.folder)

    @cached_property
    def anchors(self) -> VertexFolder:
        """anchors/000123.npy: frames whose vertices are given and fixed."""
        return VertexFolder(self.folder / "anchors", self._document["vertices"])

    def anchor_digests(self) -> dict[int, str]:
        """The SHA-256 of every anchor that lies in the folder now."""
        return {f: sha256(self.anchors.path(f).read_bytes()).hexdigest() for f in self.anchors.frames()}

    @property
    def known_anchors(self) -> dict[int, str]:
        """The anchors that the solved frames were solved with, by their digests."""
        return {int(frame): digest for frame, digest in self._document.get("anchors", {}).items()}

    def know_anchors(self, digests: dict[int, str]) -> None:
        """Write to take.json that frames are solved with these anchors from now on. Raises StorageError."""
        self._rewrite(anchors={str(frame): digest for frame, digest in sorted(digests.items())})

    def working_pass(self, left: int, right: int, direction: str) -> Pass:
        """The frames between two anchors as solved in one direction, "forward" or "backward"."""
        return Pass(self._passes / f"{left:06d}-{right:06d}" / direction, self._document["vertices"])

    def drop_passes(self, left: int | None = None, right: int | None = None) -> None:
        """Remove the working files between two anchors, or all of them."""
        shutil.rmtree(self._passes if left is None else self._passes / f"{left:06d}-{right:06d}", ignore_errors=True)
        if self._passes.is_dir() and not any(self._passes.iterdir()):
            self._passes.rmdir()

    @property
    def _passes(self) -> Path:
        return self.folder / "passes"

    def reorder(self, frames: Sequence[int]) -> None:
        """Solve the same frames in another order from now on; the first must stay. Raises StorageError."""
        if set(frames) != set(self.request.frames) or frames[0] != self.request.frames[0]:
            raise ValueError("another order has the same frames and the same first one")
        self._replace_frames(tuple(frames))

    def texture_path(self, frame: int) -> Path:
        """texture/000123.png, the master; a template of several UDIM tiles has more, see `maps`."""
        return self.maps.master(frame)

    def proxy_path(self, frame: int) -> Path:
        """texture_2k/000123.png, or the master where that is small."""
        return self.maps.proxy(frame)

    def textured_frames(self) -> list[int]:
        """Frame numbers whose master is whole on disk, ascending."""
        return self.maps.whole()

    def _lines(self) -> list[dict]:
        return [line for line in read_lines(self.folder / "metrics.jsonl") if isinstance(line.get("frame"), int)]

    def _note(self, record: dict) -> None:
        journal = self.folder / "metrics.jsonl"
        try:
            append_line(journal, record)
        except OSError as error:
            raise cannot_write(journal, error) from error

    def _is_empty(self) -> bool:
        """Whether nothing is lost if the take begins anew."""
        return not self.solved_frames() and not self.textured_frames()

    def _begin_anew(self, request: TakeRequest, template: Template) -> None:
        """Make a take without any frame another one, or the same again. Anchors that lie there stay."""
        for name in ("metrics.jsonl", "head_pose.npy", "template.npz", "texture_reference.npz"):
            (self.folder / name).unlink(missing_ok=True)
        self.drop_passes()
        self.request = request
        self._document = new_document(request, template)
        self._rewrite()

    def _in_its_order(self, request: TakeRequest) -> TakeRequest:
        """`request` with the take's own order, if that is of the same frames: some may have been solved again."""
        ours = self.request.frames
        same = set(ours) == set(request.frames) and ours[:1] == request.frames[:1]
        return replace(request, frames=ours) if same else request

    def _refuse_another(self, request: TakeRequest, template: Template, resume: bool) -> None:
        """Raise RequestError unless this take is the one asked for and may go on."""
        differing = [f.name for f in fields(TakeRequest) if getattr(self.request, f.name) != getattr(request, f.name)]
        if template.digest != self._document["template_digest"]:
            differing.insert(0, "template")
        if differing == ["frames"] and resume and self._goes_on(request.frames):
            return
        if differing == ["frames"] and resume:
            raise RequestError(
                f"{self.folder} holds another take: it starts at frame {self.request.frames[0]}, and what is solved "
                "would not follow from these frames; ask for frames that go on from it, or name another folder."
            )
        differ = "differs" if differing in (["template"], ["capture"], ["method"], ["unit_mm"]) else "differ"
        if differing:
            raise RequestError(
                f"{self.folder} holds another take (its {', '.join(differing)} {differ} from what is asked"
                f"{self._settings_in_words(request)}); name another folder, or ask for the same again with --resume."
            )
        if not resume:
            raise RequestError(
                f"{self.folder} already holds this take with {len(self.solved_frames())} of {len(request.frames)} "
                "frames solved; add --resume to go on, or name another folder."
            )

    def _settings_in_words(self, request: TakeRequest) -> str:
        """Which settings are others than in `request`: ": finest_blur is 0.4 there, not set here"; "" if none is."""

        def said(values: dict, name: str) -> str:
            return str(values.get(name, "not set"))

        ours, theirs = self.request.settings, request.settings
        names = [name for name in sorted({*ours, *theirs}) if ours.get(name) != theirs.get(name)]
        words = ", ".join(f"{name} is {said(ours, name)} there and {said(theirs, name)} here" for name in names)
        return f": {words}" if words else ""

    def _goes_on(self, frames: tuple[int, ...]) -> bool:
        """Whether what is solved would have been solved just so in the order `frames`."""
        return solved_alike(self.solved_frames(), self.request.frames, frames)

    def _replace_frames(self, frames: tuple[int, ...]) -> None:
        poses = dict(zip(self.request.frames, self.head_pose(), strict=True))
        known = (self.folder / "head_pose.npy").exists()
        self.request = replace(self.request, frames=frames)
        self._rewrite(frames=list(frames))
        if known:
            self.write_head_pose(np.stack([poses.get(frame, np.full((4, 4), np.nan)) for frame in frames]))

    def _rewrite(self, **changes: object) -> None:
        self._document = {**self._document, **changes}
        atomic_write(self.folder / "take.json", lambda file: file.write(json.dumps(self._document, indent=1).encode()))
