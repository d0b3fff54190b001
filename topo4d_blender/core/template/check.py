"""Whether a mesh can serve as a template: what stops the work is refused, what does not is said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import RequestError
from .mesh import Array, Template

_NAMED = 5  # so many vertices, edges or faces are named in a sentence


def check_template(template: Template, path: Path) -> Template:
    """`template` with its warnings. Raises RequestError naming `path` and the vertex or face (counted from 0)."""
    _check_arrays(template, path)
    _check_faces(template, path)
    warnings = (*template.warnings, *_warnings(template, path))
    return replace(template, warnings=warnings)


def _check_arrays(template: Template, path: Path) -> None:
    vertices, loops, starts = template.vertices, template.loops, template.face_starts
    if len(vertices) == 0:
        raise RequestError(f"{path} is empty: it has no vertices; export the template mesh again.")
    if len(starts) < 2 or len(loops) == 0:
        raise RequestError(f"{path} has no faces; the template must be a surface, not points or lines.")
    bad = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(bad):
        raise RequestError(f"{path}: {_some('vertex', bad)} (counted from 0) has a position that is not finite.")
    if starts[0] != 0 or starts[-1] != len(loops) or (np.diff(starts) < 0).any():
        raise RequestError(f"{path}: face_starts do not divide its {len(loops)} loops into faces.")
    if template.uv is not None:
        if len(template.uv) != len(loops):
            raise RequestError(f"{path} has {len(template.uv)} UVs for {len(loops)} face corners; one each is needed.")
        bad = np.flatnonzero(~np.isfinite(template.uv).all(axis=1))
        if len(bad):
            face = int(np.searchsorted(starts, bad[0], side="right")) - 1
            raise RequestError(f"{path}: face {face} (counted from 0) has a UV that is not finite.")
    for name, weights in template.roles.items():
        if weights.shape != (len(vertices),) or not np.isfinite(weights).all():
            raise RequestError(f"{path}: the role {name} needs one finite weight for each of {len(vertices)} vertices.")


def _check_faces(template: Template, path: Path) -> None:
    loops, starts, count = template.loops, template.face_starts, len(template.vertices)
    face_of_loop = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
    beyond = np.flatnonzero((loops < 0) | (loops >= count))
    if len(beyond):
        raise RequestError(
            f"{path}: face {face_of_loop[beyond[0]]} (counted from 0) names vertex {loops[beyond[0]]}, "
            f"but there are {count} vertices; export the template again."
        )
    small = np.flatnonzero(np.diff(starts) < 3)
    pairs = np.sort(face_of_loop.astype(np.int64) * count + loops)
    twice = pairs[1:][pairs[1:] == pairs[:-1]] // count
    bad = np.union1d(small, twice)
    if len(bad):
        raise RequestError(
            f"{path}: {_some('face', bad)} (counted from 0) has fewer than three different corners; "
            "merge or delete it (Mesh > Clean Up > Degenerate Dissolve) and export again."
        )


def _warnings(template: Template, path: Path) -> list[str]:
    sentences = []
    loose = np.setdiff1d(np.arange(len(template.vertices)), template.loops)
    if len(loose):
        sentences.append(f"{path}: {_some('vertex', loose)} belongs to no face and is not tracked.")
    edges, uses = np.unique(template.loop_edges, axis=0, return_counts=True)
    crowded = [f"{a}-{b}" for a, b in edges[uses > 2]]
    if crowded:
        sentences.append(f"{path}: {_some('edge', crowded)} has more than two faces (non-manifold).")
    large = np.flatnonzero(np.diff(template.face_starts) > 4)
    if len(large):
        sentences.append(f"{path}: {_some('face', large)} has more than four corners and is treated as triangles.")
    flat = _flat_faces(template)
    if len(flat):
        sentences.append(f"{path}: {_some('face', flat)} has no area.")
    return sentences


def _flat_faces(template: Template) -> Array:
    """Faces whose corners lie in a point or on a line, to rounding.  # indices."""
    corners = template.vertices[template.triangles]
    sides = corners[:, 1:] - corners[:, :1]
    area = np.linalg.norm(np.cross(sides[:, 0], sides[:, 1]), axis=1)
    face = np.searchsorted(template.face_starts, template.triangle_loops[:, 0], side="right") - 1
    whole = np.zeros(len(template.face_starts) - 1)
    np.add.at(whole, face, area)
    longest = np.zeros(len(whole))
    np.maximum.at(longest, face, (sides**2).sum(axis=2).max(axis=1))
    return np.flatnonzero(whole <= 1e-9 * longest)


def _some(kind: str, items: Array | list[str]) -> str:
    """ "vertex 7", or "one of 12 (vertex 1, 2, 3 ...)": a subject that takes the singular."""
    if len(items) == 1:
        return f"{kind} {items[0]}"
    more = " ..." if len(items) > _NAMED else ""
    return f"each of {len(items)} ({kind} {', '.join(str(i) for i in items[:_NAMED])}{more})"
