"""Rigid motion: of the head against the plates (six unknowns of the same normal equations) and between two meshes."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from .system import MeshSystem

Array = np.ndarray


def rigid_step(system: MeshSystem, vertices: Array) -> tuple[Array, Array]:
    """The rigid motion (rotation [3, 3], translation [3]) that one Gauss-Newton step of `system` asks of all vertices.

    The step is restricted to the six rigid modes about the vertices' centre: P'HP x = -P'g.
    """
    centre = vertices.mean(axis=0)
    arm = vertices - centre
    size = np.sqrt((arm**2).sum(axis=1).mean())
    modes = np.zeros((6, len(vertices), 3))
    for d in range(3):
        modes[d, :, d] = 1.0
        modes[3 + d] = np.cross(np.eye(3)[d], arm) / size
    products = np.stack([system.times(mode, 0.0) for mode in modes])
    normal = np.einsum("avd,bvd->ab", modes, products)
    right = -np.einsum("avd,vd->a", modes, system.gradient)
    x = np.linalg.solve(normal + 1e-6 * np.trace(normal) * np.eye(6), right)
    rotation = Rotation.from_rotvec(x[3:] / size).as_matrix()
    return rotation, centre + x[:3] - rotation @ centre


def align(source: Array, target: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """The rotation and translation that bring `source` [N, 3] nearest to `target` [N, 3] in least squares (Kabsch)."""
    w = np.ones(len(source)) if weights is None else weights
    w = w / w.sum()
    a, b = w @ source, w @ target
    u, _, vt = np.linalg.svd((source - a).T @ ((target - b) * w[:, None]))
    flip = np.diag([1.0, 1.0, np.sign(np.linalg.det(vt.T @ u.T))])
    rotation = vt.T @ flip @ u.T
    return rotation, b - rotation @ a
