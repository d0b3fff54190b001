"""Rigid motion between meshes and against plates, and what the rigid motion and the seen surface carry along."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import film_ball, grid, sheet_template

from topo4d_blender.core.track.carry import Carrier
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


# ---- what is hidden is carried


@pytest.fixture
def half_seen() -> tuple[Carrier, np.ndarray, np.ndarray]:
    """A sheet whose right half no camera saw, and which vertices were seen."""
    template = sheet_template(12, 8)
    seen = template.vertices[:, 0] < 0
    return Carrier(template.vertices, template.edges, seen * 5.0), template.vertices, seen


def test_a_rigid_motion_is_carried_exactly(half_seen):
    carrier, vertices, seen = half_seen
    moved = Rotation.from_rotvec([0.3, 0.5, -0.2]).apply(vertices) + [1, 2, 3]
    lost = np.where(seen[:, None], moved, moved + 0.1)  # where a hidden vertex is said to be does not matter
    np.testing.assert_allclose(carrier(lost), moved, atol=5e-4)


def test_seen_vertices_stay_and_hidden_ones_go_on_without_a_step(half_seen):
    carrier, vertices, seen = half_seen
    moved = vertices + 0.1 * np.sin(2 * vertices[:, [1, 0, 0]])
    placed = carrier(np.where(seen[:, None], moved, moved + 0.1))
    assert np.abs(placed - moved)[seen].max() < 0.01
    near = ~seen & (vertices[:, 0] < 0.2)
    assert np.abs(placed - moved)[near].max() < 0.05


def test_what_is_carried_has_no_memory(half_seen):
    carrier, vertices, seen = half_seen
    once = carrier(np.where(seen[:, None], vertices, vertices + 0.1))
    np.testing.assert_allclose(once, vertices, atol=5e-4)
    np.testing.assert_allclose(carrier(once), vertices, atol=1e-5)


def test_an_island_that_nobody_sees_goes_with_the_head():
    sheet = sheet_template(6, 6)
    count = len(sheet.vertices)
    vertices = np.concatenate([sheet.vertices, 0.2 * sheet.vertices + [0, 0, 0.5]])
    stiffness = np.repeat([5.0, 0.0], count)
    carrier = Carrier(vertices, np.concatenate([sheet.edges, sheet.edges + count]), stiffness)
    moved = Rotation.from_rotvec([0.3, 0.5, -0.2]).apply(vertices) + [1, 2, 3]
    lost = moved.copy()
    lost[count:] += 0.1
    placed = carrier(lost)
    np.testing.assert_allclose(placed[:count], moved[:count], atol=1e-4)
    assert np.ptp(placed[count:] - moved[count:], axis=0).max() < 1e-3
