"""Rigid motion between meshes and against plates."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import film_ball, grid

from topo4d_blender.core.track.rigid import align, rigid_step
from topo4d_blender.core.track.settings import TrackSettings
from topo4d_blender.core.track.solver import FrameSolver


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("flat", [False, True])
def test_align_agrees_with_scipy(weighted, flat):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 3)) * ([1, 1, 0] if flat else 1)
    target = Rotation.from_rotvec([0.4, -1.1, 2.0]).apply(source) + [3, -2, 1] + rng.normal(0, 0.1, (20, 3))
    weights = rng.uniform(0, 1, 20) if weighted else np.ones(20)
    rotation, shift = align(source, target, weights if weighted else None)
    a, b = weights @ source / weights.sum(), weights @ target / weights.sum()
    expected = Rotation.align_vectors(target - b, source - a, weights)[0].as_matrix()
    np.testing.assert_allclose(rotation, expected, atol=1e-9)
    np.testing.assert_allclose(rotation @ a + shift, b, atol=1e-12)


def test_align_never_mirrors():
    source = np.random.default_rng(1).normal(size=(20, 3))
    assert np.linalg.det(align(source, source * [-1, 1, 1])[0]) == pytest.approx(1)


class Spring:
    """A system whose energy is |x - displacement|^2 / 2, each vertex with a matrix of its own."""

    def __init__(self, displacement: np.ndarray):
        root = np.random.default_rng(2).normal(size=(len(displacement), 3, 3))
        self.blocks = root @ root.transpose(0, 2, 1)
        self.gradient = -np.einsum("vde,ve->vd", self.blocks, displacement)

    def times(self, x: np.ndarray, stiffness: float) -> np.ndarray:
        assert stiffness == 0  # the rigid motion bends nothing
        return np.einsum("vde,ve->vd", self.blocks, x)


@pytest.mark.parametrize("unit", [1.0, 1000.0])
def test_rigid_step_is_the_rigid_part_of_the_step(unit):
    vertices = unit * (grid(4, 4)[0] + [5, 2, 30] + np.random.default_rng(3).normal(0, 0.2, (25, 3)))
    turn, shift = Rotation.from_rotvec([0.002, -0.001, 0.003]), unit * np.array([0.01, 0.03, -0.02])
    centre = vertices.mean(axis=0)
    moved = turn.apply(vertices - centre) + centre + shift
    rotation, translation = rigid_step(Spring(moved - vertices), vertices)
    np.testing.assert_allclose(vertices @ rotation.T + translation, moved, atol=2e-5 * unit)
    np.testing.assert_allclose(rotation, turn.as_matrix(), atol=1e-5)


def test_rigid_steps_find_the_turn_of_the_filmed_ball(tmp_path):
    film = film_ball(tmp_path, motion_mm=0.0, turn_deg=2.0)
    solver = FrameSolver(film.template, film.cameras, TrackSettings())
    solver.remember(film.template.vertices, solver.pyramid(film.frames[0]))
    plates, vertices = solver.pyramid(film.frames[1])[0], film.template.vertices
    assert film.error_px(vertices, 1).max() > 1.3
    for most in (0.4, 0.15, 0.15):
        solver.memory[0].look(vertices)
        reading = solver.memory[0].read(vertices, plates, 1.0)
        solver.system.assemble(reading.hessian, reading.gradient)
        rotation, shift = rigid_step(solver.system, vertices)
        vertices = vertices @ rotation.T + shift
        assert film.error_px(vertices, 1).max() < most
    found = Rotation.from_matrix(align(film.template.vertices, vertices)[0]).as_rotvec(degrees=True)
    np.testing.assert_allclose(found, [0, 2, 0], atol=0.1)
