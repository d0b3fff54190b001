"""The bake on torch's devices: every step and the whole map as by the numba bake, the same with little memory."""

from dataclasses import dataclass, replace

import bake_scenes as scenes
import cv2
import numpy as np
import pytest
import torch
from bake_scenes import Board
from torch_devices import CUDA, DEVICES

from topo4d_blender.core.errors import WorkError
from topo4d_blender.core.take.maps import Maps
from topo4d_blender.core.template import Template
from topo4d_blender.core.texture import (
    bake_take,
    fill,
    kernels,
    torch_budget,
    torch_check,
    torch_fill,
    torch_kernels,
    torch_views,
)
from topo4d_blender.core.texture.frame import PAINT_STEPS, Canvas, Solved
from topo4d_blender.core.texture.painter import HostPainter, Painter
from topo4d_blender.core.texture.rasterise import with_numba, with_torch
from topo4d_blender.core.texture.torch_fill import fill_empty
from topo4d_blender.core.texture.torch_painter import TorchPainter
from topo4d_blender.core.texture.views import _near_jumps

TORCH_CPU = "cpu:0"  # a name by which torch, and not numba, computes on the processor
WALL = Board((-0.5, -0.5, 0.5, 0.5), 0.0, (0.05, 0.05, 0.65, 0.65), scenes.smooth)
BLUE = Board((-0.12, -0.12, 0.12, 0.12), 0.3, (0.75, 0.75, 0.95, 0.95), scenes.plain(20, 40, 250))


def pores(u, v):
    """Detail that tells where a plate is, which `smooth` does not."""
    waves = np.sin(100 * u + 5 * np.sin(9 * v)) * np.cos(100 * v + 4 * np.sin(11 * u))
    return 128 + 60 * waves[..., None] * np.ones(3)


@dataclass(frozen=True)
class Scene:
    """Noisy plates of two boards, one before the other, from cameras of two sizes."""

    template: Template
    cameras: list
    given: list

    @classmethod
    def of(cls, sizes=(100, 100, 140, 100, 140, 100, 100), spoil=True, wall=WALL):
        cameras = [scenes.rig(len(sizes), size, spread_deg=35)[k] for k, size in enumerate(sizes)]
        rng, given = np.random.default_rng(0), []
        for k, camera in enumerate(cameras):
            plate = scenes.film(camera, [wall, BLUE])
            plate += rng.normal(0, 2, plate.shape)
            if spoil and k == 2:
                plate[40:60, 40:60] = 255  # something that the others do not show
            mask = None
            if spoil and k == 3:
                mask = np.ones(plate.shape[:2], bool)
                mask[:, :20] = False
            plate = plate.clip(0, 255)
            deep = np.rint(plate * 257).astype(np.uint16)
            given.append((k, deep if k == 4 else np.rint(plate).astype(np.uint8), mask))
        if spoil:
            given[5] = (5, None, None)
        return cls(scenes.template_of([wall, BLUE]), cameras, given)

    def solve(self, painter: Painter, canvas: Canvas, before=None, detail=None) -> Solved:
        return painter.solve(canvas, self.template.vertices, self.cameras, self.given, lambda: None, before, detail)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene.of()


def bake(painter: Painter, scene: Scene, resolution: int, texels: type = np.uint8, detail=None) -> tuple:
    canvas, steps = Canvas.of(scene.template, resolution), []
    solved = scene.solve(painter, canvas, detail=detail)
    texture, coverage = painter.paint(canvas, solved, texels, lambda: steps.append(0))
    assert len(steps) == PAINT_STEPS
    painter.fill(texture, canvas)
    return texture, coverage


def agree(ours: tuple, numba: tuple) -> None:
    """Maps that are the same but for rounding."""
    (texture, coverage), (expected, seen) = ours, numba
    assert texture.dtype == expected.dtype and coverage.dtype == seen.dtype
    assert ((coverage > 0) == (seen > 0)).mean() > 0.999
    both = (coverage > 0) == (seen > 0)
    level = np.iinfo(texture.dtype).max / 255
    apart = np.abs(texture.astype(float) - expected)[both] / level
    assert apart.mean() < 0.02 and np.percentile(apart, 99.9) <= 1.5 and apart.max() < 8
    assert np.abs(coverage.astype(int) - seen)[both].max() <= 2


@pytest.mark.parametrize("device", [TORCH_CPU, pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize(("resolution", "texels"), [(256, np.uint8), (128, np.uint16), (33, np.uint8)])
def test_a_map_is_that_of_the_numba_bake(scene, device, resolution, texels):
    ours = bake(TorchPainter(device), scene, resolution, texels)
    agree(ours, bake(HostPainter(), scene, resolution, texels))
    assert (ours[1] > 0).mean() > 0.1


@pytest.mark.parametrize("device", [TORCH_CPU, pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize(("resolution", "texels"), [(128, np.uint16), (256, np.uint8), (512, np.uint16)])
def test_detail_is_brought_back_as_by_numba(scene, device, resolution, texels):
    ours, numba, smooth = (
        bake(painter, scene, resolution, texels, detail)
        for painter, detail in ((TorchPainter(device), 0.8), (HostPainter(), 0.8), (HostPainter(), 0.0))
    )
    agree(ours, numba)
    level = np.iinfo(texels).max / 255
    assert np.abs(numba[0].astype(float) - smooth[0]).mean() > 0.5 * level  # there was something to bring back


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_map_is_continued_and_doubled_as_by_numba_and_opencv(device, kind):
    rng = np.random.default_rng(5)
    texture = rng.integers(0, np.iinfo(kind).max, (300, 300, 3)).astype(kind)
    known = rng.random((300, 300)) < 0.1
    ours = torch.from_numpy((texture.view(np.int16) if kind == np.uint16 else texture).copy()).to(device)
    torch_fill.extend(ours, torch.from_numpy(known).to(device), 2)
    fill.extend(texture, known, 2)
    np.testing.assert_array_equal(ours.cpu().numpy().view(kind), texture)
    twice = cv2.resize(texture, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert np.abs(torch_fill.doubled(ours).cpu().numpy().view(kind).astype(int) - twice).max() <= 1


@pytest.mark.parametrize("device", [TORCH_CPU, pytest.param("cuda", marks=CUDA)])
def test_a_frame_is_solved_as_by_numba(device):
    scene = Scene.of(wall=replace(WALL, colour=pores))
    canvas, off = Canvas.of(scene.template, 64), [0.9, -0.6, 0.0, 0.7, -0.9, 0.0, -0.5]
    off = [replace(camera, cx=camera.cx + px) for camera, px in zip(scene.cameras, off, strict=True)]
    scene = replace(scene, cameras=off)
    ours, numba = (scene.solve(painter, canvas) for painter in (TorchPainter(device), HostPainter()))
    assert np.abs(numba.shifts).max() > 0.2  # there is something to align
    np.testing.assert_allclose(ours.shifts, numba.shifts, atol=0.05)
    np.testing.assert_allclose(ours.colours.gains, numba.colours.gains, atol=1e-3)
    np.testing.assert_allclose(ours.colours.corrections, numba.colours.corrections, atol=0.5)  # of 255: bytes round
    assert ours.choice.views == numba.choice.views and ours.choice.power == pytest.approx(numba.choice.power, rel=1e-2)
    assert (ours.order == numba.order).mean() > 0.99
    codes = ours.views.codes.cpu().numpy().view(np.uint16)
    assert ((codes > 0) == (numba.views.codes > 0)).mean() > 0.999
    assert np.abs(codes.astype(int) - numba.views.codes)[(codes > 0) & (numba.views.codes > 0)].max() <= 1
    assert list(ours.views.present) == list(numba.views.present) == [True] * 5 + [False, True]


def test_a_later_frame_is_held_to_the_first_as_by_numba(scene):
    canvas = Canvas.of(scene.template, 64)
    first = scene.solve(HostPainter(), canvas)
    before = first.colours, first.choice
    ours, numba = (scene.solve(painter, canvas, before) for painter in (TorchPainter(TORCH_CPU), HostPainter()))
    assert ours.choice == numba.choice == first.choice
    np.testing.assert_allclose(ours.colours.gains, numba.colours.gains, atol=1e-3)


def test_clean_plates_that_nothing_spoils():
    clean = Scene.of((100, 100), spoil=False)
    agree(bake(TorchPainter(TORCH_CPU), clean, 128), bake(HostPainter(), clean, 128))


def test_one_camera_and_none():
    alone = Scene.of((100,), spoil=False)
    agree(bake(TorchPainter(TORCH_CPU), alone, 64), bake(HostPainter(), alone, 64))
    nothing = Scene(alone.template, alone.cameras, [(0, None, None)])
    assert nothing.solve(TorchPainter(TORCH_CPU), Canvas.of(alone.template, 64)) is None


def test_the_same_bits_again_and_whatever_goes_through_at_once(scene):
    one, two = (bake(TorchPainter(TORCH_CPU), scene, 128) for _ in range(2))
    small = bake(TorchPainter(TORCH_CPU, most=2**14), scene, 128)
    for other in (two, small):
        np.testing.assert_array_equal(one[1], other[1])
    np.testing.assert_array_equal(one[0], two[0])
    assert np.abs(one[0].astype(int) - small[0]).max() <= 1


def small_card(monkeypatch, room: int) -> list[int]:
    """Let the steps fail as CUDA does where more than `room` goes through at once; the sizes that were tried."""
    tried, fitting = [], torch_budget.Budget.fitting

    def limited(self, work):
        def within(most):
            tried.append(most)
            if most > room:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return work(most)

        return fitting(self, within)

    monkeypatch.setattr(torch_budget.Budget, "fitting", limited)
    return tried


def test_spent_memory_is_met_with_less_at_once(scene, monkeypatch):
    expected = bake(TorchPainter(TORCH_CPU), scene, 64)
    tried = small_card(monkeypatch, 2**15)
    agree(bake(TorchPainter(TORCH_CPU), scene, 64), expected)
    assert tried[:5] == [2**19, 2**18, 2**17, 2**16, 2**15] and max(tried[5:]) == 2**15


def test_memory_that_holds_nothing_is_one_sentence(scene, monkeypatch):
    small_card(monkeypatch, 1)
    with pytest.raises(WorkError, match="graphics card's memory is spent; close other programs"):
        bake(TorchPainter(TORCH_CPU), scene, 64)


ROOM = ("painter.TorchComparing", "painter.Flat.of", "painter.TorchBlend", "backproject.BackProjection")


@pytest.mark.parametrize("place", [*ROOM, "backproject.BackProjection._prepare"])
def test_what_finds_no_room_before_its_work_begins_is_one_sentence_too(scene, monkeypatch, place):
    def spent(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(f"topo4d_blender.core.texture.torch_{place}", spent)
    with pytest.raises(WorkError, match="graphics card's memory is spent; close other programs"):
        bake(TorchPainter(TORCH_CPU), scene, 256, detail=0.8)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("reach", [0.4, 1.5, 2.6, 5.2])
def test_jumps_in_depth_keep_their_distance_as_opencv_dilates(device, reach):
    rng = np.random.default_rng(1)
    zbuf = np.where(rng.random((37, 51)) < 0.01, np.inf, 1 + (rng.random((37, 51)) < 0.01)).astype(np.float32)
    ours = torch_views.near_jumps(torch.from_numpy(zbuf).to(device), 0.5, reach).cpu().numpy()
    np.testing.assert_array_equal(ours, _near_jumps(zbuf, 0.5, reach))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("size", [(51, 37), (17, 9), (25, 37), (50, 36)])
def test_shrinking_is_opencvs_by_area(device, size):
    picture = np.random.default_rng(2).integers(0, 256, (37, 51, 3)).astype(np.uint8)
    ours = torch_kernels.shrink(torch.from_numpy(picture).to(device), size).cpu().numpy()
    expected = cv2.resize(picture.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
def test_plates_are_read_as_by_the_kernel(device):
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (2 * 9 * 7, 3)).astype(np.uint8)
    u, v, k = rng.uniform(-0.4, 9.4, 200), rng.uniform(-0.4, 7.4, 200), rng.integers(0, 2, 200)
    sizes = torch.tensor([[9, 7], [9, 7]], device=device)
    cameras = torch_kernels.Cameras(torch.tensor([0, 63], device=device), sizes, torch.ones(2, 2, device=device))
    points = (torch.from_numpy(values).to(device) for values in (k, u, v))
    ours = torch_kernels.sample_plates(torch.from_numpy(pixels).to(device), cameras, *points).cpu().numpy()
    padded = np.concatenate([pixels.ravel(), np.zeros(16, np.uint8)])  # the kernel reads a little past a row
    scratch = np.zeros(16, np.float32)
    expected = [kernels.sample_plate(padded, 63 * n, 9, 7, x, y, scratch) for n, x, y in zip(k, u, v, strict=True)]
    np.testing.assert_allclose(ours, expected, atol=1e-3)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("size", "kind"), [(64, np.uint8), (37, np.uint16)])
def test_what_is_empty_is_filled_as_by_numba(device, size, kind):
    rng = np.random.default_rng(4)
    texture = rng.integers(0, np.iinfo(kind).max, (size, size, 3)).astype(kind)
    empty = rng.random((size, size)) < 0.9
    empty[: size // 2] = True
    bits = texture.view(np.int16) if kind == np.uint16 else texture
    ours = torch.from_numpy(bits.copy()).to(device)
    fill_empty(ours, torch.from_numpy(empty).to(device), 5 * size)
    fill.fill_empty(texture, empty)
    level = np.iinfo(kind).max / 255
    assert np.abs(ours.cpu().numpy().view(kind).astype(float) - texture).max() <= max(level * 0.02, 1)


@pytest.mark.parametrize("device", DEVICES)
def test_torch_draws_uv_maps_as_numba_does(device, monkeypatch):
    monkeypatch.setattr("topo4d_blender.core.texture.rasterise._TEXELS", 64 * 10)  # some rows at once
    corners = np.random.default_rng(3).uniform(-8, 72, (200, 3, 2))
    assert (with_torch(corners, 64, device) != with_numba(corners, 64)).mean() < 0.001  # centres on an edge


@pytest.mark.parametrize("device", [TORCH_CPU, pytest.param("cuda", marks=CUDA)])
@pytest.mark.parametrize("tiles", [False, True])
def test_a_take_is_baked_and_its_maps_say_where(tmp_path, device, tiles):
    boards = [WALL, BLUE]
    template = scenes.template_of(boards)
    if tiles:
        blue = np.repeat(np.arange(len(template.uv)) >= len(template.uv) // 2, 2).reshape(-1, 2)
        template.uv[blue[:, 0], 0] += 1
    maps = {}
    for name in ("cpu", device):
        folder = tmp_path / name.replace(":", "_")
        take, capture = scenes.make_take(folder, boards, scenes.rig(4), (1, 2), template)
        assert bake_take(take, capture, 64, device=name) == [1, 2]
        found = Maps(take.folder)
        assert {line["device"] for line in found._lines().values()} == {name}
        places = [found.master(frame, tile) for frame in (1, 2) for tile in found.request.tiles or (None,)]
        maps[name] = np.stack([cv2.imread(str(path)) for path in places]).astype(int)
    assert len(maps["cpu"]) == (4 if tiles else 2) and np.abs(maps["cpu"] - maps[device]).max() <= 2


@pytest.mark.parametrize("device", [TORCH_CPU, pytest.param("cuda", marks=CUDA)])
def test_a_device_that_agrees_is_used(device):
    assert torch_check.bakes_on(device) == (True, "")


def test_a_device_that_is_not_there_or_computes_otherwise_says_so(monkeypatch):
    works, why = torch_check.bakes_on("cuda:77")
    assert not works and why
    monkeypatch.setattr(TorchPainter, "fill", lambda self, texture, canvas: np.negative(texture, out=texture))
    works, why = torch_check.bakes_on(TORCH_CPU)
    assert not works and "of its texels are not those of the processor" in why
