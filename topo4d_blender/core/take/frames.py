"""Folders of numbered files: which frames are there, and whether their vertices are whole."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..files import atomic_write

Array = np.ndarray


class VertexFolder:
    """000123.npy files of float32 [V, 3], each there whole or not at all."""

    def __init__(self, folder: Path, vertex_count: int) -> None:
        """The files below `folder`, which need not exist yet."""
        self.folder = folder
        self._count = vertex_count

    def path(self, frame: int) -> Path:
        """000123.npy."""
        return self.folder / f"{frame:06d}.npy"

    def frames(self) -> list[int]:
        """Frame numbers whose file is whole, ascending."""
        return [frame for frame, path in numbered(self.folder, ".npy") if self._is_whole(path)]

    def has(self, frame: int) -> bool:
        """Whether the file of `frame` is whole."""
        return self._is_whole(self.path(frame))

    def read(self, frame: int) -> Array:
        """Vertices of a frame that is whole.  # [V, 3] float32."""
        return np.load(self.path(frame), allow_pickle=False)

    def write(self, frame: int, vertices: Array) -> Path:
        """Write a frame whole. Raises ValueError for another count, StorageError if the disk does not take it."""
        vertices = np.ascontiguousarray(vertices, np.float32)
        if vertices.shape != (self._count, 3):
            raise ValueError(f"frame {frame} has vertices {vertices.shape}, template has {self._count}")
        path = self.path(frame)
        atomic_write(path, lambda file: np.save(file, vertices, allow_pickle=False))
        return path

    def foreign(self) -> dict[int, int]:
        """Frames whose file is whole, but of another number of vertices: that of each."""
        counts = {frame: _vertices_in(path) for frame, path in numbered(self.folder, ".npy")}
        return {frame: count for frame, count in counts.items() if count not in (0, self._count)}

    def _is_whole(self, path: Path) -> bool:
        return _vertices_in(path) == self._count


def _vertices_in(path: Path) -> int:
    """V if `path` holds all of float32 [V, 3], 0 if it does not; reads the header only."""
    try:
        with path.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                return 0
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            if len(shape) != 2 or shape[1] != 3 or dtype != np.float32 or fortran:
                return 0
            return shape[0] if os.fstat(file.fileno()).st_size == file.tell() + 12 * shape[0] else 0
    except (OSError, ValueError):
        return 0


def numbered(folder: Path, suffix: str) -> list[tuple[int, Path]]:
    """The files 000123<suffix> of `folder` by number, ascending."""
    if not folder.is_dir():
        return []
    return sorted((int(p.stem), p) for p in folder.iterdir() if p.suffix == suffix and p.stem.isdecimal())
