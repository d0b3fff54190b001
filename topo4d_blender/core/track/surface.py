"""The tracked surface: topology prepared for the tracker, normals, samples, and the bending prior's matrix."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from ..template import Template
from ..template.samples import SurfaceSamples, sample_surface

Array = np.ndarray


@dataclass(frozen=True)
class Surface:
    """What stays the same through a take."""

    triangles: Array  # [T, 3] int32
    samples: SurfaceSamples
    sample_triangle: Array  # [S] int32
    corner_starts: Array  # [V + 1] int32: corners (3 t + i) of each vertex
    corners: Array  # [3 T] int32
    edges: Array  # [E, 2] int32, of the triangles
    side_starts: Array  # [E + 1] int32: triangle sides (3 t + i, between corners i and i + 1) of each edge
    sides: Array  # [3 T] int32
    bending: sp.csr_matrix  # [V, V]: d' B d is the squared bending of a displacement d, a scalar a coordinate
    edge_length: float  # median, capture units
    ignored: Array  # [S] float32: share of each sample that must not look at pixels (role t4d_ignore)
    vertex_count: int

    def normals(self, vertices: Array) -> tuple[Array, Array]:
        """Unit normals of vertices [V, 3] and samples [S, 3], area-weighted."""
        a, b, c = (vertices[self.triangles[:, i]] for i in range(3))
        face = np.cross(b - a, c - a)
        sums = np.empty((self.vertex_count, 3))
        for d in range(3):
            sums[:, d] = np.bincount(self.triangles.ravel(), np.repeat(face[:, d], 3), self.vertex_count)
        vertex = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-300)
        sample = np.einsum("sc,scd->sd", self.samples.barycentric, vertex[self.triangles[self.sample_triangle]])
        sample /= np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-300)
        return vertex, sample

    def positions(self, vertices: Array) -> Array:
        """Where the samples lie.  # [S, 3] float64."""
        return np.einsum("sc,scd->sd", self.samples.barycentric, vertices[self.triangles[self.sample_triangle]])


def _incidence(owners: Array, count: int) -> tuple[Array, Array]:
    """CSR lists of the positions at which each owner occurs: (starts [count + 1], members), members ascending."""
    members = np.argsort(owners, kind="stable").astype(np.int32)
    starts = np.concatenate([[0], np.cumsum(np.bincount(owners, minlength=count))]).astype(np.int32)
    return starts, members


def bending_matrix(edges: Array, vertex_count: int, stiffness: Array | None = None) -> sp.csr_matrix:
    """B = L' S L with the uniform graph Laplacian L = I - D^-1 A and per-vertex factors S.  # [V, V]."""
    i, j = edges.T
    adjacency = sp.coo_matrix((np.ones(len(edges)), (i, j)), shape=(vertex_count, vertex_count))
    adjacency = (adjacency + adjacency.T).tocsr()
    degree = np.asarray(adjacency.sum(1)).ravel()
    laplacian = sp.diags((degree > 0).astype(float)) - sp.diags(1 / np.maximum(degree, 1)) @ adjacency
    weights = sp.diags(np.ones(vertex_count) if stiffness is None else stiffness)
    matrix = (laplacian.T @ weights @ laplacian).tocsr()
    matrix.sort_indices()
    return matrix


def build_surface(template: Template, spacing: float) -> Surface:
    """Prepare `template`; samples lie about `spacing` (capture units) apart."""
    count = len(template.vertices)
    triangles = np.ascontiguousarray(template.triangles, np.int32)
    sides = np.stack([triangles, np.roll(triangles, -1, axis=1)], axis=2).reshape(-1, 2)
    edges, side_edge = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    samples = sample_surface(template.vertices, triangles, spacing)
    corner_starts, corners = _incidence(triangles.ravel(), count)
    side_starts, side_members = _incidence(side_edge.ravel(), len(edges))
    mesh_edges = template.edges
    lengths = np.linalg.norm(template.vertices[mesh_edges[:, 0]] - template.vertices[mesh_edges[:, 1]], axis=1)
    stiffness = 1.0 + 100.0 * template.roles.get("t4d_stiff", np.zeros(count))
    ignore = template.roles.get("t4d_ignore", np.zeros(count))
    sample_triangle = samples.triangle
    return Surface(
        triangles=triangles,
        samples=samples,
        sample_triangle=sample_triangle,
        corner_starts=corner_starts,
        corners=corners,
        edges=edges.astype(np.int32),
        side_starts=side_starts,
        sides=side_members,
        bending=bending_matrix(mesh_edges, count, stiffness),
        edge_length=float(np.median(lengths)),
        ignored=np.einsum("sc,sc->s", samples.barycentric, ignore[triangles[sample_triangle]]).astype(np.float32),
        vertex_count=count,
    )
