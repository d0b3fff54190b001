"""One Gaussian a vertex: sizes from the nearest neighbour in the ring, rotations from the normals."""

import numpy as np
import torch

from topo4d_blender.core.splat.mesh import nearest_in_ring, quats_from_normals
from topo4d_blender.core.splat.torch_reference import rotation_matrices


def test_the_nearest_neighbour_along_an_edge():
    vertices = np.array([[0, 0, 0], [3, 0, 0], [3, 4, 0], [0.1, 0, 0], [0.1, 0, 0], [9, 9, 9]], float)
    edges = np.array([[0, 1], [1, 2], [0, 2], [3, 4], [2, 4]])  # 3 is near 0, but not joined to it
    found = nearest_in_ring(vertices, edges)
    reach = np.hypot(2.9, 4)
    assert np.allclose(found[:3], [3, 3, 4]) and np.allclose(found[4], reach)
    usual = np.median([3, 3, 4, reach])
    assert np.allclose(found[[3, 5]], usual)  # joined only to its own place, or to nothing


def test_the_nearest_neighbour_is_found_on_a_large_mesh_too():
    rng = np.random.default_rng(0)
    vertices, edges = rng.normal(size=(3000, 3)), rng.integers(0, 3000, (9000, 2))
    edges = edges[edges[:, 0] != edges[:, 1]]
    truth = np.full(3000, np.inf)
    for i, j in edges:
        length = np.linalg.norm(vertices[i] - vertices[j])
        truth[i], truth[j] = min(truth[i], length), min(truth[j], length)
    some = np.isfinite(truth)
    # A length's last bit is the processor's: one norm of three numbers and a row of norms are summed by other code.
    assert np.allclose(nearest_in_ring(vertices, edges)[some], truth[some], rtol=1e-14, atol=0)


def test_the_x_axis_is_turned_to_the_normal():
    rng = np.random.default_rng(1)
    normals = rng.normal(size=(50, 3))
    normals[:4] = [[1, 0, 0], [-1, 0, 0], [0, 1, 0], [-1, 1e-5, 0]]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    quats = quats_from_normals(np.concatenate([normals, [[0, 0, 0]]]))
    assert np.allclose(np.linalg.norm(quats, axis=1), 1)
    turned = rotation_matrices(torch.from_numpy(quats)).numpy()[:, :, 0]
    assert np.allclose(turned[:-1], normals, atol=1e-5)
    assert np.allclose(turned[-1], [1, 0, 0])
