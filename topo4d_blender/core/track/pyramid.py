"""The scale space of one frame: every plate blurred to each level, coarse ones stored small.

All plates of a level share one flat buffer, so that cameras of different sizes go through one kernel call.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..capture import Camera

Array = np.ndarray
KEPT_BLUR = 1.4  # a level is halved in size while its blur stays above this many pixels: nothing is lost by it


@dataclass(frozen=True)
class LevelCameras:
    """The cameras at one level's image sizes, as arrays for the kernels.  K cameras."""

    sizes: Array  # [K, 2] int64: height, width
    offsets: Array  # [K] int64: where the plate begins in a flat buffer of pixels
    intrinsics: Array  # [K, 4] float64: fx fy cx cy
    rotations: Array  # [K, 3, 3] float64
    translations: Array  # [K, 3] float64
    centres: Array  # [K, 3] float64
    blur: float  # sigma in pixels of this level

    @property
    def pixels(self) -> int:
        """Pixels of all cameras together."""
        return int((self.sizes[:, 0] * self.sizes[:, 1]).sum())

    def view(self, buffer: Array, k: int) -> Array:
        """Camera `k`'s part of a flat buffer [pixels, ...] as an image [H, W, ...]."""
        height, width = self.sizes[k]
        start = self.offsets[k]
        return buffer[start : start + height * width].reshape(height, width, *buffer.shape[1:])


def working_scale(camera: Camera, pixels: int) -> int:
    """The whole number by which a camera's plates are reduced so that they have at most `pixels` pixels."""
    return max(1, int(np.ceil(np.sqrt(camera.width * camera.height / pixels))))


def level_cameras(cameras: tuple[Camera, ...], blurs: list[float], scales: list[int]) -> list[LevelCameras]:
    """Cameras for each blur (pixels at working size, plates reduced by `scales`); no lens distortion."""
    levels = []
    for blur in blurs:
        halvings = max(0, int(np.floor(np.log2(blur / KEPT_BLUR)))) if blur > KEPT_BLUR else 0
        sizes, intrinsics = [], []
        for camera, scale in zip(cameras, scales, strict=True):
            factor = scale * 2**halvings
            width, height = max(2, round(camera.width / factor)), max(2, round(camera.height / factor))
            sx, sy = width / camera.width, height / camera.height
            sizes.append((height, width))
            intrinsics.append((camera.fx * sx, camera.fy * sy, camera.cx * sx, camera.cy * sy))
        sizes = np.array(sizes, np.int64)
        counts = sizes[:, 0] * sizes[:, 1]
        levels.append(
            LevelCameras(
                sizes=sizes,
                offsets=np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64),
                intrinsics=np.array(intrinsics),
                rotations=np.stack([c.rotation for c in cameras]).astype(np.float64),
                translations=np.stack([c.translation for c in cameras]).astype(np.float64),
                centres=np.stack([c.centre for c in cameras]).astype(np.float64),
                blur=blur / 2**halvings,
            )
        )
    return levels


def shrink_plate(plate: Array, scale: int) -> Array:
    """A plate [H, W, 3] of 8 or 16 bits at working size, float32 in 0..1."""
    top = np.float32(np.iinfo(plate.dtype).max)
    if scale > 1:
        height, width = plate.shape[:2]
        plate = cv2.resize(plate, (round(width / scale), round(height / scale)), interpolation=cv2.INTER_AREA)
    return plate.astype(np.float32) / top


def _build_level(plate: Array, level: LevelCameras, k: int, reached: float) -> tuple[Array, float]:
    """From a plate [H, W, 3] float32 already blurred by `reached` pixels to camera `k`'s image of `level`.

    Gaussians add in squares, so each level is made from the finer one. Returns the image and its blur in own pixels.
    """
    scale = plate.shape[1] / level.sizes[k, 1]
    missing = np.sqrt(max(0.0, (level.blur * scale) ** 2 - reached**2))
    if missing > 0.05:
        plate = cv2.GaussianBlur(plate, (0, 0), missing, borderType=cv2.BORDER_REPLICATE)
    if scale > 1:
        height, width = level.sizes[k]
        plate = cv2.resize(plate, (int(width), int(height)), interpolation=cv2.INTER_AREA)
    return plate, level.blur


def build_pyramid(plates: list[Array | None], levels: list[LevelCameras]) -> list[Array]:
    """Every plate at every level; `levels` from coarse to fine.

    `plates` are float32 [H, W, 3] at working size, None where the camera has no plate of this frame (NaN inside).
    Returns one buffer [pixels, 3] float32 a level, in the order of `levels`.
    """
    buffers = [np.empty((level.pixels, 3), np.float32) for level in levels]
    for k, plate in enumerate(plates):
        reached = 0.0
        for level, buffer in zip(reversed(levels), reversed(buffers), strict=True):
            view = level.view(buffer, k)
            if plate is None:
                view[:] = np.nan
                continue
            plate, reached = _build_level(plate, level, k, reached)
            view[:] = plate
    return buffers
