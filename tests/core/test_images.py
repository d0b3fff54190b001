"""Plates: every kind of picture that cameras and tools write, and the lens taken out to a fraction of a pixel."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from topo4d_blender.core.capture import Camera, read_plate
from topo4d_blender.core.capture import images as images_module
from topo4d_blender.core.capture.images import image_size
from topo4d_blender.core.errors import RequestError

RNG = np.random.default_rng(0)
RGB8 = RNG.integers(0, 256, (30, 40, 3), np.uint8)
RGB16 = RNG.integers(0, 65536, (30, 40, 3)).astype(np.uint16)
GRAY16 = RGB16[:, :, 0]


def saved(path: Path, pixels: np.ndarray, mode: str | None = None, **options: object) -> Path:
    Image.fromarray(pixels, mode).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif", ".bmp", ".webp"])
def test_rgb_8_bit(tmp_path, suffix):
    plate = read_plate(saved(tmp_path / f"a{suffix}", RGB8, **({"lossless": True} if suffix == ".webp" else {})))
    assert plate.dtype == np.uint8 and np.array_equal(plate, RGB8)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_rgb_16_bit_keeps_its_bits(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(cv2.imencode(suffix, RGB16[:, :, ::-1])[1].tobytes())
    plate = read_plate(path)
    assert plate.dtype == np.uint16 and np.array_equal(plate, RGB16)


def test_rgba_16_bit_loses_its_alpha(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", np.dstack([RGB16[:, :, ::-1], GRAY16]))[1].tobytes())
    assert np.array_equal(read_plate(path), RGB16)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_gray_16_bit(tmp_path, suffix):
    plate = read_plate(saved(tmp_path / f"a{suffix}", GRAY16))
    assert plate.dtype == np.uint16 and np.array_equal(plate, np.repeat(GRAY16[:, :, None], 3, axis=2))


def test_gray_8_bit(tmp_path):
    plate = read_plate(saved(tmp_path / "a.png", RGB8[:, :, 0]))
    assert np.array_equal(plate, np.repeat(RGB8[:, :, :1], 3, axis=2))


def test_alpha_is_dropped_not_blended(tmp_path):
    plate = read_plate(saved(tmp_path / "a.png", np.dstack([RGB8, np.zeros((30, 40), np.uint8)])))
    assert np.array_equal(plate, RGB8)


def test_palette(tmp_path):
    few = (RGB8 // 128 * 255).astype(np.uint8)
    Image.fromarray(few).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "a.png")
    assert np.array_equal(read_plate(tmp_path / "a.png"), few)


def test_cmyk_jpeg(tmp_path):
    Image.new("CMYK", (40, 30), (0, 255, 255, 0)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_plate(tmp_path / "a.jpg").astype(int) - [255, 0, 0]).max() < 6


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_exif_orientation_is_ignored(tmp_path, suffix):
    exif = Image.Exif()
    exif[0x0112] = 6  # "turn me by 90 degrees"
    path = saved(tmp_path / f"a{suffix}", RGB8, exif=exif)
    assert read_plate(path).shape == (30, 40, 3) and image_size(path) == (40, 30)


# Bad input


def refused(path: Path, *words: str, camera: Camera | None = None) -> None:
    with pytest.raises(RequestError) as error:
        read_plate(path, camera)
    for word in (str(path), *words):
        assert word in str(error.value)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9])
@pytest.mark.parametrize("deep", [False, True])
def test_truncated(tmp_path, suffix, share, deep):
    path = tmp_path / f"a{suffix}"
    pixels = (RGB16 if deep and suffix != ".jpg" else RGB8)[:, :, ::-1]
    whole = cv2.imencode(suffix, pixels)[1].tobytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    refused(path, "truncated")


@pytest.mark.parametrize("content", [b"not a picture", b"\x89PNG\r\n\x1a\n", b"\0" * 4096])
def test_not_a_picture(tmp_path, content):
    path = tmp_path / "a.png"
    path.write_bytes(content)
    refused(path)
    with pytest.raises(RequestError, match=r"a\.png"):
        image_size(path)


def test_empty_and_absent(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")
    refused(tmp_path / "a.png", "empty")
    refused(tmp_path / "b.png", "no image")


def test_floating_point(tmp_path):
    refused(saved(tmp_path / "a.tif", RGB8[:, :, 0].astype(np.float32)), "floating-point")


def test_another_size_than_the_camera(tmp_path):
    refused(saved(tmp_path / "a.png", RGB8), "40x30", "41x30", "cam", camera=lens(41, 30))


# Lens


def lens(width: int, height: int, distortion: tuple[float, ...] = (0.0,) * 5) -> Camera:
    return Camera("cam", width, height, 260.0, 250.0, 0.47 * width, 0.55 * height, np.eye(4), distortion)


DISTORTIONS = [(-0.25, 0.08, 0.0, 0.0, 0.0), (0.12, -0.05, 0.004, -0.003, 0.02), (0.0, 0.0, 0.008, 0.006, 0.0)]


def dots(camera: Camera, points: np.ndarray, sigma: float = 1.6) -> np.ndarray:
    """The picture that `camera`, lens and all, has of bright dots at `points` [N, 3]; pixel centres at .5."""
    x, y = np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5
    picture = np.zeros((camera.height, camera.width))
    for u, v in camera.project(points)[0]:
        picture += np.exp(-((y[:, None] - v) ** 2 + (x - u) ** 2) / (2 * sigma**2))
    return np.rint(np.repeat(picture[:, :, None] * 60000, 3, axis=2)).astype(np.uint16)


def centroid(picture: np.ndarray, near: np.ndarray, reach: int = 7) -> np.ndarray:
    x0, y0 = (near - reach).astype(int)
    window = picture[y0 : y0 + 2 * reach, x0 : x0 + 2 * reach, 0].astype(np.float64)
    x, y = x0 + np.arange(2 * reach) + 0.5, y0 + np.arange(2 * reach) + 0.5
    return np.array([(window.sum(0) * x).sum(), (window.sum(1) * y).sum()]) / window.sum()


@pytest.mark.parametrize("distortion", DISTORTIONS)
@pytest.mark.parametrize("cached", [True, False])
def test_undistorted_dots_lie_where_the_pinhole_camera_says(tmp_path, monkeypatch, distortion, cached):
    if not cached:
        monkeypatch.setattr(images_module, "_CACHED_PIXELS", 0)
    camera = lens(200, 150, distortion)
    columns, rows = np.meshgrid(np.linspace(-0.28, 0.3, 5), np.linspace(-0.24, 0.2, 4))
    points = np.stack([columns.ravel(), rows.ravel(), np.ones(20)], axis=1)
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", dots(camera, points))[1].tobytes())
    plate = read_plate(path, camera)
    assert plate.shape == (150, 200, 3) and plate.dtype == np.uint16
    wanted = camera.undistorted().project(points)[0]
    moved = np.abs(camera.project(points)[0] - wanted).max()
    off = [np.abs(centroid(plate, w) - w).max() for w in wanted]
    assert moved > 0.5  # the lens does something
    assert max(off) < 0.06  # what is left is the dots' own change of shape


@pytest.mark.parametrize("distortion", DISTORTIONS)
def test_undistorted_pixels_come_from_where_the_lens_put_them(tmp_path, distortion):
    """A picture whose colour is its own coordinate tells for every pixel where it was fetched, half-pixels included."""
    camera = lens(200, 150, distortion)
    columns, rows = np.meshgrid(np.arange(200) + 0.5, np.arange(150) + 0.5)
    ramp = np.dstack([100 * columns, 100 * rows, 0 * rows]).astype(np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(cv2.imencode(".png", ramp[:, :, ::-1])[1].tobytes())
    rays = np.stack([(columns - camera.cx) / camera.fx, (rows - camera.cy) / camera.fy, np.ones_like(rows)], axis=2)
    wanted = camera.project(rays.reshape(-1, 3))[0].reshape(150, 200, 2)
    filmed = ((wanted > 2) & (wanted < [198, 148])).all(axis=2)
    assert filmed.mean() > 0.8
    fetched = read_plate(path, camera)[:, :, :2] / 100
    assert np.abs(fetched - wanted)[filmed].max() < 0.072  # OpenCV's cubic is this far from a straight line


def test_a_camera_without_distortion_leaves_the_plate_alone(tmp_path):
    path = saved(tmp_path / "a.png", RGB8)
    assert np.array_equal(read_plate(path, lens(40, 30)), RGB8)


def test_many_threads_read_alike(tmp_path):
    camera = lens(40, 30, DISTORTIONS[0])
    path = saved(tmp_path / "a.png", RGB8)
    images_module._cached_maps.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        plates = list(pool.map(lambda _: read_plate(path, camera), range(32)))
    assert all(np.array_equal(p, plates[0]) for p in plates)
