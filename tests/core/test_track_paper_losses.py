"""The paper's losses against analytic values, plain loops and finite differences."""

import cv2
import numpy as np
import pytest
import torch
from track_scenes import grid

from topo4d_blender.core.splat.torch_reference import rotation_matrices
from topo4d_blender.core.track.paper_image import Target, blur_by_opencv, blur_by_torch, clean_plate
from topo4d_blender.core.track.paper_losses import (
    MeshPrior,
    find_hinges,
    hinge_angles,
    relative_rotation,
    scale_loss,
)
from topo4d_blender.core.track.paper_scene import quaternion_product, ring_rotations
from topo4d_blender.core.track.paper_settings import PAPER_EDGE, PaperSettings

SETTINGS = PaperSettings(falloff=20.0)


def bumpy_sheet() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices, edges and triangles of a small wavy sheet whose edges are as short as the paper's."""
    vertices, triangles = grid(4, 3)
    vertices = vertices * PAPER_EDGE
    vertices[:, 2] = 0.3 * PAPER_EDGE * np.sin(40 * vertices[:, 0]) * np.cos(30 * vertices[:, 1])
    sides = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    return vertices, np.unique(sides, axis=0), triangles


@pytest.fixture(scope="module")
def sheet():
    vertices, edges, triangles = bumpy_sheet()
    template = torch.from_numpy(vertices)
    rng = np.random.default_rng(0)
    moved = torch.from_numpy(vertices + rng.normal(0, 0.1 * PAPER_EDGE, vertices.shape))
    before = torch.from_numpy(vertices + rng.normal(0, 0.1 * PAPER_EDGE, vertices.shape))
    quats = [torch.from_numpy(rng.normal(size=(len(vertices), 4))) for _ in range(2)]
    prior = MeshPrior(template, edges, triangles, SETTINGS)
    return prior, edges, template, moved, before, quats


def test_every_term_is_the_plain_sum_over_rings(sheet):
    prior, edges, template, moved, before, (now, then) = sheet
    turned = relative_rotation(now, then)
    turn = rotation_matrices(turned).numpy()
    rings = {v: [] for v in range(len(template))}
    for i, j in edges.tolist():
        rings[i].append(j)
        rings[j].append(i)
    rot = iso = rigid = position = links = 0.0
    t, m, b, q = template.numpy(), moved.numpy(), before.numpy(), turned.numpy()
    for i, ring in rings.items():
        position += ((m[i] - m[ring].mean(axis=0)) ** 2).sum()
        for j in ring:
            first = np.linalg.norm(t[j] - t[i])
            w = np.exp(-SETTINGS.falloff * first**2)
            rot += w * np.linalg.norm(q[j] - q[i])
            iso += w * abs(first - np.linalg.norm(m[j] - m[i]))
            rigid += w * np.linalg.norm(turn[i].T @ (m[j] - m[i]) - (b[j] - b[i]))
            links += 1
    assert float(prior.rotation(turned)) == pytest.approx(rot / links)
    assert float(prior.isometry(moved)) == pytest.approx(iso / links)
    assert float(prior.rigidity(moved, turned, before)) == pytest.approx(rigid / links)
    assert float(prior.position(moved)) == pytest.approx(position / len(t))
    angles = [_fold(m, hinge) - _fold(t, hinge) for hinge in prior.hinges.numpy()]
    assert float(prior.flatness(moved)) == pytest.approx((1 - np.cos(angles)).sum())
    s = SETTINGS
    total = s.rotation * rot / links + s.isometry * iso / links + s.rigidity * rigid / links
    total += s.position * position / len(t) + s.flatness * (1 - np.cos(angles)).sum()
    assert float(prior(moved, now, before, then)) == pytest.approx(total)


def _fold(vertices: np.ndarray, hinge: np.ndarray) -> float:
    """Signed angle between the two triangles of a hinge, by an angle's tangent."""
    a, b, c, d = vertices[hinge]
    left, right = np.cross(b - a, c - a), np.cross(d - a, b - a)
    return np.arctan2(np.cross(left, right) @ (b - a) / np.linalg.norm(b - a), left @ right)


def test_a_mesh_that_moves_as_one_costs_nothing_but_its_own_shape(sheet):
    prior, _, template, *_ = sheet
    quats = torch.tensor([[0.9, 0.1, -0.3, 0.2]], dtype=torch.float64).repeat(len(template), 1)
    turn = rotation_matrices(quats)[0]
    moved = template @ turn.T + torch.tensor([0.1, 0.2, 0.3])
    before_quats = torch.tensor([[1.0, 0, 0, 0]], dtype=torch.float64).repeat(len(template), 1)
    turned = relative_rotation(quats, before_quats)
    found = (prior.rotation(turned), prior.isometry(moved), prior.rigidity(moved, turned, template))
    assert all(float(value) < 1e-9 for value in (*found, prior.flatness(moved)))
    assert float(prior.position(moved)) == pytest.approx(float(prior.position(template)))


def test_gradients_of_the_prior_are_finite_differences_and_finite_at_rest(sheet):
    prior, _, template, moved, before, (now, then) = sheet
    values = moved.clone().requires_grad_(), now.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda m, q: prior(m, q, before, then), values, eps=1e-8, atol=1e-4)
    rest = template.clone().requires_grad_(), then.clone().requires_grad_()
    prior(*rest, template, then).backward()
    assert all(torch.isfinite(t.grad).all() for t in rest)


def test_a_coarse_mesh_is_held_as_firmly_as_a_fine_one():
    vertices, edges, triangles = bumpy_sheet()
    strong = PaperSettings()
    fine = MeshPrior(torch.from_numpy(2 * vertices), edges, triangles, strong)
    coarse = MeshPrior(torch.from_numpy(10 * vertices), edges, triangles, strong)
    assert torch.allclose(fine.weights, coarse.weights) and fine.weights.median() > 0.2


def test_stiff_vertices_weigh_more():
    vertices, edges, triangles = bumpy_sheet()
    stiff = np.ones(len(vertices))
    stiff[3] = 11.0
    plain, firm = (MeshPrior(torch.from_numpy(vertices), edges, triangles, SETTINGS, s) for s in (None, stiff))
    touching = (edges == 3).any(axis=1)
    assert np.allclose((firm.weights / plain.weights).numpy(), np.where(touching, 11.0, 1.0))


def test_hinges_are_the_edges_of_two_triangles():
    triangles = np.array([[0, 1, 2], [2, 1, 3], [1, 2, 4], [5, 0, 2]])  # 1-2 has three
    assert sorted(map(tuple, np.sort(find_hinges(triangles)[:, :2], axis=1))) == [(0, 2)]
    right_angle = torch.tensor([[0.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, 0, 1]]).double()
    cosine, sine = hinge_angles(right_angle, torch.tensor([[0, 1, 2, 3]]))
    assert float(cosine) == pytest.approx(0, abs=1e-12) and abs(float(sine)) == pytest.approx(1)


def test_scale_loss_wants_thin_gaussians_of_bounded_size():
    scales = torch.tensor([[1.0, 2.0, 3.0], [4.0, 10.0, 5.0]])
    assert float(scale_loss(scales, torch.tensor([1.0, 2.0]), 3.0)) == pytest.approx(1 + 4 + 0 + (10 - 6))


def test_rings_turn_with_their_mesh():
    vertices, edges, _ = bumpy_sheet()
    quat = np.array([0.8, -0.2, 0.5, 0.1]) / np.linalg.norm([0.8, -0.2, 0.5, 0.1])
    turn = rotation_matrices(torch.from_numpy(quat[None])).numpy()[0]
    lone = np.array([[9.0, 9.0, 9.0]])
    found = ring_rotations(np.concatenate([vertices, lone]), np.concatenate([vertices @ turn.T + 1, lone]), edges)
    assert np.allclose(rotation_matrices(torch.from_numpy(found)).numpy()[:-1], turn, atol=1e-9)
    assert np.allclose(found[-1], [1, 0, 0, 0])
    twice = quaternion_product(quat[None], quat[None])
    assert np.allclose(rotation_matrices(torch.from_numpy(twice)).numpy()[0], turn @ turn)


def test_the_image_loss_is_l1_and_ssim_over_the_mask():
    """SSIM by explicit windows around every pixel."""
    rng = np.random.default_rng(0)
    plate, picture = rng.uniform(0, 1, (2, 17, 14, 3))
    mask = np.zeros((17, 14), bool)
    mask[4:12, 3:11] = rng.uniform(size=(8, 8)) < 0.7
    background = torch.zeros(17, 14, 3, dtype=torch.float64)
    target = Target.of(torch.from_numpy(plate).float(), background.float(), mask)
    window = np.outer(*2 * [cv2.getGaussianKernel(11, 1.5)[:, 0]])
    # The loss sees the box around the mask alone, and zero beyond it.
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    x, y = (np.pad(p[box], ((5, 5), (5, 5), (0, 0))) for p in (picture, plate))
    total = 0.0
    for r, c in np.argwhere(mask[box]):
        for k in range(3):
            a, b = x[r : r + 11, c : c + 11, k], y[r : r + 11, c : c + 11, k]
            ma, mb = (window * a).sum(), (window * b).sum()
            va, vb, cov = (
                (window * a * a).sum() - ma**2,
                (window * b * b).sum() - mb**2,
                (window * a * b).sum() - ma * mb,
            )
            ssim = (2 * ma * mb + 1e-4) * (2 * cov + 9e-4) / ((ma**2 + mb**2 + 1e-4) * (va + vb + 9e-4))
            total += 0.8 * abs(a[5, 5] - b[5, 5]) + 0.2 * (1 - ssim)
    found = target.loss(torch.from_numpy(picture).float(), 0.8, 0.2)
    assert float(found) == pytest.approx(total / (3 * mask.sum()), rel=1e-5)


def test_gradients_of_the_image_loss_are_finite_differences():
    rng = np.random.default_rng(1)
    plate, picture = torch.from_numpy(rng.uniform(0, 1, (2, 13, 12, 3)))
    target = Target.of(plate, torch.zeros_like(plate), np.ones((13, 12), bool))
    assert torch.autograd.gradcheck(lambda p: target.loss(p, 0.8, 0.2), picture.clone().requires_grad_(), eps=1e-7)


def test_both_blurs_are_one():
    picture = torch.from_numpy(np.random.default_rng(2).uniform(size=(19, 23, 9)))
    assert torch.allclose(blur_by_opencv(picture), blur_by_torch(picture), atol=1e-12)


def test_a_plate_that_nothing_of_the_mesh_reaches_is_no_target():
    plate = torch.zeros(5, 6, 3)
    assert Target.of(plate, plate, np.zeros((5, 6), bool)) is None


def test_the_background_behind_the_head_is_what_lies_around_it():
    plate = np.empty((40, 30, 3), np.float32)
    plate[:] = np.linspace(0, 1, 40)[:, None, None]  # a backdrop that brightens downwards
    covered = np.zeros((40, 30), bool)
    covered[10:30, 8:22] = True
    seen = plate.copy()
    seen[covered] = 5.0  # the head
    filled = clean_plate(seen, covered)
    assert np.array_equal(filled[~covered], plate[~covered])
    assert np.abs(filled - plate).max() < 0.15
    assert np.allclose(clean_plate(np.full_like(plate, 0.3), covered), 0.3, atol=1e-6)
    assert np.isfinite(clean_plate(plate, np.ones((40, 30), bool))).all()
