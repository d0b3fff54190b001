"""The linear system against scipy's direct solver, and the surface's lists and priors against plain sums."""

import numba as nb
import numpy as np
import pytest
import twins
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve
from track_scenes import grid, sheet_template

from topo4d_blender.core.track import system, system_kernels
from topo4d_blender.core.track.surface import bending_matrix, build_surface
from topo4d_blender.core.track.system import DAMPING, STIFF, MeshSystem

SURFACE = build_surface(sheet_template(8, 7))
COUNT = SURFACE.vertex_count


@pytest.fixture
def assembled() -> tuple[MeshSystem, np.ndarray, np.ndarray]:
    """A system of random triangles (a fifth of them unseen), and its J'WJ [3 V, 3 V] and J'Wr [V, 3] made plainly."""
    rng = np.random.default_rng(1)
    count = len(SURFACE.triangles)
    hessian, gradient = np.zeros((count, 6, 6)), np.zeros((count, 3, 3))
    for t in range(count):
        if rng.random() < 0.2:
            continue
        for _ in range(4):  # pixels
            b, rows, r = rng.dirichlet(np.ones(3)), rng.normal(size=(3, 3)), rng.normal(size=3)
            h = rows.T @ rows
            for m, (i, j) in enumerate(twins.PAIRS):
                hessian[t, m] += b[i] * b[j] * h[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
            gradient[t] += b[:, None] * (rows.T @ r)
    mesh = MeshSystem(SURFACE)
    mesh.assemble(hessian, gradient)
    summed = np.zeros((COUNT, 3))
    np.add.at(summed, SURFACE.triangles, gradient)
    return mesh, twins.triangle_matrix(SURFACE.triangles, hessian, COUNT), summed


def arrays(mesh: MeshSystem) -> tuple:
    b = SURFACE.bending
    starts, column, edge = mesh._blocks
    return mesh.diagonal, starts, column, edge, mesh.edge_blocks, b.indptr, b.indices, b.data


def test_assembly_is_the_plain_sum_over_triangles(assembled):
    mesh, dense, gradient = assembled
    full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, SURFACE.bending, 0.0)
    np.testing.assert_allclose(full.toarray(), dense, atol=1e-12)
    np.testing.assert_allclose(mesh.gradient, gradient, atol=1e-12)


@pytest.mark.parametrize("stiffness", [0.0, 3.0])
def test_multiply_agrees_with_its_twin(assembled, stiffness):
    mesh, dense, _ = assembled
    x = np.random.default_rng(2).normal(size=(COUNT, 3))
    full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, SURFACE.bending, stiffness)
    y = np.full_like(x, 9.0)
    system_kernels.multiply(*arrays(mesh), stiffness, x, y)
    np.testing.assert_allclose(y, twins.multiply(full, x), atol=1e-11)
    np.testing.assert_array_equal(mesh.times(x, stiffness), y)
    if stiffness == 0:
        np.testing.assert_allclose(y.ravel(), dense @ x.ravel(), atol=1e-11)


@pytest.mark.parametrize(("tolerance", "iterations"), [(1e-12, 500), (1e-2, 500), (1e-12, 7)])
def test_conjugate_gradients_agree_with_their_twin_and_with_a_direct_solver(assembled, tolerance, iterations):
    mesh, _, gradient = assembled
    stiffness = 2.0
    mesh.diagonal[:, [0, 3, 5]] += 0.01
    full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, SURFACE.bending, stiffness)
    inverse = np.linalg.inv(np.stack([full[i : i + 3, i : i + 3].toarray() for i in range(0, 3 * COUNT, 3)]))
    slow, slow_left, slow_steps = twins.conjugate_gradients(full, inverse, gradient, tolerance, iterations)
    left, x = gradient.copy(), np.full((COUNT, 3), 9.0)
    steps = system_kernels.conjugate_gradients(*arrays(mesh), stiffness, inverse, left, tolerance, iterations, x)
    assert steps == pytest.approx(slow_steps, abs=2) and (steps < iterations or iterations == 7)
    np.testing.assert_allclose(x, slow, atol=1e-6 * np.abs(slow).max())
    np.testing.assert_allclose(left, slow_left, atol=1e-6 * np.abs(gradient).max())
    np.testing.assert_allclose(left, gradient - twins.multiply(full, x), atol=1e-9)  # what it says is left, is
    if steps < iterations and tolerance < 1e-9:
        direct = spsolve(full, gradient.ravel()).reshape(-1, 3)
        np.testing.assert_allclose(x, direct, atol=1e-8 * np.abs(direct).max())


@pytest.mark.skipif(nb.config.NUMBA_NUM_THREADS < 2, reason="one processor")
def test_conjugate_gradients_are_the_same_bits_on_any_number_of_threads(assembled):
    mesh, _, gradient = assembled
    inverse, results, threads = np.tile(np.eye(3), (COUNT, 1, 1)), [], nb.get_num_threads()
    for count in (1, threads):
        nb.set_num_threads(count)
        left, x = gradient.copy(), np.empty((COUNT, 3))
        system_kernels.conjugate_gradients(*arrays(mesh), 2.0, inverse, left, 1e-9, 25, x)
        results.append(x)
    nb.set_num_threads(threads)
    np.testing.assert_array_equal(results[0], results[1])


def test_nothing_to_solve_is_solved_in_no_step(assembled):
    mesh = assembled[0]
    x = np.full((COUNT, 3), 9.0)
    inverse = np.tile(np.eye(3), (COUNT, 1, 1))
    assert system_kernels.conjugate_gradients(*arrays(mesh), 1.0, inverse, np.zeros((COUNT, 3)), 1e-3, 9, x) == 0
    assert (x == 0).all()


OTHER = bending_matrix(
    sheet_template(8, 7).vertices, sheet_template(8, 7).edges, np.random.default_rng(5).uniform(0.1, 3, COUNT)
)


@pytest.mark.parametrize("bending", [SURFACE.bending, OTHER], ids=["surface's", "another"])
@pytest.mark.parametrize("relative", [0.5 * STIFF, 5 * STIFF, 1000 * STIFF])
def test_solve_is_the_direct_solution(assembled, monkeypatch, relative, bending):
    """The soft path and the factorised one, carried to the end, against scipy.sparse.linalg.spsolve.

    Another bending than the surface's is solved with the factorisations of the surface's.
    """
    monkeypatch.setattr(system, "TOLERANCE", 1e-11)
    monkeypatch.setattr(system, "ITERATIONS", 5000)
    mesh, dense, gradient = assembled
    mesh.prepare()
    mesh.bending = bending
    unit = mesh.median_stiffness()
    bend = np.random.default_rng(3).normal(size=gradient.shape)
    full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, bending, relative * unit).toarray()
    np.fill_diagonal(full, full.diagonal() + DAMPING * unit)
    direct = spsolve(csr_matrix(full), -(gradient + bend).ravel()).reshape(-1, 3)
    step = mesh.solve(bend, relative * unit)
    np.testing.assert_allclose(step, direct, atol=1e-5 * np.abs(direct).max())


@pytest.mark.parametrize("relative", [0.1, 5 * STIFF, 1000 * STIFF])
def test_solve_as_it_is_set_is_near_enough(assembled, relative):
    """With the tracker's own tolerance and iterations the energy falls by all but a hundredth of what it can."""
    mesh, dense, gradient = assembled
    mesh.prepare()
    unit = mesh.median_stiffness()
    full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, SURFACE.bending, relative * unit).toarray()
    np.fill_diagonal(full, full.diagonal() + DAMPING * unit)
    best = -gradient.ravel() @ np.linalg.solve(full, gradient.ravel()) / 2
    step = mesh.solve(np.zeros_like(gradient), relative * unit).ravel()
    assert step @ full @ step / 2 + step @ gradient.ravel() < 0.99 * best


def test_median_stiffness_is_that_of_the_seen_vertices(assembled):
    mesh, dense, _ = assembled
    traces = np.array([np.trace(dense[i : i + 3, i : i + 3]) / 3 for i in range(0, 3 * COUNT, 3)])
    assert mesh.median_stiffness() == pytest.approx(np.median(traces[traces > 0]))
    mesh.diagonal[:] = 0
    assert mesh.median_stiffness() == 0


# ---- the surface


def test_bending_is_the_squared_laplacian_of_the_displacement():
    vertices = grid(4, 3)[0] + np.random.default_rng(5).normal(0, 0.1, (20, 3))
    edges = sheet_template(4, 3).edges
    stiffness = np.linspace(0, 2, len(vertices))
    d = np.random.default_rng(4).normal(size=len(vertices))
    rings = [[] for _ in vertices]
    for i, j in edges:
        rings[i].append(j)
        rings[j].append(i)
    bending = 0.0
    for i, (s, ring) in enumerate(zip(stiffness, rings, strict=True)):
        weights = 1 / np.linalg.norm(vertices[ring] - vertices[i], axis=1)
        bending += s * (d[i] - np.average(d[ring], weights=weights)) ** 2
    assert d @ bending_matrix(vertices, edges, stiffness) @ d == pytest.approx(bending)


def test_a_loose_vertex_costs_nothing_and_is_left_where_it_is():
    b = bending_matrix(np.eye(4, 3), np.array([[0, 1], [1, 2], [0, 2]])).toarray()
    assert np.isfinite(b).all() and (b[3] == 0).all() and (b[:, 3] == 0).all()


def test_roles_set_where_to_look_and_what_is_stiff():
    ignore, stiff = np.zeros(COUNT), np.zeros(COUNT)
    ignore[10], stiff[20] = 0.25, 1.0
    surface = build_surface(sheet_template(8, 7, t4d_ignore=ignore, t4d_stiff=stiff))
    touched = (surface.triangles == 10).any(axis=1)
    np.testing.assert_allclose(surface.looks, np.where(touched, 0.75, 1.0))
    bump = np.eye(COUNT)[20]
    assert bump @ surface.bending @ bump > 50 * bump @ SURFACE.bending @ bump
    bump = np.eye(COUNT)[60]
    assert bump @ surface.bending @ bump == pytest.approx(bump @ SURFACE.bending @ bump)
