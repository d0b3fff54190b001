"""The template: a polygon mesh of any topology, as the artist made it, with its vertex order untouched."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

Array = np.ndarray


@dataclass(frozen=True)
class Template:
    """A polygon mesh. Faces are runs of loops (face corners), as in Blender; UVs belong to loops."""

    vertices: Array  # [V, 3] float64, capture units, registered to the start frame
    loops: Array  # [L] int32, the vertex of each loop
    face_starts: Array  # [F + 1] int32: face f owns loops[face_starts[f] : face_starts[f + 1]]
    uv: Array | None = None  # [L, 2] float32, (0, 0) is the lower left corner of the tile; None: no UV map
    roles: dict[str, Array] = field(default_factory=dict)  # "t4d_static" | "t4d_ignore" | "t4d_stiff" -> [V] in 0..1
    warnings: tuple[str, ...] = ()  # sentences: loose vertices, non-manifold edges

    @cached_property
    def triangle_loops(self) -> Array:
        """Every face as a fan of triangles, by loop.  # [T, 3] int32."""
        raise NotImplementedError

    @cached_property
    def triangles(self) -> Array:
        """The same fan by vertex.  # [T, 3] int32."""
        return self.loops[self.triangle_loops]

    @cached_property
    def edges(self) -> Array:
        """The edges of the faces (not the fans' diagonals), each once, lower vertex first.  # [E, 2] int32."""
        raise NotImplementedError

    @cached_property
    def digest(self) -> str:
        """SHA-256 of topology, UV and vertices: two templates with one digest are the same."""
        raise NotImplementedError


def read_template(path: Path) -> Template:
    """Read an .obj or .npz template. Raises RequestError with one sentence (which vertex, which face) if it cannot serve."""
    raise NotImplementedError


def write_template(path: Path, template: Template) -> None:
    """Write `template` as .npz (vertices, loops, face_starts, uv, roles), whole or not at all."""
    raise NotImplementedError
