"""What nobody saw is carried along: by the seen surface around it and by the skin across the flesh."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import grid, sheet_template

from topo4d_blender.core.track.carry import Carrier
from topo4d_blender.core.track.rigid import align


@pytest.fixture
def half_seen() -> tuple[Carrier, np.ndarray, np.ndarray]:
    """A sheet whose right half no camera saw, and which vertices were seen."""
    template = sheet_template(12, 8)
    seen = template.vertices[:, 0] < 0
    return Carrier(template.vertices, template.triangles, template.edges, seen * 5.0), template.vertices, seen


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
    both = (np.concatenate([part, part + count]) for part in (sheet.triangles, sheet.edges))
    carrier = Carrier(vertices, *both, stiffness)
    moved = Rotation.from_rotvec([0.3, 0.5, -0.2]).apply(vertices) + [1, 2, 3]
    lost = moved.copy()
    lost[count:] += 0.1
    placed = carrier(lost)
    np.testing.assert_allclose(placed[:count], moved[:count], atol=1e-4)
    assert np.ptp(placed[count:] - moved[count:], axis=0).max() < 1e-3


# ---- across the flesh

OUTLINE = np.array([[-1, 0.25], [0, 0.25], [0, 0.05], [-0.6, 0.05], [-0.6, -0.05], [0, -0.05], [0, -0.25], [-1, -0.25]])


def mouth(unit: float = 1.0, inside_out: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Two lips that face each other, from `OUTLINE`: vertices [V, 3], triangles, edges and which vertices are skin."""
    sheet, triangles = grid(20, 80)
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(OUTLINE, axis=0), axis=1))]
    along = 0.5 * (sheet[:, 1] + 1) * lengths[-1]
    y, z = (np.interp(along, lengths, column) for column in OUTLINE.T)
    edges = np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)
    triangles = triangles[:, ::-1] if inside_out else triangles
    return unit * np.stack([sheet[:, 0], y, z], axis=1), triangles, edges, np.abs(z) > 0.2


def insides(**more: object) -> tuple[float, float]:
    """How far the insides of the upper and the lower lip go where the upper lip's skin goes by 1."""
    vertices, triangles, edges, skin = mouth(**more)
    unit = more.get("unit", 1.0)
    carrier = Carrier(vertices, triangles, edges, skin * 5.0)
    x, y, z = vertices.T / unit
    middle = np.exp(-(x**2 + (y + 0.3) ** 2) / 0.1)
    pull = 0.1 * unit * (middle * skin * (z > 0))[:, None] * [1.0, 0, 0]
    gone = (carrier(vertices + pull) - vertices) / unit / 0.1
    np.testing.assert_allclose(gone[skin], pull[skin] / unit / 0.1, atol=0.06)
    inside = ~skin & (middle > 0.8)
    return float(gone[inside & (z > 0), 0].mean()), float(gone[inside & (z < 0), 0].mean())


def test_the_inside_of_a_lip_goes_with_its_skin_and_not_with_the_other_lip():
    upper, lower = insides()
    assert upper > 0.6  # the smoothest displacement alone: below 0.1
    assert abs(lower) < 0.05


def test_the_draw_knows_no_unit_and_no_winding():
    assert insides(unit=1000.0) == pytest.approx(insides(), abs=1e-3)  # of equal candidates others may draw
    assert insides(inside_out=True) == pytest.approx(insides(), abs=1e-3)  # of equal candidates others may draw


def test_teeth_go_with_the_head_and_not_with_the_lip_before_them():
    vertices, triangles, edges, skin = mouth()
    inside = np.flatnonzero((np.abs(vertices[:, 2]) < 0.1) & (vertices[:, 1] < -0.1))
    used, teeth = np.unique(triangles[np.isin(triangles, inside).all(axis=1)], return_inverse=True)
    more, count = 0.9 * vertices[used] + [0, -0.05, 0], len(vertices)
    both = np.concatenate([vertices, more])
    teeth = teeth.reshape(-1, 3) + count
    biting = np.sort(teeth[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    carrier = Carrier(
        both,
        np.concatenate([triangles, teeth]),
        np.concatenate([edges, biting]),
        np.r_[skin * 5.0, np.zeros(len(more))],
    )
    pull = np.r_[0.1 * skin * (vertices[:, 2] > 0) * np.exp(-10 * vertices[:, 0] ** 2), np.zeros(len(more))]
    placed = carrier(both + pull[:, None] * [1.0, 0, 0])
    rotation, shift = align(more, placed[count:])
    np.testing.assert_allclose(placed[count:], more @ rotation.T + shift, atol=5e-4)  # the lip's inside: 0.07
