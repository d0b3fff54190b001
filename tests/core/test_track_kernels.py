"""The tracker's kernels against their slow plain twins, and the photometric gradient against the energy itself."""

import itertools

import cv2
import numba
import numpy as np
import pytest
import twins
from track_scenes import grid, sheet_level

from topo4d_blender.core.track import kernels, system_kernels
from topo4d_blender.core.track.appearance import _subtract_shading, locate, project, shrink_factor

TOLERANCE = 0.25  # world units; the patch hovers 0.7 before the sheet


class Scene:
    """A bumpy sheet behind a hovering patch, both moved since the reference; views of different sizes."""

    def __init__(self, seed: int):
        rng = np.random.default_rng(seed)
        self.level = sheet_level(zoom=0.9)
        sheet, triangles = grid(7, 6)
        patch, more = grid(2, 2)
        rest = np.concatenate([sheet, 0.4 * patch + [0.1, 0, -0.7]])
        rest += rng.normal(0, 0.03, rest.shape)
        self.triangles = np.concatenate([triangles, more + len(sheet)]).astype(np.int32)
        moved = rest + rng.normal(0, 0.02, rest.shape) + [0.05, -0.03, 0.02]
        moved[len(sheet) :] += [0.3, 0.2, 0]  # shows skin that the reference did not see
        self.looks = rng.choice([0.0, 0.4, 1.0], len(self.triangles), p=[0.15, 0.25, 0.6]).astype(np.float32)
        self.before, self.now = (project(v, self.triangles, self.level) for v in (rest, moved))
        self.light = rng.uniform(0.7, 1.4, self.now.vertex_depth.shape).astype(np.float32)
        self.reference, self.plate, self.detail = (self.picture(rng) for _ in range(3))
        self.level.view(self.plate, 1)[:] = np.nan  # a missing plate
        self.stack, self.known = np.full((self.level.pixels, 3), 9.0, np.float32), np.ones(self.level.pixels, bool)

    def picture(self, rng: np.random.Generator) -> np.ndarray:
        flat = np.empty(self.level.pixels, np.float32)
        for k in range(len(self.level.sizes)):
            view = self.level.view(flat, k)
            view[:] = 0.5 + cv2.GaussianBlur(rng.normal(0, 1.5, view.shape), (0, 0), 2)
        return flat

    def arguments(self) -> tuple:
        level = self.level
        return (
            self.now.pixels, self.now.vertex_depth, self.before.camera_space, self.triangles, self.looks, level.sizes,
            level.offsets, level.intrinsics, self.now.ids, self.plate, self.reference, self.detail,
            self.before.depth, TOLERANCE, self.light,
        )  # fmt: skip

    def compare(self) -> np.ndarray:
        kernels.compare(*self.arguments(), self.stack, self.known)
        return self.stack.copy()

    def blurred(self) -> np.ndarray:
        """The stack blurred in every view, so that the mask has every value between 0 and 1 (too small ones too)."""
        stack = self.compare()
        for k in range(len(self.level.sizes)):
            view = self.level.view(stack, k)
            view[:] = cv2.GaussianBlur(view, (0, 0), 0.6, borderType=cv2.BORDER_CONSTANT)
        return stack

    def members(self) -> tuple[np.ndarray, np.ndarray]:
        starts, members = np.zeros(len(self.triangles) + 1, np.int32), np.empty(self.level.pixels, np.int32)
        kernels.list_pixels(self.now.ids, starts, members)
        return starts, members

    def normal_equations(self, stack: np.ndarray, scale: float) -> tuple[np.ndarray, ...]:
        """hessian, gradient, and of every member residual and slope; which triangles were seen."""
        starts, members = self.members()
        count, level = len(self.triangles), self.level
        out = np.full((count, 6, 6), 7.0), np.full((count, 3, 3), 7.0), *np.full((2, starts[-1]), 7, np.float32)
        seen = np.zeros(count, bool)
        kernels.normal_equations(
            starts, members, level.camera_of, self.triangles, self.now.pixels, self.now.vertex_depth, level.rotations,
            level.intrinsics, level.sizes, level.offsets, stack, self.known, scale, *out, seen,
        )  # fmt: skip
        return *out, seen


@pytest.fixture(params=range(3))
def scene(request) -> Scene:
    return Scene(request.param)


def test_compare_agrees_with_its_twin(scene):
    _, stack, doubt = twins.compare(*scene.arguments())
    scene.compare()
    clear = doubt > 1e-3
    assert clear.mean() > 0.95
    np.testing.assert_allclose(scene.stack[clear], stack[clear], atol=2e-4)
    assert (scene.known == (scene.stack[:, 2] > 0)).all()


def test_locate_is_the_pinhole_camera():
    scene, vertices = Scene(0), np.random.default_rng(5).normal(0, 0.4, (50, 3))
    points, pixels, depth = locate(vertices, scene.level)
    for k, (fx, fy, cx, cy) in enumerate(scene.level.intrinsics):
        expected = vertices @ scene.level.rotations[k].T + scene.level.translations[k]
        np.testing.assert_allclose(points[k], expected, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(depth[k], expected[:, 2], rtol=1e-6)
        picture = expected[:, :2] / expected[:, 2:] * [fx, fy] + [cx, cy]
        np.testing.assert_allclose(pixels[k], picture, rtol=1e-5, atol=1e-4)


def test_the_scene_has_every_case(scene):
    """What the comparison with the twin is worth: skin newly shown, a missing plate, triangles not looked at."""
    mask, level = scene.compare()[:, 2], scene.level
    drawn = scene.now.ids >= 0
    assert (level.view(mask, 1) == 0).all() and (level.view(drawn, 1)).any()
    looked = drawn & (scene.looks[scene.now.ids] > 0) & (level.camera_of != 1)
    assert (mask[drawn & (scene.looks[scene.now.ids] == 0)] == 0).all()
    assert 30 < (looked & (mask == 0)).sum() < 0.7 * looked.sum()  # hidden in the reference, or off its plate
    assert np.isfinite(scene.stack).all()


def test_a_missing_reference_plate_is_compared_nowhere(scene):
    scene.level.view(scene.reference, 0)[:] = np.nan
    mask = scene.compare()[:, 2]
    assert (scene.level.view(mask, 0) == 0).all() and (scene.level.view(mask, 2) > 0).any()
    assert np.isfinite(scene.stack).all()


def test_list_pixels_agrees_with_its_twin(scene):
    starts, members = scene.members()
    slow = twins.list_pixels(scene.now.ids, scene.now.ids >= 0, len(scene.triangles))
    assert [members[a:b].tolist() for a, b in zip(starts[:-1], starts[1:], strict=True)] == slow
    assert starts[-1] == (scene.now.ids >= 0).sum() > 100


@pytest.mark.parametrize("scale", [0.05, 1.0])
def test_normal_equations_agree_with_their_twin(scene, scale):
    stack, level = scene.blurred(), scene.level
    hessian, gradient, residual, slope, seen = scene.normal_equations(stack, scale)
    members = twins.list_pixels(scene.now.ids, scene.stack[:, 2] > 0, len(scene.triangles))
    barycentric = twins.compare(*scene.arguments())[0]
    slow_hessian, slow_gradient, slow_residual, slow_slope = twins.normal_equations(
        members, scene.triangles, scene.now.vertex_depth, barycentric, level.rotations, level.intrinsics,
        level.sizes, level.offsets, stack, scale, scene.now.pixels,
    )  # fmt: skip
    np.testing.assert_allclose(twins.symmetric(hessian), slow_hessian, atol=1e-5 * np.abs(slow_hessian).max())
    np.testing.assert_allclose(gradient, slow_gradient, atol=1e-5 * np.abs(slow_gradient).max())
    exact_hessian, exact_gradient, *_ = twins.normal_equations(
        members, scene.triangles, scene.now.vertex_depth, barycentric, level.rotations, level.intrinsics,
        level.sizes, level.offsets, stack, scale,
    )  # fmt: skip
    assert np.linalg.norm(gradient - exact_gradient) < 0.04 * np.linalg.norm(exact_gradient)  # large triangles, near
    assert np.linalg.norm(twins.symmetric(hessian) - exact_hessian) < 0.06 * np.linalg.norm(exact_hessian)
    assert seen.tolist() == [bool(pixels) for pixels in members]
    starts, drawn = scene.members()
    drawn = drawn[: starts[-1]].tolist()
    expected = [slow_residual.get(p, np.nan) for p in drawn]
    np.testing.assert_allclose(residual, expected, rtol=1e-4, atol=1e-6)
    assert len(slow_slope) > len(slow_residual) / 2
    steep = np.isfinite(residual)
    expected = np.array([slow_slope.get(p, np.nan) for p in drawn])
    np.testing.assert_allclose(slope[steep], expected[steep], rtol=1e-4, atol=1e-6)


def test_normal_equations_have_the_same_bits_on_any_number_of_threads(scene):
    stack, most = scene.blurred(), numba.get_num_threads()
    found = []
    try:
        for threads in (1, most):
            numba.set_num_threads(threads)
            found.append(scene.normal_equations(stack, 0.05))
    finally:
        numba.set_num_threads(most)
    for one, other in zip(*found, strict=True):
        np.testing.assert_array_equal(one, other)


def test_gather_agrees_with_its_twin():
    rng = np.random.default_rng(0)
    counts = np.array([3, 0, 5, 1, 0])
    starts, members = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32), rng.integers(0, 7, 9).astype(np.int32)
    source, target = rng.normal(size=(7, 4)), np.full((5, 4), 9.0)
    system_kernels.gather(starts, members, source, target)
    np.testing.assert_allclose(target, twins.gather(starts, members, source), atol=1e-14)


# ---- the gradient of the energy


def brightness(points: np.ndarray) -> np.ndarray:
    """A smooth pattern on the plane z = 0: waves no shorter than eight pixels.  # [..., 2] -> [...]."""
    x, y = points[..., 0], points[..., 1]
    return 0.5 + 0.2 * (np.sin(5 * x + 2 * y) + np.cos(6 * y - x) * np.sin(3 * x) + np.sin(4 * x - 4 * y + 1))


def plane_picture(level, shift: np.ndarray) -> np.ndarray:
    """What the cameras of `level` see of the pattern on an endless plane moved by `shift` [3], by their rays."""
    flat = np.empty(level.pixels, np.float32)
    for k, (height, width) in enumerate(level.sizes):
        fx, fy, cx, cy = level.intrinsics[k]
        x, y = np.meshgrid((np.arange(width) + 0.5 - cx) / fx, (np.arange(height) + 0.5 - cy) / fy)
        rays = np.stack([x, y, np.ones_like(x)], axis=-1) @ level.rotations[k]
        reach = (shift[2] - level.centres[k][2]) / rays[..., 2]
        points = level.centres[k] + reach[..., None] * rays - shift
        level.view(flat, k)[:] = brightness(points[..., :2])
    return flat


class Plane(Scene):
    """A flat sheet at rest before plates of the plane moved by `shift`: every brightness known analytically."""

    def __init__(self, shift: np.ndarray, scale: float):
        self.level = sheet_level(((60, 48), (52, 64), (48, 48)), zoom=0.7)
        self.vertices, self.triangles = grid(6, 6)
        self.looks = np.ones(len(self.triangles), np.float32)
        self.light = np.ones((len(self.level.sizes), len(self.vertices)), np.float32)
        self.before = project(self.vertices, self.triangles, self.level)
        self.reference, self.plate = plane_picture(self.level, np.zeros(3)), plane_picture(self.level, shift)
        self.detail = self.reference
        self.stack, self.known = np.zeros((self.level.pixels, 3), np.float32), np.zeros(self.level.pixels, bool)
        self.scale = scale

    def linearise(self, vertices: np.ndarray, drawn: bool = False) -> tuple[float, np.ndarray, np.ndarray]:
        """The energy sum_p M rho(D / M) / 2, its gradient [V, 3], and J'WJ [3 V, 3 V].

        `drawn` takes the slope of what is drawn for the mean slope of plate and drawing: then the gradient is exact,
        however large the motion; with the mean it is exact where the two agree.
        """
        self.now = project(vertices, self.triangles, self.level)
        stack = self.compare()
        if drawn:
            stack[:, 1] -= stack[:, 0] / 2
        hessian, corner, residual, *_ = self.normal_equations(stack, self.scale)
        square = residual[np.isfinite(residual)].astype(float) ** 2
        gradient = np.zeros(vertices.shape)
        np.add.at(gradient, self.triangles, corner)
        rho = self.scale**2 * square / (self.scale**2 + square)
        return rho.sum() / 2, gradient, twins.triangle_matrix(self.triangles, hessian, len(vertices))

    @property
    def inner(self) -> np.ndarray:
        """Vertices none of whose triangles touches the rim: moving them leaves the mask as it is."""
        return np.flatnonzero((np.abs(self.vertices[:, :2]) < 0.6).all(axis=1))


@pytest.mark.parametrize(
    ("shift", "scale", "drawn"),
    [
        ((0.01, -0.006, 0.0), 5.0, False),
        ((0.0, 0.005, 0.02), 0.02, False),  # a scale that most pixels feel
        ((0.04, -0.03, 0.0), 5.0, True),
        ((0.0, 0.03, 0.08), 0.05, True),
    ],
)
def test_the_gradient_is_that_of_the_energy(shift, scale, drawn):
    plane = Plane(np.array(shift), scale)
    _, gradient, _ = plane.linearise(plane.vertices, drawn)
    step, numeric = 0.003, np.zeros(gradient.shape)
    for v, d in itertools.product(plane.inner, range(3)):
        ahead, behind = plane.vertices.copy(), plane.vertices.copy()
        ahead[v, d] += step
        behind[v, d] -= step
        numeric[v, d] = (plane.linearise(ahead)[0] - plane.linearise(behind)[0]) / (2 * step)
    exact, ours = numeric[plane.inner].ravel(), gradient[plane.inner].ravel()
    size = np.linalg.norm(ours) / np.linalg.norm(exact)
    direction = ours @ exact / np.linalg.norm(ours) / np.linalg.norm(exact)
    assert direction > 0.9999 and abs(size - 1) < 0.01, (direction, size)


def test_one_newton_step_finds_a_small_motion_of_the_plane():
    """Efficient second-order minimisation: the error left by a step is far below first order."""
    shift = np.array([0.04, -0.03, 0.05])
    plane = Plane(shift, 50.0)
    _, gradient, hessian = plane.linearise(plane.vertices)
    modes = np.tile(np.eye(3), (len(plane.vertices), 1))  # the sheet moves as one
    found = np.linalg.solve(modes.T @ hessian @ modes, -modes.T @ gradient.ravel())
    assert np.linalg.norm(found - shift) < 0.02 * np.linalg.norm(shift), found


# ---- light that is no motion


@pytest.mark.parametrize("width", [96, 90])
@pytest.mark.parametrize("sigma", [2.0, 4.0, 5.6, 8.0])
def test_slow_shading_is_what_a_blur_of_that_width_finds(sigma, width):
    """A wave of any length is damped as a Gaussian of this sigma damps it, and what a smaller picture blurs besides.

    That is a box on the way there (a variance of 1/12 of its pixels) and a tent on the way back (1/6).
    """
    wide = np.sqrt(sigma**2 + (shrink_factor(sigma) ** 2 / 4 if shrink_factor(sigma) > 1 else 0))
    inner = slice(int(4 * sigma), width - int(4 * sigma))
    for length, turn in itertools.product((4 * sigma, 6 * sigma, 9 * sigma), (False, True)):
        wave = np.sin(2 * np.pi * np.arange(width) / length + 0.3)
        stack = np.ones((120, width, 3), np.float32)
        stack[..., 0] = wave
        stack = np.ascontiguousarray(stack.transpose(1, 0, 2)) if turn else stack
        _subtract_shading(stack, sigma)
        left = stack[inner, 60, 0] if turn else stack[60, inner, 0]
        left = (left @ wave[inner]) / (wave[inner] @ wave[inner])
        assert left == pytest.approx(1 - np.exp(-2 * (np.pi * wide / length) ** 2), abs=0.015)


@pytest.mark.parametrize("sigma", [2.0, 4.0, 5.6])
def test_slow_shading_holds_no_detail(sigma):
    """Noise under a ragged mask: what is called slow is what a blur of the whole picture says, by a tenth at most."""
    rng = np.random.default_rng(3)
    mask = cv2.GaussianBlur((rng.random((101, 83)) < 0.7).astype(np.float32), (0, 0), 1.0)
    noise = cv2.GaussianBlur(rng.normal(0, 1, mask.shape).astype(np.float32), (0, 0), sigma / 4)
    stack = np.stack([noise * mask, np.zeros_like(mask), mask], axis=2)
    exact = [cv2.GaussianBlur(stack[..., c], (0, 0), sigma, borderType=cv2.BORDER_CONSTANT) for c in (0, 2)]
    exact = exact[0] / exact[1] * mask
    before = stack[..., 0].copy()
    _subtract_shading(stack, sigma)
    off = before - stack[..., 0] - exact
    assert np.sqrt((off**2).mean()) < 0.1 * np.sqrt((exact**2).mean())


@pytest.mark.parametrize("shape", [(1, 40), (40, 1), (3, 3)])
def test_slow_shading_of_pictures_smaller_than_a_block(shape):
    """A constant difference is all shading, however small the picture is."""
    stack = np.ones((*shape, 3), np.float32)
    _subtract_shading(stack, 8.0)
    np.testing.assert_allclose(stack[..., 0], 0.0, atol=1e-5)
