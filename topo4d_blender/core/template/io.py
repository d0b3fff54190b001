"""Templates from and to files: .obj as artists export it, .npz as a take keeps it."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from ..errors import RequestError
from ..files import atomic_write
from .check import check_template
from .mesh import Template

_ROLE = "role_"  # prefix of a role's array in the .npz


def read_template(path: Path) -> Template:
    """Read an .obj or .npz template; its `warnings` name loose vertices, non-manifold edges and faces without UV.

    Raises RequestError with one sentence (which vertex, which face) if it cannot serve.
    """
    path = Path(path)
    if not path.is_file():
        raise RequestError(f"There is no template {path}; check its path.")
    kind = path.suffix.lower()
    if kind == ".npz":
        return check_template(_read_npz(path), path)
    if kind == ".obj":
        from .read_obj import read_obj  # here: Blender's process reads and writes .npz without tinyobjloader

        return check_template(read_obj(path), path)
    raise RequestError(f"{path} is no template that can be read; export it as .obj.")


def write_template(path: Path, template: Template) -> None:
    """Write `template` as .npz (vertices, loops, face_starts, uv, role_<name>), whole or not at all.

    Raises StorageError if it cannot be written.
    """
    arrays = {"vertices": template.vertices, "loops": template.loops, "face_starts": template.face_starts}
    if template.uv is not None:
        arrays["uv"] = template.uv
    arrays |= {_ROLE + name: weights for name, weights in template.roles.items()}
    atomic_write(Path(path), lambda file: np.savez(file, **arrays))


def _read_npz(path: Path) -> Template:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise RequestError(f"{path} is truncated or not an .npz file; write the template again.") from error
    missing = {"vertices", "loops", "face_starts"} - arrays.keys()
    if missing:
        raise RequestError(f"{path} is not a template: it lacks {', '.join(sorted(missing))} (docs/formats.md).")
    try:
        return Template(
            vertices=arrays["vertices"].astype(np.float64).reshape(-1, 3),
            loops=arrays["loops"].astype(np.int32).reshape(-1),
            face_starts=arrays["face_starts"].astype(np.int32).reshape(-1),
            uv=arrays["uv"].astype(np.float32).reshape(-1, 2) if "uv" in arrays else None,
            roles={k.removeprefix(_ROLE): v.astype(np.float32) for k, v in arrays.items() if k.startswith(_ROLE)},
        )
    except ValueError as error:
        raise RequestError(f"{path} is not a template: {error} (docs/formats.md).") from error
