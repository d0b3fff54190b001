"""Vertices that no camera saw in the reference: inner lips, sockets, the back of the head.

Nothing measures them, so nothing but the prior may place them, and it must do so without memory of its own: their
displacement from the template (moved rigidly with the head) is the smoothest one that agrees with the vertices that
were seen. As it is solved from the template anew in every frame, it never drifts, and lips that shut come back.

The smoothest displacement of a surface goes on beyond the last seen vertex as it was going there: from the rim of a lip
far into the mouth. But behind a lip lies flesh, and on its other side skin that cameras see. So a hidden vertex is also
drawn, weakly, to the displacement of the skin across the flesh from it, the more the thinner it is.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from .rigid import align
from .surface import bending_matrix, side_by_side

Array = np.ndarray
SEEN = 1.0  # photometric stiffness, relative to the median, at which a vertex holds its place this firmly:
# Against the bending of one edge. In proportion: its square let go of rims that few pixels show (0.119 mm for 0.121).
HOLD = 1.0
LEAST = 1e-6  # so that an island nobody sees moves rigidly with the head
HIDDEN = 0.2  # of HOLD: what holds less is drawn to the skin across, what holds more may draw
# Of the draw across flesh as thick as the head's radius, against bending over it. Half of it is as good on two heads
# that talk; none is 15 % behind.
DRAW = 1000.0
BONE = 0.12  # of the head's radius: thicker flesh has bone in it, its two sides go their own ways
CANDIDATES, PARTNERS = 512, 32  # seen vertices nearest to a hidden one; those of them that draw it
SKIN = 8_000  # vertices are enough to stand for all skin that is seen
AT_ONCE = 1_000  # hidden vertices: what their candidates take of memory
THROUGH = 0.01  # of a path straight through the flesh: what counts less runs along the skin


class Carrier:
    """Carries hidden vertices along with seen ones; factorised once a take."""

    def __init__(self, vertices: Array, triangles: Array, edges: Array, stiffness: Array):
        """For the template's `vertices` [V, 3], `triangles` [T, 3] and `edges` [E, 2].

        `stiffness` [V] is photometric, relative to the median.
        """
        self.template = vertices
        self.hold = HOLD * np.minimum(stiffness / SEEN, 10.0) + LEAST
        across, draw = _across(vertices, triangles, edges, self.hold)
        self._load = sp.diags(self.hold) + sp.diags(draw) @ across
        matrix = (bending_matrix(vertices, edges) + sp.diags(self.hold + draw)).tocsc()
        self._factor = splu(matrix, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})

    def __call__(self, vertices: Array) -> Array:
        """`vertices` [V, 3] with the hidden ones placed.  # [V, 3]."""
        rotation, shift = align(self.template, vertices, self.hold)
        rest = self.template @ rotation.T + shift
        return rest + self._factor.solve(self._load @ (vertices - rest))


def _across(vertices: Array, triangles: Array, edges: Array, hold: Array) -> tuple[sp.csr_matrix, Array]:
    """The mean over the skin across the flesh from each hidden vertex [V, V], and how much it draws [V].

    Islands do not draw each other: an eyeball is no flesh of the lid, nor are teeth of a lip.
    """
    count = len(vertices)
    hidden, skin = np.flatnonzero(hold < HIDDEN * HOLD), np.flatnonzero(hold >= HIDDEN * HOLD)
    if not len(hidden) or not len(skin):
        return sp.csr_matrix((count, count)), np.zeros(count)
    skin = skin[side_by_side(vertices[skin])][:: -(-len(skin) // SKIN)]
    normals = _outward_normals(vertices, triangles)
    _, island = connected_components(sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)))
    edge = np.median(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1))
    radius = np.sqrt(((vertices - vertices.mean(axis=0)) ** 2).sum(axis=1).mean())
    tree = cKDTree(vertices[skin])
    near, nearness = [], []
    for some in np.array_split(hidden, -(-len(hidden) // AT_ONCE)):
        _, candidates = tree.query(vertices[some], k=np.arange(1, min(CANDIDATES, len(skin)) + 1))
        candidates = skin[candidates]
        through, thickness = _through_flesh(vertices, normals, some, candidates)
        through *= island[candidates] == island[some, None]
        close = through * radius / (thickness * (1 + (thickness / (BONE * radius)) ** 2))
        best = np.argsort(-close, axis=1, kind="stable")[:, :PARTNERS]
        near.append(np.take_along_axis(candidates, best, 1))
        nearness.append(np.take_along_axis(close, best, 1))
    near, nearness = np.concatenate(near), np.concatenate(nearness)
    total, partners = nearness.sum(axis=1), (nearness > 0).sum(axis=1)
    mean = nearness / np.maximum(total, 1e-300)[:, None]
    # Bending is a sum over vertices of squares over edges: on a finer mesh the same bend weighs less, as edge**4 does.
    draw = np.zeros(count)
    draw[hidden] = DRAW * (edge / radius) ** 4 * total / np.maximum(partners, 1)
    rows = np.repeat(hidden, near.shape[1])
    return sp.csr_matrix((mean.ravel(), (rows, near.ravel())), shape=(count, count)), draw


def _through_flesh(vertices: Array, normals: Array, hidden: Array, seen: Array) -> tuple[Array, Array]:
    """How far the paths from `hidden` [H] to `seen` [H, C] vertices run through flesh, 0..1, and their lengths.

    Through flesh is what leaves the one against its normal and arrives at the other along its normal.  # [H, C] both.
    """
    path = vertices[seen] - vertices[hidden, None]
    length = np.maximum(np.linalg.norm(path, axis=2), 1e-300)
    leaves = -np.einsum("hcd,hd->hc", path, normals[hidden]) / length
    arrives = np.einsum("hcd,hcd->hc", path, normals[seen]) / length
    through = (np.maximum(leaves, 0.0) * np.maximum(arrives, 0.0)) ** 2
    return np.where(through > THROUGH, through, 0.0), length


def _outward_normals(vertices: Array, triangles: Array) -> Array:
    """Unit normals of `vertices` [V, 3]; outward also where all of a mesh is wound inside out.  # [V, 3]."""
    corners = vertices[triangles]
    area = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    inside_out = np.einsum("td,td->", corners.mean(axis=1) - vertices.mean(axis=0), area) < 0
    normal = np.stack([np.bincount(triangles.ravel(), np.repeat(area[:, d], 3), len(vertices)) for d in range(3)], 1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-300)
    return -normal if inside_out else normal
