"""The template: a polygon mesh of any topology, as the artist made it, with its vertex order untouched."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256

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
        """Every face as a fan of triangles, by loop.  # [T, 3] int32.

        The fan stands on the face's first corner unless that folds a triangle over (a concave face); then on the corner
        that folds it least.
        """
        starts, sizes = self.face_starts[:-1], np.diff(self.face_starts)
        out = np.empty((int((sizes - 2).sum()), 3), np.int32)
        first = np.concatenate([[0], np.cumsum(sizes - 2)])  # where the triangles of each face go
        for n in np.unique(sizes).tolist():
            faces = np.flatnonzero(sizes == n)
            corner = _fan_apex(self.vertices[self.loops[starts[faces, None] + np.arange(n)]])
            turn = (corner[:, None] + np.arange(n)) % n + starts[faces, None]  # [f, n] loops, the apex first
            fan = np.stack([np.repeat(turn[:, :1], n - 2, axis=1), turn[:, 1:-1], turn[:, 2:]], axis=2)
            out[first[faces, None] + np.arange(n - 2)] = fan
        return out

    @cached_property
    def triangles(self) -> Array:
        """The same fan by vertex.  # [T, 3] int32."""
        return self.loops[self.triangle_loops]

    @cached_property
    def edges(self) -> Array:
        """The edges of the faces (not the fans' diagonals), each once, lower vertex first.  # [E, 2] int32."""
        return np.unique(self.loop_edges, axis=0)

    @property
    def loop_edges(self) -> Array:
        """The edge from each loop to the next of its face, lower vertex first.  # [L, 2] int32."""
        following = np.arange(1, len(self.loops) + 1)
        following[self.face_starts[1:] - 1] = self.face_starts[:-1]
        return np.sort(np.stack([self.loops, self.loops[following]], axis=1), axis=1)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of vertices, topology, UV and roles: two templates with one digest are the same."""
        digest = sha256()
        parts = [(self.vertices, "<f8"), (self.loops, "<i4"), (self.face_starts, "<i4")]
        if self.uv is not None:
            parts.append((self.uv, "<f4"))
        for name, weights in sorted(self.roles.items()):
            digest.update(name.encode())
            parts.append((weights, "<f4"))
        for array, kind in parts:
            digest.update(f"{kind}{array.shape}".encode())
            digest.update(np.ascontiguousarray(array, kind).tobytes())
        return digest.hexdigest()


def _fan_apex(corners: Array) -> Array:
    """The corner on which to stand the fan of each of f faces with n corners [f, n, 3].  # [f]."""
    n = corners.shape[1]
    apex = np.zeros(len(corners), np.int64)
    if n == 3:
        return apex
    following = np.roll(corners, -1, axis=1)
    normal = np.cross(corners, following).sum(axis=1)  # Newell: twice the area vector of the polygon
    worst = np.empty((len(corners), n))  # for every apex the smallest signed area in its fan
    for a in range(n):
        turn = np.roll(corners, -a, axis=1) - corners[:, a : a + 1]
        area = np.cross(turn[:, 1:-1], turn[:, 2:]) @ normal[:, :, None]
        worst[:, a] = area[..., 0].min(axis=1)
    folded = worst[:, 0] <= 0
    apex[folded] = worst[folded].argmax(axis=1)
    return apex
