"""Splatting: the numba renderer against its slow twin, the twin against finite differences, and both at the edges."""

import numba
import numpy as np
import pytest
import torch
from splat_scenes import FIELDS, NEAR, make_camera, make_cloud, tensors, with_gradients

from topo4d_blender.core.splat import numba_renderer, torch_reference
from topo4d_blender.core.splat.gaussians import DILATION, MOST_ALPHA, Gaussians
from topo4d_blender.core.splat.render import render

BLACK = torch.zeros(3, dtype=torch.float64)


def gradients(renderer, gaussians, camera, dtype):
    """Gradients of a lopsided sum over picture and transmittance, by every tensor of the Gaussians."""
    copy = with_gradients(gaussians, dtype)
    colours, transmittance = renderer(copy, camera, NEAR)
    weights = torch.from_numpy(np.random.default_rng(5).normal(size=(camera.height, camera.width, 4))).to(dtype)
    ((colours * weights[..., :3]).sum() + (transmittance * weights[..., 3]).sum()).backward()
    return [t.grad for t in tensors(copy)]


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 1e-5)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_picture_is_the_twins(seed, dtype, tolerance):
    cloud = make_cloud(60, seed, torch.float64)
    camera = make_camera()
    mine = numba_renderer.rasterise(Gaussians(*(t.to(dtype) for t in tensors(cloud))), camera, NEAR)
    twin = torch_reference.rasterise(cloud, camera, NEAR)
    assert twin[1].min() < 0.01 and twin[1].max() == 1  # opaque here, empty there
    for a, b in zip(mine, twin, strict=True):
        assert a.dtype == dtype
        assert torch.allclose(a.double(), b, atol=tolerance, rtol=0)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-10), (torch.float32, 2e-4)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_gradients_are_the_twins(seed, dtype, tolerance):
    cloud, camera = make_cloud(60, seed), make_camera()
    mine = gradients(numba_renderer.rasterise, cloud, camera, dtype)
    twin = gradients(torch_reference.rasterise, cloud, camera, torch.float64)
    for name, a, b in zip(FIELDS, mine, twin, strict=True):
        assert b.abs().max() > 0.1, name
        assert (a.double() - b).abs().max() <= tolerance * b.abs().max(), name


@pytest.mark.parametrize("renderer", [torch_reference.rasterise, numba_renderer.rasterise], ids=["twin", "numba"])
def test_the_gradients_are_finite_differences(renderer):
    camera = make_camera(9, 7, focal=9.0)
    cloud = with_gradients(make_cloud(6, 3), torch.float64)

    def draw(*values):
        return renderer(Gaussians(*values), camera, NEAR)

    assert torch.autograd.gradcheck(draw, tuple(tensors(cloud)), eps=1e-7, atol=1e-5)


def test_one_small_gaussian_is_the_closed_form():
    """Smaller than a pixel, it is what the dilation makes of it: a round blob of variance 0.3 px^2."""
    camera = make_camera(15, 15)
    point = torch.tensor([[0.1, 0.05, 0.2]], dtype=torch.float64)
    dot = Gaussians(point, torch.tensor([[1.0, 0, 0, 0]]).double(), torch.full((1, 3), 1e-6).double(),
                    torch.tensor([0.8]).double(), torch.tensor([[0.5, 1.0, 2.0]]).double())  # fmt: skip
    colours, transmittance = numba_renderer.rasterise(dot, camera, NEAR)
    (u, v), _ = (a[0] for a in camera.project(point.numpy()))
    y, x = np.mgrid[:15, :15] + 0.5
    alpha = 0.8 * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * DILATION))
    alpha[alpha < 1 / 255] = 0
    assert np.allclose(transmittance, 1 - alpha, atol=1e-8)
    assert np.allclose(colours, alpha[..., None] * [0.5, 1.0, 2.0], atol=1e-8)


def test_the_nearer_of_two_opaque_gaussians_hides_the_other():
    camera = make_camera()
    away = torch.tensor(camera.rotation[2])  # the camera's forward axis
    base = make_cloud(2)
    opaque = Gaussians(torch.stack([0.5 * away, -0.5 * away]), base.quats, torch.full((2, 3), 0.4).double(),
                       torch.ones(2).double(), torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).double())  # fmt: skip
    picture = render(opaque, [camera], BLACK, NEAR)[0]
    row, column = (int(c) for c in camera.project(np.zeros((1, 3)))[0][0][::-1])
    assert picture[row, column, 1] > 0.99 and picture[row, column, 0] < 1.01 - MOST_ALPHA + 0.01


def test_the_same_bits_on_any_number_of_threads():
    if numba.config.NUMBA_NUM_THREADS < 2:
        pytest.skip("this process has one numba thread")
    cloud, camera = make_cloud(400, 4, torch.float32), make_camera(150, 120, focal=160.0)
    found = []
    before = numba.get_num_threads()
    try:
        for threads in (1, 2, numba.config.NUMBA_NUM_THREADS):
            numba.set_num_threads(threads)
            found.append(gradients(numba_renderer.rasterise, cloud, camera, torch.float32))
    finally:
        numba.set_num_threads(before)
    assert all(torch.equal(a, b) for other in found[1:] for a, b in zip(found[0], other, strict=True))


@pytest.mark.parametrize("renderer", [torch_reference.rasterise, numba_renderer.rasterise], ids=["twin", "numba"])
def test_a_view_of_nothing_is_its_background(renderer):
    camera = make_camera(20, 10)
    background = torch.rand(10, 20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for cloud in (make_cloud(0), _moved(make_cloud(5), 100.0)):
        cloud = with_gradients(cloud, torch.float64)
        picture = render(cloud, [camera], [background], NEAR, renderer)[0]
        assert torch.equal(picture, background)
        picture.sum().backward()
        assert all(t.grad is None or not t.grad.any() for t in tensors(cloud))


@pytest.mark.parametrize("renderer", [torch_reference.rasterise, numba_renderer.rasterise], ids=["twin", "numba"])
def test_gaussians_behind_and_too_near_are_left_out(renderer):
    camera = make_camera()
    cloud = make_cloud(20, 1)
    centre = torch.tensor(camera.centre)
    forward = torch.tensor(camera.rotation[2])
    added = make_cloud(3, 2)
    places = torch.stack([centre - forward, centre + 0.5 * NEAR * forward, centre])
    both = Gaussians(*(torch.cat([a, b]) for a, b in zip(
        tensors(cloud), [places, *tensors(added)[1:]], strict=True)))  # fmt: skip
    alone, together = renderer(cloud, camera, NEAR), renderer(both, camera, NEAR)
    assert torch.equal(alone[0], together[0]) and torch.equal(alone[1], together[1])
    found = gradients(renderer, both, camera, torch.float64)
    assert all(torch.isfinite(g).all() and not g[20:].any() for g in found)


def test_cameras_of_different_sizes_in_one_call():
    cameras = [make_camera(20, 33), make_camera(41, 16), make_camera(1, 1)]
    cloud = make_cloud(30)
    backgrounds = [torch.full((3,), 0.2).double(), torch.full((16, 41, 3), 0.4).double(), BLACK]
    pictures = render(cloud, cameras, backgrounds, NEAR)
    assert [tuple(p.shape) for p in pictures] == [(33, 20, 3), (16, 41, 3), (1, 1, 3)]
    for picture, camera, background in zip(pictures, cameras, backgrounds, strict=True):
        twin = render(cloud, [camera], [background], NEAR, torch_reference.rasterise)[0]
        assert torch.allclose(picture, twin, atol=1e-12)


def test_what_does_not_fit_together_is_refused():
    cloud, camera = make_cloud(3), make_camera()
    with pytest.raises(ValueError, match="quats have the shape"):
        render(Gaussians(cloud.means, cloud.quats[:2], *tensors(cloud)[2:]), [camera], BLACK, NEAR)
    with pytest.raises(ValueError, match="colours are torch.float32"):
        render(Gaussians(*tensors(cloud)[:4], cloud.colours.float()), [camera], BLACK, NEAR)
    with pytest.raises(ValueError, match="background"):
        render(cloud, [camera], [torch.zeros(4)], NEAR)
    with pytest.raises(ValueError, match="near"):
        render(cloud, [camera], BLACK, 0.0)
    bent = type(camera)(**{**vars(camera), "distortion": (0.1, 0.0, 0.0, 0.0, 0.0)})
    with pytest.raises(ValueError, match="lens distortion"):
        render(cloud, [bent], BLACK, NEAR)


def _moved(cloud: Gaussians, far: float) -> Gaussians:
    return Gaussians(cloud.means + torch.tensor([far, 0, 0]).double(), *tensors(cloud)[1:])
