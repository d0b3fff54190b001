"""The plates of one frame at the sizes the stages work at: a stage that blurs much works on small pictures.

All plates of a level share one flat buffer, so that cameras of different sizes go through one kernel call.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from ..capture import Camera

Array = np.ndarray
KEPT_BLUR = 1.4  # a level is halved in size while its blur stays at least this many pixels: nothing is lost by it


@dataclass(frozen=True)
class LevelCameras:
    """The cameras at one level's image sizes, as arrays for the kernels.  K cameras."""

    sizes: Array  # [K, 2] int64: height, width
    offsets: Array  # [K] int64: where the plate begins in a flat buffer of pixels
    intrinsics: Array  # [K, 4] float64: fx fy cx cy
    rotations: Array  # [K, 3, 3] float64
    translations: Array  # [K, 3] float64
    centres: Array  # [K, 3] float64
    camera_of: Array  # [pixels] int16: the camera that each pixel belongs to
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
                camera_of=np.repeat(np.arange(len(cameras), dtype=np.int16), counts),
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


def build_pyramid(plates: list[Array | None], levels: list[LevelCameras]) -> list[Array]:
    """Every plate at every level's size.

    `plates` are float32 [H, W, 3] at working size, None where the camera has no plate of this frame (NaN inside).
    Returns one buffer [pixels] float32 of brightness a level; levels of one size share a buffer. Brightness alone,
    because that is what moves with the skin: its colour hardly varies, and cameras and files keep less of it.
    """
    greys = [None if plate is None else cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY) for plate in plates]
    buffers: dict[tuple, Array] = {}
    for level in levels:
        key = tuple(level.sizes.ravel())
        if key in buffers:
            continue
        buffers[key] = np.empty(level.pixels, np.float32)
        for k, plate in enumerate(greys):
            view = level.view(buffers[key], k)
            height, width = view.shape[:2]
            if plate is None:
                view[:] = np.nan
            elif plate.shape[:2] == (height, width):
                view[:] = plate
            else:
                cv2.resize(plate, (width, height), dst=view, interpolation=cv2.INTER_AREA)
    return [buffers[tuple(level.sizes.ravel())] for level in levels]
