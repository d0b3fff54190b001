"""A take: what was asked, the template, and every frame solved so far, each there whole or not at all.

Layout (docs/formats.md): take.json, template.npz, geometry/000123.npy, metrics.jsonl, texture/000123.png,
texture_2k/000123.png, log.txt. take.json is written once, first; everything else is written beside and renamed.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..template import Template

FORMAT = 1  # major version of the folder; a newer one is refused


@dataclass(frozen=True)
class TakeRequest:
    """What take.json says: everything needed to solve the take again."""

    capture: str  # the calibration file, absolute
    frames: tuple[int, ...]  # in the order they are solved; the first is the template's own frame
    unit_mm: float
    method: str = "gauss-newton"
    settings: dict = field(default_factory=dict)  # what differs from the method's defaults


class Take:
    """An open take folder."""

    folder: Path
    request: TakeRequest

    @classmethod
    def create(cls, folder: Path, request: TakeRequest, template: Template, resume: bool = False) -> Take:
        """Begin a take, or with `resume` go on with the one there.

        Raises RequestError if the folder holds another take (or the same one and not `resume`), other files, or a newer
        format; WorkError if it cannot be written.
        """
        raise NotImplementedError

    @classmethod
    def open(cls, folder: Path) -> Take:
        """Open an existing take. Raises RequestError if there is none or it is of a newer format."""
        raise NotImplementedError

    @property
    def template(self) -> Template:
        """The template as it was when the take began."""
        raise NotImplementedError

    def solved_frames(self) -> list[int]:
        """Frame numbers whose geometry is whole on disk, ascending."""
        raise NotImplementedError

    def geometry_path(self, frame: int) -> Path:
        """geometry/000123.npy."""
        raise NotImplementedError

    def read_geometry(self, frame: int) -> np.ndarray:
        """Vertices of a solved frame.  # [V, 3] float32, capture units."""
        raise NotImplementedError

    def write_geometry(self, frame: int, vertices: np.ndarray, metrics: dict) -> Path:
        """Write a frame whole, then its line of metrics.jsonl. Raises WorkError (disk full, not writable)."""
        raise NotImplementedError

    def metrics(self) -> dict[int, dict]:
        """The newest line of metrics.jsonl of every solved frame."""
        raise NotImplementedError

    def texture_path(self, frame: int) -> Path:
        """texture/000123.png, the master."""
        raise NotImplementedError

    def proxy_path(self, frame: int) -> Path:
        """texture_2k/000123.png."""
        raise NotImplementedError

    def textured_frames(self) -> list[int]:
        """Frame numbers whose master is whole on disk, ascending."""
        raise NotImplementedError
