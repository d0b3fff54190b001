"""Working files between two anchors: the frames solved from one of them, before they are joined with the other's."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..files import cannot_write
from .frames import VertexFolder
from .journal import append_line, read_lines

Array = np.ndarray


class Pass:
    """The frames of one direction: passes/000050-000080/forward/000051.npy and the journal beside them."""

    def __init__(self, folder: Path, vertex_count: int) -> None:
        """The pass in `folder`, which need not exist yet."""
        self._vertices = VertexFolder(folder, vertex_count)
        self._journal = folder / "metrics.jsonl"
        lines = {line["frame"]: line for line in read_lines(self._journal) if "frame" in line}
        self.lines: dict[int, dict] = {f: lines[f] for f in self._vertices.frames() if f in lines}

    def read(self, frame: int) -> Array:
        """Vertices of a frame that is there.  # [V, 3] float32."""
        return self._vertices.read(frame)

    def write(self, frame: int, vertices: Array, metrics: dict) -> Path:
        """Write a frame whole, then its line. Raises StorageError."""
        path = self._vertices.write(frame, vertices)
        line = {"frame": int(frame), **metrics}
        try:
            append_line(self._journal, line)
        except OSError as error:
            raise cannot_write(self._journal, error) from error
        self.lines[frame] = line
        return path
