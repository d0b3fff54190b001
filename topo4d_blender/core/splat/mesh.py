"""One Gaussian a vertex: the Gaussian Mesh of the paper (3.2), from a mesh to Gaussians' places, turns and sizes.

Source: "Topo4D: Topology-Preserving Gaussian Splatting for High-Fidelity 4D Head Capture", ECCV 2024. Its public code
takes the nearest of all vertices for the size and turns Gaussians by an axis that is not of unit length; here both are
as the paper says.
"""

from __future__ import annotations

import numpy as np

Array = np.ndarray


def nearest_in_ring(vertices: Array, edges: Array) -> Array:
    """Distance of each vertex to its nearest neighbour along `edges` [E, 2].  # [V]; the median where it has none.

    Neighbours at the very same place do not count: a Gaussian without size would never be seen again.
    """
    lengths = np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)
    lengths[lengths == 0] = np.inf
    nearest = np.full(len(vertices), np.inf)
    for end in edges.T:  # one at a time: numpy 1.26 reads past the end of what it should broadcast here
        np.minimum.at(nearest, end, lengths)
    some = np.isfinite(nearest)
    return np.where(some, nearest, np.median(nearest[some]) if some.any() else 1.0)


def quats_from_normals(normals: Array) -> Array:
    """The shortest rotation of the x axis to each unit normal [V, 3], as quaternions w x y z.  # [V, 4], unit.

    Where the normal is 0 (a loose vertex) no rotation; where it is -x, half a turn about z.
    """
    w = 1 + normals[:, 0]
    quats = np.stack([w, np.zeros_like(w), -normals[:, 2], normals[:, 1]], axis=1)  # x cross normal
    lengths = np.linalg.norm(quats, axis=1, keepdims=True)
    return np.where(lengths < 1e-6, [0.0, 0.0, 0.0, 1.0], quats / np.maximum(lengths, 1e-6))
