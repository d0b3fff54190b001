"""Wavefront .obj through tinyobjloader; what it passes over in silence (nan, missing corners) is looked for here."""

from __future__ import annotations

import math
import re
from pathlib import Path

import numpy as np
import tinyobjloader

from ..errors import RequestError
from .mesh import Template

_NUMBERS = re.compile(r"^[ \t]*(v|vt)[ \t]+(.*?)[ \t\r]*$", re.MULTILINE)


def read_obj(path: Path) -> Template:
    """The mesh of an .obj: vertices in the file's order, the faces of all its objects and groups in the file's order.

    Raises RequestError naming the file and the line, vertex or face.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise RequestError(f"{path} cannot be read ({error.strerror}).") from error
    _check_numbers(text, path)
    config = tinyobjloader.ObjReaderConfig()
    config.triangulate = False
    reader = tinyobjloader.ObjReader()
    if not reader.ParseFromString(text, "", config):
        raise RequestError(f"{path} is not a valid .obj: {_in_words(reader.Error())}; export it again.")
    if "Degenerated face" in reader.Warning():  # left out by the reader, so no later check sees it
        raise RequestError(
            f"{path} has a face with fewer than three corners; delete it (Mesh > Clean Up) and export again."
        )
    attributes, meshes = reader.GetAttrib(), [shape.mesh for shape in reader.GetShapes()]
    # The arrays that tinyobjloader offers of these have wrong strides (all from numpy 2 on); its lists are right.
    sizes = np.concatenate([np.array(m.num_face_vertices, np.int32) for m in meshes] or [np.empty(0, np.int32)])
    index = [(i.vertex_index, i.texcoord_index) for m in meshes for i in m.indices]
    loops, corners = np.array(index, np.int32).reshape(-1, 2).T
    loops = np.ascontiguousarray(loops)
    starts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
    uv, warnings = _uv(np.array(attributes.texcoords, np.float32).reshape(-1, 2), corners, starts, path)
    vertices = np.array(attributes.vertices, np.float64).reshape(-1, 3)
    return Template(vertices, loops, starts, uv, warnings=warnings)


def _check_numbers(text: str, path: Path) -> None:
    """Every v and vt line holds finite numbers: tinyobjloader reads `nan` and what is not a number as 0."""
    count = {"v": 0, "vt": 0}
    for match in _NUMBERS.finditer(text):
        kind, tokens = match[1], match[2].split("#")[0].split()
        needed = 3 if kind == "v" else 2
        try:
            good = len(tokens) >= needed and all(math.isfinite(float(t)) for t in tokens[:needed])
        except ValueError:
            good = False
        if not good:
            line = text.count("\n", 0, match.start(1)) + 1
            what = "vertex" if kind == "v" else "UV point"
            raise RequestError(
                f"{path}: {what} {count[kind]} (counted from 0; line {line}) is {match[2][:60]!r}, "
                f"not {needed} finite numbers; mend it and export again."
            )
        count[kind] += 1


def _uv(points: np.ndarray, corners: np.ndarray, starts: np.ndarray, path: Path) -> tuple[np.ndarray | None, tuple]:
    """UV of every loop [L, 2], or None with a warning where some faces have none; `corners` [L] index `points`."""
    bare = corners < 0
    if bare.all():
        return None, ()
    beyond = np.flatnonzero(corners >= len(points))
    if len(beyond):
        face = int(np.searchsorted(starts, beyond[0], side="right")) - 1
        raise RequestError(
            f"{path}: face {face} (counted from 0) names UV point {corners[beyond[0]] + 1} of {len(points)}; "
            "export the template again."
        )
    if bare.any():
        faces = np.unique(np.searchsorted(starts, np.flatnonzero(bare), side="right") - 1)
        return None, (
            f"{path}: {len(faces)} face(s), the first is {faces[0]} (counted from 0), have no UV: the template is "
            "tracked, but no texture can be baked until all of it is unwrapped.",
        )
    return points[corners], ()


def _in_words(error: str) -> str:
    line = re.search(r"[Ll]ine (\d+)", error)
    if line and "`f'" in error:
        return f"the face on line {line[1]} names a vertex that does not exist"
    return " ".join(error.split()).rstrip(".") or "it cannot be parsed"
