"""The Gaussian Mesh at any density: every face becomes a grid of points that share its edges with its neighbours.

The paper (3.3) puts an N x N bilinear grid into every quad. Here every edge is cut into N parts, a convex quad into
N x N bilinear cells, a triangle into N^2 barycentric ones, and any other face into its fan of triangles first. Points
on an edge belong to both faces, so a closed mesh of quads has N^2 points a quad, and at N = 1 the points *are* the
vertices: one representation serves the geometry (N = 1) and the texture (N = 30 for a map of 8192).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..template import Template

Array = np.ndarray


@dataclass(frozen=True)
class Patches:
    """Faces of one kind (n = 4: quads, n = 3: triangles), each with P points and C small triangles between them."""

    loops: Array  # [F, n] int32: the template's loop at every corner
    points: Array  # [F, P] int32: points of the dense mesh
    weights: Array  # [P, n] float64: how much each corner counts at a point, the same in every face
    cells: Array  # [C, 3] int32: triangles by place in `points`, wound as their face


@dataclass(frozen=True)
class DenseMesh:
    """M points on the template's surface; the first V are its vertices."""

    corners: Array  # [M, 4] int32: the vertices a point lies between
    weights: Array  # [M, 4] float32: how much each counts; their sum is 1
    uv: Array | None  # [M, 2] float32; on a seam that of one of the faces; NaN at a loose vertex
    patches: tuple[Patches, ...]
    loop_uv: Array | None  # [L, 2] float32, the template's

    def at_points(self, values: Array) -> Array:
        """What is known at the vertices (`values` [V, ...]: positions, colours) at the points.  # [M, ...]."""
        shape = (-1, *(1,) * (values.ndim - 1))
        total = values[self.corners[:, 0]] * self.weights[:, 0].reshape(shape)
        for k in range(1, 4):
            total += values[self.corners[:, k]] * self.weights[:, k].reshape(shape)
        return total

    def normals(self, vertex_normals: Array) -> Array:
        """Unit normals at the points from those at the vertices [V, 3].  # [M, 3]; 0 where these cancel out."""
        normals = self.at_points(vertex_normals)
        length = np.linalg.norm(normals, axis=1, keepdims=True)
        return normals / np.where(length > 0, length, 1)

    def triangles(self) -> Array:
        """The surface between the points.  # [G, 3] int32, face by face within each kind."""
        return np.concatenate([p.points[:, p.cells].reshape(-1, 3) for p in self.patches])

    def triangle_uv(self) -> Array:
        """UV of the corners of `triangles`, each on its own side of a seam.  # [G, 3, 2] float32.

        Raises ValueError if the template has none.
        """
        if self.loop_uv is None:
            raise ValueError("the template has no UV map")
        maps = [p.weights.astype(np.float32) @ self.loop_uv[p.loops] for p in self.patches]
        return np.concatenate([uv[:, p.cells].reshape(-1, 3, 2) for uv, p in zip(maps, self.patches, strict=True)])


def densify(template: Template, density: int) -> DenseMesh:
    """The points of `template` with every edge cut into `density` parts. Raises ValueError below 1."""
    if density < 1:
        raise ValueError(f"a density of {density} leaves no points")
    quads, triangles = _patch_loops(template)
    kinds = [(quads, *_quad_grid(density)), (triangles, *_triangle_grid(density))]
    keys = [_side_keys(template.loops[loops], len(template.vertices))[0] for loops, _, _ in kinds]
    edges = np.unique(np.concatenate([k.ravel() for k in keys]))
    first = len(template.vertices) + len(edges) * (density - 1)  # of the points inside faces
    patches = []
    for (loops, weights, cells), key in zip(kinds, keys, strict=True):
        points = _number(template, loops, weights, np.searchsorted(edges, key), density)
        inside = (weights > 0).all(axis=1)
        own = (len(loops), int(inside.sum()))
        points[:, inside] = first + np.arange(own[0] * own[1]).reshape(own)
        first += own[0] * own[1]
        patches.append(Patches(loops, points, weights, cells))
    return _assemble(template, tuple(patches), first)


def _assemble(template: Template, patches: tuple[Patches, ...], count: int) -> DenseMesh:
    """Corners, weights and UV of all `count` points."""
    vertices = len(template.vertices)
    corners = np.zeros((count, 4), np.int32)
    weights = np.zeros((count, 4), np.float32)
    corners[:vertices] = np.arange(vertices)[:, None]
    weights[:vertices, 0] = 1
    uv = None if template.uv is None else np.full((count, 2), np.nan, np.float32)
    for patch in patches:
        new = patch.points >= vertices
        pad = ((0, 0), (0, 4 - patch.loops.shape[1]))
        between = np.pad(template.loops[patch.loops], pad, mode="edge")[:, None]  # [F, 1, 4]
        share = np.pad(patch.weights.astype(np.float32), pad)  # [P, 4]
        corners[patch.points[new]] = np.broadcast_to(between, (*new.shape, 4))[new]
        weights[patch.points[new]] = np.broadcast_to(share, (*new.shape, 4))[new]
        if uv is not None:
            uv[patch.points] = patch.weights.astype(np.float32) @ template.uv[patch.loops]
    return DenseMesh(corners, weights, uv, patches, template.uv)


def _patch_loops(template: Template) -> tuple[Array, Array]:
    """Loops of the convex quads [Fq, 4] and of the triangles that all other faces fall into [Ft, 3]."""
    starts, sizes = template.face_starts[:-1], np.diff(template.face_starts)
    quad = sizes == 4
    loops = (starts[quad, None] + np.arange(4)).astype(np.int32)
    corner = template.vertices[template.loops[loops]]
    before, after = np.roll(corner, 1, axis=1) - corner, np.roll(corner, -1, axis=1) - corner
    turn = np.cross(after, before)  # [Fq, 4, 3]
    convex = ((turn @ turn.sum(axis=1)[:, :, None])[..., 0] > 0).all(axis=1)  # a bilinear grid of others folds over
    quad[quad] = convex
    return loops[convex], template.triangle_loops[np.repeat(~quad, sizes - 2)]


def _side_keys(vertices: Array, count: int) -> tuple[Array, Array]:
    """A number for the edge from each corner to the next of faces [F, n] over `count` vertices, and whether the lower
    vertex comes first.  # [F, n] int64, [F, n] bool.
    """
    following = np.roll(vertices, -1, axis=1)
    low, high = np.minimum(vertices, following).astype(np.int64), np.maximum(vertices, following)
    return low * count + high, vertices == low


def _number(template: Template, loops: Array, weights: Array, edges: Array, density: int) -> Array:
    """The numbers of a kind's points on vertices and on `edges` [F, n]; those inside faces stay 0.  # [F, P] int32."""
    vertices = template.loops[loops]
    forward = _side_keys(vertices, len(template.vertices))[1]
    points = np.zeros((len(loops), len(weights)), np.int32)
    for corner in range(loops.shape[1]):
        following = (corner + 1) % loops.shape[1]
        points[:, weights[:, corner] == 1] = vertices[:, corner, None]
        on_side = (weights[:, [corner, following]] > 0).all(axis=1) & ((weights > 0).sum(axis=1) == 2)
        step = np.rint(weights[on_side, following] * density).astype(np.int64)  # 1 .. density - 1
        step = np.where(forward[:, corner, None], step - 1, density - 1 - step)
        points[:, on_side] = len(template.vertices) + edges[:, corner, None] * (density - 1) + step
    return points


def _quad_grid(density: int) -> tuple[Array, Array]:
    """Bilinear weights of the (density + 1)^2 points of a quad, and its cells.  # [P, 4], [C, 3]."""
    v, u = (a.ravel() / density for a in np.indices((density + 1, density + 1)))
    weights = np.stack([(1 - u) * (1 - v), u * (1 - v), u * v, (1 - u) * v], axis=1)
    row, column = (a.ravel() for a in np.indices((density, density)))
    a = row * (density + 1) + column
    corners = np.stack([a, a + 1, a + density + 2, a + density + 1], axis=1)
    return weights, np.concatenate([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]]).astype(np.int32)


def _triangle_grid(density: int) -> tuple[Array, Array]:
    """Barycentric weights of the points of a triangle, and its cells.  # [P, 3], [C, 3]."""
    i, j = (a.ravel() for a in np.indices((density + 1, density + 1)))
    inside = i + j <= density
    place = np.cumsum(inside) - 1  # of a point among those kept, by its place in the square
    weights = np.stack([density - i - j, i, j], axis=1)[inside] / density
    a = np.arange(len(i)).reshape(density + 1, density + 1)
    up = np.stack([a[:-1, :-1], a[1:, :-1], a[:-1, 1:]], axis=-1)[(i + j < density).reshape(a.shape)[:-1, :-1]]
    down = np.stack([a[1:, :-1], a[1:, 1:], a[:-1, 1:]], axis=-1)[(i + j < density - 1).reshape(a.shape)[:-1, :-1]]
    return weights, place[np.concatenate([up, down])].astype(np.int32)
