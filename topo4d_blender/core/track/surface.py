"""The tracked surface: topology prepared for the tracker, and the bending prior's matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..template import Template

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """What stays the same through a take."""

    triangles: Array  # [T, 3] int32; in an order of their own, see `side_by_side`
    corner_starts: Array  # [V + 1] int32: corners (3 t + i) of each vertex
    corners: Array  # [3 T] int32
    edges: Array  # [E, 2] int32, of the triangles
    side_starts: Array  # [E + 1] int32: triangle sides (3 t + i, between corners i and i + 1) of each edge
    sides: Array  # [3 T] int32
    laplacian: sp.csr_matrix  # [V, V]: L d is how a displacement d bends, see `laplacian`
    stiffness: Array  # [V]: of each vertex's bending, relative to others' (role t4d_stiff: 101)
    bending: sp.csr_matrix  # [V, V], L' S L: d' B d is the squared bending of a displacement d, a scalar a coordinate
    edge_length: float  # median, capture units
    looks: Array  # [T] float32, 0..1: how far each triangle looks at pixels (role t4d_ignore: 0)
    vertex_count: int

    def looked_at(self) -> Array:
        """The vertices of triangles that look at pixels, ascending.  # [S]."""
        return np.unique(self.triangles[self.looks > 0])


def _incidence(owners: Array, count: int) -> tuple[Array, Array]:
    """CSR lists of the positions at which each owner occurs: (starts [count + 1], members), members ascending."""
    members = np.argsort(owners, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(np.int32)
    return starts, members


def laplacian(vertices: Array, edges: Array) -> sp.csr_matrix:
    """Graph Laplacian I - D^-1 A with weights 1 / length: zero on what is linear in space, on uneven edges too.

    The scale-dependent umbrella operator (Fujiwara 1995; Desbrun et al. 1999), for `vertices` [V, 3].  # [V, V].
    """
    i, j = edges.T
    length = np.linalg.norm(vertices[i] - vertices[j], axis=1)
    weight = 1 / np.maximum(length, 1e-6 * np.median(length))
    count = len(vertices)
    adjacency = sp.coo_matrix((weight, (i, j)), shape=(count, count))
    adjacency = (adjacency + adjacency.T).tocsr()
    total = np.asarray(adjacency.sum(1)).ravel()
    return (sp.diags((total > 0).astype(float)) - sp.diags(1 / np.maximum(total, 1e-300)) @ adjacency).tocsr()


def bending_matrix(vertices: Array, edges: Array, stiffness: Array | None = None) -> sp.csr_matrix:
    """B = L' S L with the Laplacian L and per-vertex factors S [V].  # [V, V]."""
    return _bending(laplacian(vertices, edges), stiffness)


def _bending(flat: sp.csr_matrix, stiffness: Array | None) -> sp.csr_matrix:
    matrix = (flat.T @ (flat if stiffness is None else sp.diags(stiffness) @ flat)).tocsr()
    matrix.sort_indices()
    return matrix


def neighbourhoods(surface: Surface) -> sp.csr_matrix:
    """1 for every vertex and its neighbours over triangles' edges.  # [V, V]."""
    count, (i, j) = surface.vertex_count, surface.edges.T
    ends = np.r_[i, j, np.arange(count)], np.r_[j, i, np.arange(count)]
    return sp.coo_matrix((np.ones(len(ends[0])), ends), shape=(count, count)).tocsr()


def numbers_of(matrix: sp.csr_matrix, rows: Array, columns: Array) -> Array:
    """Which of the values of `matrix` those at `rows` and `columns` [N] are; -1 where it has none.  # [N]."""
    numbers = sp.csr_matrix((np.arange(1, matrix.nnz + 1), matrix.indices, matrix.indptr), shape=matrix.shape)
    return np.asarray(numbers[rows, columns]).ravel() - 1


def side_by_side(points: Array) -> Array:
    """An order of `points` [N, 3] in which neighbours in space are mostly neighbours.  # [N].

    Morton's curve (1966). What is done triangle after triangle finds its pixels where it has just been looking.
    """
    extent = max(float(np.ptp(points, axis=0).max()), 1e-300)
    cells = ((points - points.min(axis=0)) / extent * 1023).astype(np.int64)
    code = sum(((cells >> bit & 1) << (3 * bit + np.arange(3))).sum(axis=1) for bit in range(10))
    return np.argsort(code, kind="stable")


def build_surface(template: Template) -> Surface:
    """Prepare `template`."""
    count = len(template.vertices)
    triangles = template.triangles[side_by_side(template.vertices[template.triangles].mean(axis=1))].astype(np.int32)
    sides = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, side_edge = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    corner_starts, corners = _incidence(triangles.ravel(), count)
    side_starts, side_members = _incidence(side_edge.ravel(), len(edges))
    mesh_edges = template.edges
    lengths = np.linalg.norm(template.vertices[mesh_edges[:, 0]] - template.vertices[mesh_edges[:, 1]], axis=1)
    flat = laplacian(template.vertices, mesh_edges)
    stiffness = 1.0 + 100.0 * template.roles.get("t4d_stiff", np.zeros(count))
    ignore = template.roles.get("t4d_ignore", np.zeros(count))
    return Surface(
        triangles=triangles,
        corner_starts=corner_starts,
        corners=corners,
        edges=edges.astype(np.int32),
        side_starts=side_starts,
        sides=side_members,
        laplacian=flat,
        stiffness=stiffness,
        bending=_bending(flat, stiffness),
        edge_length=float(np.median(lengths)),
        looks=(1.0 - ignore[triangles].max(axis=1)).astype(np.float32),
        vertex_count=count,
    )
