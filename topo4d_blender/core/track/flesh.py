"""What lies across the flesh from vertices that no camera sees: the skin that the inside of a lip goes along with.

A path from a hidden vertex to a seen one runs through flesh if it leaves the one against its normal and arrives at the
other along its normal. The skin at the ends of the shortest of these paths draws the hidden vertex, the more the
thinner the flesh. Knows the mesh and what was seen of it, once a reference; `carry` uses it.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from .sight import face_normals, vertex_normals

Array = np.ndarray
# Of the draw across flesh as thick as the head's radius (RMS), against bending over it. Half of it is as good on two
# heads that talk.
DRAW = 1000.0
MOST = 0.2  # of the draw, against the bending of one edge: on a coarse mesh too it only leans on the smoothest
BONE = 0.12  # of the head's radius: thicker flesh has bone in it, its two sides go their own ways
CANDIDATES, PARTNERS = 512, 32  # seen vertices nearest to a hidden one; those of them that draw it
AT_ONCE = 1_000  # hidden vertices: what their candidates take of memory


def across_flesh(vertices: Array, triangles: Array, edges: Array, hidden: Array) -> tuple[sp.csr_matrix, Array]:
    """The mean over the skin across the flesh from each hidden vertex [V, V], and how much it draws [V].

    Of `vertices` [V, 3] with `triangles` [T, 3] and `edges` [E, 2]; `hidden` [V] is 1 where nothing of one is seen, 0
    where it is seen, and between where few pixels show it. Islands do not draw each other: an eyeball is no flesh of
    the lid, nor are teeth of a lip.
    """
    count = len(vertices)
    _, island = connected_components(sp.coo_matrix((np.ones(len(edges)), edges.T), shape=(count, count)))
    normals = _outward_normals(vertices, triangles, island)
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    draw, found = np.zeros(count), []
    for one in np.unique(island[hidden > 0]):
        here = island == one
        skin, away = np.flatnonzero(here & (hidden == 0)), np.flatnonzero(here & (hidden > 0))
        if not len(skin):
            continue
        edge = float(np.median(lengths[here[edges[:, 0]]]))
        radius = max(float(np.sqrt(vertices[here].var(axis=0).sum())), edge, 1e-300)
        tree = cKDTree(vertices[skin])
        # Bending sums squares over edges: on a finer mesh the same bend weighs less, as the fourth power of an edge.
        scale = DRAW * (edge / radius) ** 4
        for some in np.array_split(away, -(-len(away) // AT_ONCE)):
            # A list, so that one candidate is an axis too.
            _, near = tree.query(vertices[some], k=list(range(1, min(CANDIDATES, len(skin)) + 1)))
            near, weight = _partners(vertices, normals, some, skin[near], edge, radius)
            total = weight.sum(axis=1)
            draw[some] = np.minimum(scale * total / np.maximum((weight > 0).sum(axis=1), 1), MOST)
            share = weight / np.maximum(total, 1e-300)[:, None]
            found.append((np.repeat(some, near.shape[1]), near.ravel(), share.ravel()))
    rows, columns, shares = (np.concatenate(part) for part in zip(*found, strict=True)) if found else ([], [], [])
    across = sp.csr_matrix((shares, (rows, columns)), shape=(count, count))
    across.eliminate_zeros()
    return across, hidden * draw


def _partners(
    vertices: Array, normals: Array, hidden: Array, seen: Array, edge: float, radius: float
) -> tuple[Array, Array]:
    """Of the `seen` candidates [H, C] of the `hidden` vertices [H] those that draw most, and their weights: [H, P].

    The weight is that of the straight path over its length in radii. No flesh is taken for thinner than an `edge`:
    lips that lie a little in each other would draw each other.
    """
    path = vertices[seen] - vertices[hidden, None]
    length = np.maximum(np.linalg.norm(path, axis=2), 1e-300)
    through = through_flesh(path / length[..., None], normals[hidden], normals[seen])
    thickness = np.maximum(length, edge) / radius
    weight = through / (thickness * (1 + (thickness / BONE) ** 2))
    best = np.argsort(-weight, axis=1, kind="stable")[:, :PARTNERS]
    return np.take_along_axis(seen, best, 1), np.take_along_axis(weight, best, 1)


def through_flesh(directions: Array, leaving: Array, arriving: Array) -> Array:
    """How far paths run through flesh, 0..1: straight from side to side 1, along the skin or through air 0.  # [H, C].

    The paths have unit `directions` [H, C, 3] and go from vertices with normals `leaving` [H, 3] to others with normals
    `arriving` [H, C, 3].
    """
    leaves = -np.einsum("hcd,hd->hc", directions, leaving)
    arrives = np.einsum("hcd,hcd->hc", directions, arriving)
    return (np.maximum(leaves, 0.0) * np.maximum(arrives, 0.0)) ** 2


def _outward_normals(vertices: Array, triangles: Array, island: Array) -> Array:
    """Unit normals of `vertices` [V, 3]; outward also where all of an `island` [V] is wound inside out.  # [V, 3]."""
    of, count = island[triangles[:, 0]], island.max() + 1
    members = np.maximum(np.bincount(island, minlength=count), 1)
    middle = np.stack([np.bincount(island, vertices[:, d], count) for d in range(3)], axis=1) / members[:, None]
    outward = np.einsum("td,td->t", vertices[triangles].mean(axis=1) - middle[of], face_normals(vertices, triangles))
    volume = np.bincount(of, outward, count)
    return np.where(volume < 0, -1.0, 1.0)[island][:, None] * vertex_normals(vertices, triangles)
