"""Anchors: frames whose vertices an artist gives, read from what artists and pipelines have at hand."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np

from ..errors import RequestError
from ..template import Template, read_template

Array = np.ndarray
SUFFIXES = (".npy", ".obj")


def read_anchors(path: Path, template: Template) -> dict[int, Array]:
    """The anchors at `path` by frame: float32 [V, 3], capture units, in the order of the template's vertices.

    `path` is a folder of files that end in the frame's number (000123.npy float32 [V, 3], head_0123.obj), one such
    file, or an .npz with `frames` [N] and `vertices` [N, V, 3]. Raises RequestError.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in SUFFIXES and not p.name.startswith("."))
        if not files:
            raise RequestError(f"{path} holds no anchor; put files such as 000123.npy or 000123.obj there.")
    elif path.suffix.lower() in SUFFIXES:
        files = [path]
    elif path.suffix.lower() == ".npz":
        return {f: _checked(v, template, f"{path}, frame {f}") for f, v in _read_npz(path)}
    else:
        raise RequestError(f"{path} holds no anchors that can be read; give a folder of .npy or .obj, or an .npz.")
    found: dict[int, Array] = {}
    for file in files:
        frame = _frame_of(file)
        if frame in found:
            raise RequestError(f"{path} has two anchors of frame {frame} ({file.name} is one); leave one there.")
        found[frame] = _checked(_read(file), template, str(file))
    return found


def _frame_of(file: Path) -> int:
    number = re.search(r"\d+$", file.stem)
    if not number:
        raise RequestError(f"{file} does not say which frame it is of; let its name end in the frame's number.")
    return int(number[0])


def _read(file: Path) -> Array:
    if file.suffix.lower() == ".obj":
        return read_template(file).vertices
    try:
        return np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise RequestError(f"{file} cannot be read as an .npy array; write it again.") from error


def _read_npz(file: Path) -> list[tuple[int, Array]]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            frames, vertices = arrays["frames"], arrays["vertices"]
            return [(int(f), v) for f, v in zip(frames, vertices, strict=True)]
    except (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise RequestError(
            f"{file} is no archive of anchors; it needs frames [N] and vertices [N, V, 3] of the same length."
        ) from error


def _checked(vertices: Array, template: Template, name: str) -> Array:
    if vertices.shape != template.vertices.shape:
        raise RequestError(
            f"{name} has vertices {list(vertices.shape)} and the template {list(template.vertices.shape)}; an anchor "
            "is the same mesh, vertex for vertex."
        )
    if not np.isfinite(vertices).all():
        vertex = int(np.argwhere(~np.isfinite(vertices).all(axis=1))[0, 0])
        raise RequestError(f"{name}: vertex {vertex} (counted from 0) has a position that is not finite.")
    return vertices.astype(np.float32)
