"""What nobody saw is carried along: by the seen surface around it and by the skin across the flesh."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation
from track_scenes import grid, sheet_template

from topo4d_blender.core.track.carry import Carrier
from topo4d_blender.core.track.flesh import through_flesh
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


def mouth(unit: float = 1.0, thick: float = 0.2, rows: int = 80, inside_out: bool = False) -> tuple[np.ndarray, ...]:
    """Two lips that face each other, from `OUTLINE`: vertices [V, 3], triangles, edges and which vertices are skin."""
    sheet, triangles = grid(rows // 4, rows)
    outline = OUTLINE + np.sign(OUTLINE) * [0, 1] * (np.abs(OUTLINE[:, 1:]) > 0.2) * (thick - 0.2)
    lengths = np.r_[0, np.cumsum(np.linalg.norm(np.diff(outline, axis=0), axis=1))]
    along = 0.5 * (sheet[:, 1] + 1) * lengths[-1]
    y, z = (np.interp(along, lengths, column) for column in outline.T)
    triangles = triangles[:, ::-1] if inside_out else triangles
    return unit * np.stack([sheet[:, 0], y, z], axis=1), triangles, edges_of(triangles), np.abs(z) > 0.04 + 0.8 * thick


def edges_of(triangles: np.ndarray) -> np.ndarray:
    """The edges [E, 2] of triangles."""
    return np.unique(np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1), axis=0)


def insides(others: tuple[np.ndarray, np.ndarray] | None = None, held: float = 0.0, **more: object) -> tuple:
    """How far the insides of the upper and the lower lip go where the upper lip's skin goes by 1.

    `others` are vertices and triangles of another island, which nobody sees; `held` is how firmly the insides hold.
    """
    vertices, triangles, edges, skin = mouth(**more)
    unit, count = more.get("unit", 1.0), len(vertices)
    x, y, z = vertices.T / unit
    middle = np.exp(-(x**2 + (y + 0.3) ** 2) / 0.1)
    inside = ~skin & (middle > 0.8)
    stiffness = np.where(skin, 5.0, held)
    pull = 0.1 * unit * (middle * skin * (z > 0))[:, None] * [1.0, 0, 0]
    if others is not None:
        vertices, triangles = np.r_[vertices, others[0]], np.r_[triangles, others[1] + count]
        edges = edges_of(triangles)
        stiffness, pull = np.r_[stiffness, np.zeros(len(others[0]))], np.r_[pull, np.zeros_like(others[0])]
    carrier = Carrier(vertices, triangles, edges, stiffness)
    gone = ((carrier(vertices + pull) - vertices) / unit / 0.1)[:count]
    np.testing.assert_allclose(gone[skin], pull[:count][skin] / unit / 0.1, atol=0.06)
    return float(gone[inside & (z > 0), 0].mean()), float(gone[inside & (z < 0), 0].mean())


def test_the_inside_of_a_lip_goes_with_its_skin_and_not_with_the_other_lip():
    upper, lower = insides()
    assert upper > 0.6  # the smoothest displacement alone: below 0.1
    assert abs(lower) < 0.05


def test_thick_flesh_draws_less():
    thin, thick = insides(thick=0.2)[0], insides(thick=1.0)[0]
    assert thick < 0.6 * thin  # by its length alone: 0.8


def test_a_finer_mesh_goes_alike():
    assert insides(rows=160)[0] == pytest.approx(insides(rows=80)[0], abs=0.12)


def test_what_is_hardly_seen_goes_over_into_what_is_hidden():
    """There is no stiffness at which a vertex is let go of at once."""
    gone = [insides(held=held)[0] for held in np.linspace(0, 0.4, 41)]
    assert np.abs(np.diff(gone)).max() < 0.25 * (max(gone) - min(gone))


def test_the_draw_knows_no_unit_and_no_winding():
    assert insides(unit=1000.0) == pytest.approx(insides(), abs=1e-3)  # of equal candidates others may draw
    assert insides(inside_out=True) == pytest.approx(insides(), abs=1e-3)


@pytest.mark.parametrize("way", [1, -1])
def test_other_islands_do_not_change_it(way):
    fine, triangles = grid(60, 60)
    lashes = 0.02 * fine + [0, -0.3, 0]
    alone, beside = insides(inside_out=True), insides(others=(lashes, triangles[:, ::way]), inside_out=True)
    assert beside == pytest.approx(alone, abs=0.03)


def test_through_flesh_is_from_side_to_side():
    out, back = np.array([[0.0, 0, -1]]), np.array([0.0, 0, 1])  # the hidden side looks down, paths go up
    tilted = np.array([0, np.sin(1.0), np.cos(1.0)])
    ways = np.array([[back, back, -back, back, tilted]])
    arriving = np.array([[back, -back, back, tilted, tilted]])
    # straight; into another lip, from outside; away through the air; slanting at one end, and at the other
    np.testing.assert_allclose(
        through_flesh(ways, out, arriving), [[1, 0, 0, np.cos(1.0) ** 2, np.cos(1.0) ** 2]], atol=1e-12
    )


def test_teeth_go_with_the_head_and_not_with_the_lip_before_them():
    vertices, triangles, edges, skin = mouth()
    inside = np.flatnonzero((np.abs(vertices[:, 2]) < 0.1) & (vertices[:, 1] < -0.1))
    used, teeth = np.unique(triangles[np.isin(triangles, inside).all(axis=1)], return_inverse=True)
    more, count = 0.9 * vertices[used] + [0, -0.05, 0], len(vertices)
    both = np.concatenate([vertices, more])
    teeth = teeth.reshape(-1, 3) + count
    carrier = Carrier(
        both,
        np.concatenate([triangles, teeth]),
        np.concatenate([edges, edges_of(teeth)]),
        np.r_[skin * 5.0, np.zeros(len(more))],
    )
    pull = np.r_[0.1 * skin * (vertices[:, 2] > 0) * np.exp(-10 * vertices[:, 0] ** 2), np.zeros(len(more))]
    placed = carrier(both + pull[:, None] * [1.0, 0, 0])
    rotation, shift = align(more, placed[count:])
    np.testing.assert_allclose(placed[count:], more @ rotation.T + shift, atol=5e-4)  # the lip's inside: 0.07
