"""The template in patches: a few dozen faces that lie together in UV, with the faces around them.

What is solved over a patch costs the same memory however large the template is. The faces around it are solved with it
and thrown away, so that neighbouring patches agree at their common border.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..splat.densify import DenseMesh, densify
from ..splat.mesh import nearest_in_ring
from ..template import Template

Array = np.ndarray
FACES = 96  # of a patch, at most, without those around it


@dataclass(frozen=True)
class Patch:
    """Some faces of a template, and the Gaussian Mesh over them and the faces around."""

    vertices: Array  # [v] int64: which of the template's
    triangles: Array  # [t, 3] int32, into `vertices`
    dense: DenseMesh  # over `vertices`
    cells: Array  # [c, 3] int32: the small triangles of the patch's own faces, into the dense points
    cell_uv: Array  # [c, 3, 2] float64
    own: Array  # the template's triangles that the patch's own faces are made of


def split_faces(template: Template) -> list[Array]:
    """The faces of `template`, halved in UV along the longer side until no part has more than FACES.  # a list of [f].

    Deterministic: halves are told by the order of the faces' middles.
    """
    sizes = np.diff(template.face_starts)
    middles = np.add.reduceat(np.asarray(template.uv, np.float64), template.face_starts[:-1]) / sizes[:, None]
    waiting, parts = [np.arange(len(sizes))], []
    while waiting:
        faces = waiting.pop()
        if len(faces) <= FACES:
            parts.append(np.sort(faces))
            continue
        axis = int(np.ptp(middles[faces], axis=0).argmax())
        order = faces[np.argsort(middles[faces, axis], kind="stable")]
        waiting += [order[len(order) // 2 :], order[: len(order) // 2]]
    return parts


def make_patch(template: Template, faces: Array, density: int) -> Patch:
    """The patch of `faces` [f] with every edge cut into `density` parts."""
    starts = template.face_starts
    touched = np.zeros(len(template.vertices), bool)
    own_loops = _loops_of(starts, faces)
    touched[template.loops[own_loops]] = True
    around = np.unique(np.searchsorted(starts, np.flatnonzero(touched[template.loops]), side="right") - 1)
    loops = _loops_of(starts, around)
    vertices, local = np.unique(template.loops[loops], return_inverse=True)
    sizes = np.diff(starts)[around]
    part = Template(
        template.vertices[vertices],
        local.astype(np.int32),
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32),
        template.uv[loops],
    )
    dense = densify(part, density)
    # Which of the small triangles belong to the patch itself, kind by kind as `DenseMesh.triangles` lists them.
    face = np.concatenate(
        [
            np.repeat(np.searchsorted(part.face_starts, p.loops[:, 0], side="right") - 1, len(p.cells))
            for p in dense.patches
        ]
    )
    mine = np.isin(around, faces)[face]
    triangle_face = np.repeat(np.arange(len(starts) - 1), np.diff(starts) - 2)
    return Patch(
        vertices=vertices,
        triangles=part.triangles,
        dense=dense,
        cells=dense.triangles()[mine],
        cell_uv=dense.triangle_uv()[mine].astype(np.float64),
        own=np.flatnonzero(np.isin(triangle_face, faces)),
    )


def point_sizes(points: Array, triangles: Array) -> Array:
    """The Gaussians' standard deviations: the distance to the nearest neighbour over the root of 6.  # [n].

    The paper takes half the distance. This is as wide as the linear interpolation between points that the map is drawn
    with, so that what was fitted is neither sharpened nor blurred by drawing it.
    """
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    return nearest_in_ring(points, edges) / 6**0.5


def _loops_of(starts: Array, faces: Array) -> Array:
    """The loops of `faces`, one face after the other."""
    sizes = starts[faces + 1] - starts[faces]
    offset = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.repeat(starts[faces], sizes) + offset
