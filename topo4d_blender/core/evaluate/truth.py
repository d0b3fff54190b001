"""The known truth of a capture: where every vertex really is, in every frame."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..capture import open_capture
from ..errors import RequestError, Topo4DError
from ..take import TakeRequest

Array = np.ndarray


@dataclass(frozen=True)
class Truth:
    """A truth.npz, its rows given their frame numbers."""

    rows: dict[int, int]  # frame -> row of `vertices`
    vertices: Array  # [F, V, 3], capture units
    face_mask: Array  # [V] bool: the vertices that are scored
    unit_mm: float


def read_truth(path: Path, request: TakeRequest, vertex_count: int) -> Truth:
    """Read and check the truth at `path` for a take of `vertex_count` vertices. Raises RequestError."""
    arrays = _load(path)
    vertices = arrays["vertices"]
    if vertices.ndim != 3 or vertices.shape[2] != 3 or not len(vertices):
        raise RequestError(f"{path}: its vertices are {vertices.shape}; they must be [frames, vertices, 3].")
    if vertices.shape[1] != vertex_count:
        raise RequestError(
            f"{path} is of a mesh of {vertices.shape[1]} vertices and the take's template has {vertex_count}; "
            "give the truth of this template."
        )
    if not np.isfinite(vertices).all():
        frame, vertex = np.argwhere(~np.isfinite(vertices).all(axis=2))[0]
        raise RequestError(f"{path}: vertex {vertex} of row {frame} is not a finite number.")
    mask = arrays["face_mask"].astype(bool)
    if mask.shape != (vertex_count,) or not mask.any():
        raise RequestError(f"{path}: its face_mask must choose some of the {vertex_count} vertices.")
    unit_mm = float(arrays["unit_mm"])
    if not (np.isfinite(unit_mm) and unit_mm > 0):
        raise RequestError(f"{path}: its unit_mm is {unit_mm}; it must be a positive number.")
    return Truth(_rows(path, arrays.get("frames"), len(vertices), request), vertices, mask, unit_mm)


def _load(path: Path) -> dict[str, Array]:
    if not path.is_file():
        raise RequestError(f"There is no truth file {path}.")
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is not an .npz archive that can be read; export the truth again.") from error
    for name in ("vertices", "face_mask", "unit_mm"):
        if name not in arrays:
            raise RequestError(f"{path} has no {name}; a truth needs vertices, face_mask and unit_mm.")
    return arrays


def _rows(path: Path, frames: Array | None, count: int, request: TakeRequest) -> dict[int, int]:
    """Which row is which frame: as `frames` says, else the take's own frames or the capture's, in ascending order."""
    if frames is None:
        frames = sorted(request.frames)
        if len(frames) != count:
            frames = _capture_frames(path, count, request)
    numbers = np.asarray(frames).ravel()
    if len(numbers) != count or len(set(numbers.tolist())) != count:
        raise RequestError(
            f"{path} has {count} rows of vertices, which fit neither the frames it names nor those of the take or its "
            "capture; add `frames`, the frame number of every row."
        )
    return {int(number): row for row, number in enumerate(numbers)}


def _capture_frames(path: Path, count: int, request: TakeRequest) -> tuple[int, ...]:
    try:
        return open_capture(Path(request.capture), cameras=request.cameras).frames
    except Topo4DError as error:
        raise RequestError(
            f"{path} has {count} rows, the take {len(request.frames)} frames, and the capture cannot tell which is "
            f"which ({error}); add `frames`, the frame number of every row, to the truth."
        ) from error
