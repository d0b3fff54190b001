"""The tracker's torch operations against numba's kernels, their plain twins, OpenCV and scipy, on every device."""

import cv2
import numpy as np
import pytest
import torch
import twins
from scipy.spatial.transform import Rotation
from test_track_kernels import TOLERANCE, Scene
from torch_devices import DEVICES
from track_scenes import grid

from topo4d_blender.core.raster import rasterise
from topo4d_blender.core.track import torch_kernels, torch_raster
from topo4d_blender.core.track.appearance import _subtract_shading
from topo4d_blender.core.track.torch_plates import reduce, upload
from topo4d_blender.core.track.torch_rigid import align, rotation_of
from topo4d_blender.core.track.torch_views import make_views


def on(device: str, values: np.ndarray) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(values), device=device)


# ---- the z-buffer


def bumpy(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two crossing sheets in a picture of 40x30 and beyond: pixels [2, V, 2], depth [2, V], triangles."""
    rng = np.random.default_rng(seed)
    one, triangles = grid(6, 5)
    vertices = np.concatenate([one, one[:, [1, 0, 2]]]) + rng.normal(0, 0.1, (2 * len(one), 3))
    pixels = np.stack([25 * vertices[:, :2] + centre for centre in ([20, 15], [33.3, 4.2])])
    depth = np.stack([5 + vertices[:, 2], 3 - vertices[:, 2]])
    return (
        pixels.astype(np.float32), depth.astype(np.float32),
        np.concatenate([triangles, triangles + len(one)]).astype(np.int32),
    )  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("seed", range(3))
def test_the_z_buffer_is_numbas_but_for_edges(device, seed, monkeypatch):
    pixels, depth, triangles = bumpy(seed)
    depth[1, 5], pixels[0, 9] = -1.0, np.nan  # behind a camera; nowhere
    monkeypatch.setattr(torch_raster, "PAIRS", 1000)  # several rounds
    faces = on(device, triangles).long()
    ids, z = torch_raster.rasterise(on(device, pixels), on(device, depth), faces, 30, 40)
    for k in range(2):
        expected, zbuf = rasterise(pixels[k], depth[k], triangles, 40, 30)
        same = ids[k].cpu().numpy() == expected
        assert same.mean() > 0.995 and (expected >= 0).mean() > 0.4
        np.testing.assert_allclose(z[k].cpu().numpy()[same], zbuf[same], rtol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_of_equal_depths_the_lower_triangle_is_seen(device):
    pixels = on(device, np.array([[[0, 0], [8, 0], [0, 8]]], np.float32))
    triangles = on(device, np.array([[0, 1, 2], [2, 1, 0]]))
    ids, depth = torch_raster.rasterise(pixels, torch.full((1, 3), 2.0, device=device), triangles, 8, 8)
    assert set(ids.unique().tolist()) == {-1, 0} and (depth[ids == 0] - 2).abs().max() < 1e-6
    assert torch.isinf(depth[ids < 0]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_nothing_in_view_is_an_empty_picture(device):
    pixels, depth, triangles = bumpy(0)
    ids, _ = torch_raster.rasterise(on(device, pixels + 500), on(device, depth), on(device, triangles).long(), 30, 40)
    assert (ids == -1).all()


# ---- comparison and normal equations


@pytest.fixture(params=range(3))
def scene(request) -> Scene:
    return Scene(request.param)


class TorchScene:
    """One camera of a `Scene` on a device."""

    def __init__(self, scene: Scene, k: int, device: str):
        level = scene.level
        self.views = make_views(level, [(k,)], torch.device(device))[0]

        def view(buffer: np.ndarray) -> torch.Tensor:
            return on(device, level.view(buffer, k)[None])

        self.depth = on(device, scene.now.vertex_depth[k : k + 1])
        triangles, looks = on(device, scene.triangles).long(), on(device, scene.looks)
        self.seen = torch_kernels.list_pixels(
            view(scene.now.ids).long(), self.views, triangles, looks, len(scene.now.pixels[k])
        )
        self.barycentric, self.values = torch_kernels.compare(
            self.seen, self.views, on(device, scene.now.pixels[k : k + 1]), self.depth,
            on(device, scene.before.camera_space[k : k + 1]), view(scene.plate), view(scene.reference),
            view(scene.detail), view(scene.before.depth), TOLERANCE, on(device, scene.light[k : k + 1]),
        )  # fmt: skip


@pytest.mark.parametrize("device", DEVICES)
def test_compare_agrees_with_its_twin(scene, device):
    barycentric, stack, doubt = twins.compare(*scene.arguments())
    for k in range(3):
        ours = TorchScene(scene, k, device)
        slow, clear = scene.level.view(stack, k), scene.level.view(doubt, k) > 1e-3
        found = torch_kernels.spread(ours.seen, ours.values, ours.views)[0].permute(1, 2, 0).cpu().numpy()
        assert clear.mean() > 0.95
        np.testing.assert_allclose(found[clear], slow[clear], atol=2e-4)
        weights = scene.level.view(barycentric, k).reshape(-1, 3)[ours.seen.pixel.cpu().numpy()]
        np.testing.assert_allclose(ours.barycentric.cpu().numpy(), weights, atol=1e-4)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_normal_equations_agree_with_their_twin(scene, scale, device):
    stack, level = scene.blurred(), scene.level
    members = twins.list_pixels(scene.now.ids, scene.stack[:, 2] > 0, len(scene.triangles))
    slow_hessian, slow_gradient, slow_residual, _ = twins.normal_equations(
        members, scene.triangles, scene.now.vertex_depth, twins.compare(*scene.arguments())[0],
        level.rotations, level.intrinsics, level.sizes, level.offsets, stack, scale,
    )  # fmt: skip
    hessian, gradient, residuals = np.zeros((len(members), 6, 3, 3)), np.zeros((len(members), 3, 3)), {}
    for k in range(3):
        ours = TorchScene(scene, k, device)
        pixel = ours.seen.pixel.cpu().numpy() + level.offsets[k]
        blurred = on(device, level.view(stack, k).transpose(2, 0, 1)[None])
        member = on(device, scene.stack[pixel, 2] > 0)
        h, g, residual, slope = torch_kernels.normal_equations(
            ours.seen, ours.views, ours.depth, ours.barycentric, member, blurred, torch.tensor(scale, device=device)
        )
        hessian += twins.symmetric(h.cpu().numpy())
        gradient += g.cpu().numpy()
        assert torch.equal(residual.isnan(), slope.isnan())
        known = member.cpu().numpy()
        residuals |= dict(zip(pixel[known], residual.cpu().numpy()[known], strict=True))
    np.testing.assert_allclose(hessian, slow_hessian, atol=1e-5 * np.abs(slow_hessian).max())
    np.testing.assert_allclose(gradient, slow_gradient, atol=1e-4 * np.abs(slow_gradient).max())
    assert residuals.keys() == slow_residual.keys()
    expected = [slow_residual[p] for p in residuals]
    np.testing.assert_allclose(list(residuals.values()), expected, rtol=1e-3, atol=1e-5)


# ---- pictures


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sigma", [0.7, 1.3, 3.1])
def test_blurs_are_opencvs(device, sigma):
    pictures = np.random.default_rng(0).random((2, 3, 31, 22)).astype(np.float32)
    ours = torch_kernels.blur(on(device, pictures), sigma).cpu().numpy()
    for picture, blurred in zip(pictures.reshape(-1, 31, 22), ours.reshape(-1, 31, 22), strict=True):
        expected = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT)
        np.testing.assert_allclose(blurred, expected, atol=2e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sigma", [1.4, 2.8, 6.0])
@pytest.mark.parametrize("size", [(48, 36), (47, 37)])
def test_slow_shading_is_subtracted_as_on_the_cpu(device, sigma, size):
    rng = np.random.default_rng(1)
    stack = rng.normal(0, 1, (*size, 3)).astype(np.float32)
    stack[..., 2] = cv2.GaussianBlur((rng.random(size) < 0.7).astype(np.float32), (0, 0), 2)
    stack[..., 0] *= stack[..., 2]
    ours = torch_kernels.subtract_shading(on(device, stack.transpose(2, 0, 1)[None]), sigma)[0].cpu().numpy()
    expected = stack.copy()
    _subtract_shading(expected, sigma)
    np.testing.assert_array_equal(ours[1:], stack.transpose(2, 0, 1)[1:])
    np.testing.assert_allclose(ours[0], expected[..., 0], atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(24, 16), (31, 21), (47, 32)])
def test_plates_are_reduced_as_by_opencv(device, size):
    pictures = np.random.default_rng(0).random((2, 48, 33)).astype(np.float32)
    ours = reduce(on(device, pictures), *size).cpu().numpy()
    for picture, small in zip(pictures, ours, strict=True):
        np.testing.assert_allclose(small, cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), atol=2e-5)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("top", [255, 65535])
def test_plates_arrive_as_they_were_filmed(device, top):
    plate = np.random.default_rng(0).integers(0, top, (9, 7, 3), endpoint=True) / np.float32(top)
    plate = plate.astype(np.float32)
    grey = upload([plate, None, 1 - plate], torch.device(device)).cpu().numpy()
    np.testing.assert_allclose(grey[0], cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY), atol=1e-6)
    np.testing.assert_allclose(grey[2], cv2.cvtColor(1 - plate, cv2.COLOR_RGB2GRAY), atol=1e-6)
    assert np.isnan(grey[1]).all()


# ---- small things


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("count", [1, 4, 7, 8])
def test_the_median_leaves_out_what_is_not_a_number(device, count):
    values = np.random.default_rng(count).permutation([*np.random.default_rng(0).random(count), np.nan, np.nan])
    assert float(torch_kernels.median(on(device, values))) == pytest.approx(np.nanmedian(values))
    assert torch_kernels.median(torch.full((3,), torch.nan, device=device)).isnan()
    assert torch_kernels.median(torch.zeros(0, device=device)).isnan()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("flat", [False, True])
def test_align_agrees_with_scipy(device, flat):
    rng = np.random.default_rng(0)
    source = rng.normal(size=(20, 3)) * ([1, 1, 0] if flat else 1)
    for turn in ([0.4, -1.1, 2.0], [0.0, 0.0, 0.0], [np.pi, 0.0, 0.0]):
        target = Rotation.from_rotvec(turn).apply(source) + [3, -2, 1] + rng.normal(0, 0.1, (20, 3))
        rotation, shift = (t.cpu().numpy() for t in align(on(device, source), on(device, target)))
        a, b = source.mean(axis=0), target.mean(axis=0)
        np.testing.assert_allclose(rotation, Rotation.align_vectors(target - b, source - a)[0].as_matrix(), atol=1e-9)
        np.testing.assert_allclose(rotation @ a + shift, b, atol=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (1e-9, 0.0, 2e-9), (0.3, -0.2, 1.0), (0.0, 3.1, 0.0)])
def test_a_turn_is_scipys(device, vector):
    found = rotation_of(on(device, np.array(vector))).cpu().numpy()
    np.testing.assert_allclose(found, Rotation.from_rotvec(vector).as_matrix(), atol=1e-12)
