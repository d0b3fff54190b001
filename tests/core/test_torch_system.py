"""The device's linear system against the CPU's and against scipy's direct solver."""

import numpy as np
import pytest
import torch
import twins
from scipy.sparse import eye
from scipy.sparse.linalg import spsolve
from torch_devices import DEVICES
from track_scenes import sheet_template

from topo4d_blender.core.track import rigid, torch_rigid
from topo4d_blender.core.track.surface import bending_matrix, build_surface
from topo4d_blender.core.track.system import DAMPING, MeshSystem
from topo4d_blender.core.track.torch_system import TorchSystem, coarse_space

SHEET = sheet_template(16, 15)
SURFACE = build_surface(SHEET)
COUNT = SURFACE.vertex_count


def normal_equations() -> tuple[np.ndarray, np.ndarray]:
    """Of random pixels; one side of the sheet is seen by nobody."""
    rng = np.random.default_rng(1)
    count = len(SURFACE.triangles)
    hessian, gradient = np.zeros((count, 6, 6)), np.zeros((count, 3, 3))
    for t in np.flatnonzero(SHEET.vertices[SURFACE.triangles, 0].mean(axis=1) < 0.4):
        for _ in range(4):
            b, row, r = rng.dirichlet(np.ones(3)), rng.normal(size=3), rng.normal()
            h = np.outer(row, row)
            for m, (i, j) in enumerate(twins.PAIRS):
                hessian[t, m] += b[i] * b[j] * h[[0, 0, 0, 1, 1, 2], [0, 1, 2, 1, 2, 2]]
            gradient[t] += b[:, None] * row * r
    return hessian, gradient


def both(device: str) -> tuple[MeshSystem, TorchSystem]:
    mesh, ours = MeshSystem(SURFACE), TorchSystem(SURFACE, SHEET.vertices, torch.device(device))
    hessian, gradient = normal_equations()
    mesh.assemble(hessian, gradient)
    ours.assemble(torch.as_tensor(hessian, device=device), torch.as_tensor(gradient, device=device))
    ours.prepare(mesh.relative_stiffness())
    return mesh, ours


@pytest.mark.parametrize("device", DEVICES)
def test_the_matrix_is_the_cpus(device):
    mesh, ours = both(device)
    x = np.random.default_rng(2).normal(size=(COUNT, 3))
    there = torch.as_tensor(x, device=device)
    np.testing.assert_allclose(ours.times(there).cpu().numpy(), mesh.times(x, 0.0), atol=1e-11)
    np.testing.assert_allclose(ours.bend(there).cpu().numpy(), SURFACE.bending @ x, atol=1e-11)
    np.testing.assert_allclose(ours.gradient.cpu().numpy(), mesh.gradient, atol=1e-11)
    assert float(ours.median_stiffness()) == pytest.approx(mesh.median_stiffness())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("relative", [0.0, 1.0, 100.0, 3e3, 1e5, 1e6])
def test_a_step_of_any_stiffness_is_that_of_a_direct_solver(device, relative):
    mesh, ours = both(device)
    unit = mesh.median_stiffness()
    stiffness = relative * unit
    prior = stiffness * (SURFACE.bending @ np.random.default_rng(3).normal(0, 0.01, (COUNT, 3)))
    full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, SURFACE.bending, stiffness)
    exact = spsolve((full + DAMPING * unit * eye(3 * COUNT)).tocsc(), -(mesh.gradient + prior).ravel()).reshape(-1, 3)
    step = ours.solve(torch.as_tensor(prior, device=device), torch.tensor(stiffness, device=device).double())
    seen = mesh.relative_stiffness() > 0
    error = np.linalg.norm(step.cpu().numpy() - exact, axis=1)
    assert error[seen].max() < 0.01 * np.linalg.norm(exact, axis=1)[seen].max()


@pytest.mark.parametrize("device", DEVICES)
def test_where_nothing_is_seen_nothing_moves(device):
    _, ours = both(device)
    ours.assemble(*(torch.zeros(len(SURFACE.triangles), *s, device=device) for s in ((6, 6), (3, 3))))
    vertices = torch.as_tensor(SHEET.vertices, device=device)
    assert (ours.solve(torch.ones_like(vertices), torch.tensor(torch.nan, device=device)) == 0).all()
    rotation, shift = torch_rigid.rigid_step(ours, vertices)
    assert torch.equal(rotation.cpu(), torch.eye(3).double()) and (shift.abs() < 1e-15).all()


@pytest.mark.parametrize("device", DEVICES)
def test_the_rigid_step_is_the_cpus(device):
    mesh, ours = both(device)
    for a, b in zip(
        rigid.rigid_step(mesh, SHEET.vertices),
        torch_rigid.rigid_step(ours, torch.as_tensor(SHEET.vertices, device=device)),
        strict=True,
    ):
        np.testing.assert_allclose(b.cpu().numpy(), a, atol=1e-9)


def test_the_coarse_space_holds_every_island_still_and_straight():
    """Handles that move alike move all of an island alike: constants are in the space."""
    basis = coarse_space(SURFACE.bending, SHEET.vertices)
    assert 4 <= basis.shape[1] <= COUNT // 32
    np.testing.assert_allclose(basis.sum(axis=1), 1.0, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_another_bending_takes_the_place_of_the_first_one(device):
    """In the matrix, in its product and in the recorded solution; but not in a system made beside this one."""
    mesh, ours = both(device)
    beside = ours.another()
    weight = np.random.default_rng(5).uniform(0.1, 3, COUNT)
    other = bending_matrix(SHEET.vertices, SHEET.edges, weight)
    ours.put_bending(other)
    x = np.random.default_rng(6).normal(size=(COUNT, 3))
    there = torch.as_tensor(x, device=device)
    np.testing.assert_allclose(ours.bend(there).cpu().numpy(), other @ x, atol=1e-11)
    np.testing.assert_allclose(beside.bend(there).cpu().numpy(), SURFACE.bending @ x, atol=1e-11)
    unit = mesh.median_stiffness()
    prior, stiffness = 100 * unit * (other @ (0.01 * x)), 100 * unit
    beside.prepare(mesh.relative_stiffness())
    for system, bending in ((ours, other), (beside, SURFACE.bending)):
        full = twins.matrix(mesh.diagonal, SURFACE.edges, mesh.edge_blocks, bending, stiffness)
        exact = spsolve((full + DAMPING * unit * eye(3 * COUNT)).tocsc(), -(mesh.gradient + prior).ravel())
        given = torch.as_tensor(prior, device=device), torch.tensor(stiffness, device=device).double()
        error = np.linalg.norm(system.solve(*given).cpu().numpy() - exact.reshape(-1, 3), axis=1)
        assert error[mesh.relative_stiffness() > 0].max() < 0.01 * np.linalg.norm(exact.reshape(-1, 3), axis=1).max()
