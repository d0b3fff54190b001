"""Plates as arrays: any size, 8 or 16 bit, gray, RGB or RGBA in; RGB, undistorted, out.

Safe to call from several threads at once: Pillow and OpenCV release the interpreter while they decode and resample.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from ..errors import RequestError
from .camera import Array, Camera

Image.MAX_IMAGE_PIXELS = None  # plates are the user's own and may be larger than what Pillow takes for an attack
_CACHED_PIXELS = (
    4_000_000  # maps of larger plates are made anew each time: six bytes a pixel a camera would fill memory
)


def read_plate(path: Path, camera: Camera | None = None) -> Array:
    """The picture at `path` as uint8 or uint16 RGB [H, W, 3], its lens distortion (if `camera` is given) taken out.

    Alpha is dropped, EXIF orientation ignored. Undistorted plates have the intrinsics of `camera`; where they show what
    the lens did not film, the border is repeated. Raises RequestError naming the file if it is empty, truncated or not
    a picture, or not of `camera`'s size.
    """
    pixels = _decode(Path(path))
    if camera is None:
        return pixels
    height, width = pixels.shape[:2]
    if (width, height) != (camera.width, camera.height):
        raise RequestError(
            f"{path} is {width}x{height} px but the first image of camera {camera.name} is "
            f"{camera.width}x{camera.height}; export all images of a camera at one size."
        )
    if not any(camera.distortion):
        return pixels
    return cv2.remap(pixels, *_maps(camera), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)


def image_size(path: Path) -> tuple[int, int]:
    """Width and height in px of the picture at `path`, from its header. Raises RequestError naming the file."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, ValueError, SyntaxError) as error:
        raise _unreadable(path, error) from error


def _decode(path: Path) -> Array:
    """RGB pixels as they lie in the file.  # [H, W, 3] uint8 | uint16."""
    try:
        with Image.open(path) as picture:
            deep = _is_16_bit(picture)
            if picture.mode in ("F", "I") and not deep:
                raise RequestError(f"{path} has floating-point or 32-bit pixels; export it with 8 or 16 bits.")
            picture.load()  # complains about a truncated file, which OpenCV would fill with gray
            if not deep:
                return np.array(picture.convert("RGB"))
        return _decode_16_bit(path)
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise _unreadable(path, error) from error


def _is_16_bit(picture: Image.Image) -> bool:
    """Whether the file holds 16 bits a channel: Pillow would halve them for colour pictures."""
    if picture.mode.startswith("I;16"):
        return True
    arguments = picture.tile[0][3] if picture.tile else ""
    raw_mode = arguments[0] if isinstance(arguments, tuple) else arguments
    return isinstance(raw_mode, str) and ";16" in raw_mode


def _decode_16_bit(path: Path) -> Array:
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise RequestError(f"{path} holds 16-bit pixels in a form that is not read; export it as PNG or plain TIFF.")
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.shape[2] < 3:  # gray, gray and alpha
        return np.repeat(pixels[:, :, :1], 3, axis=2)
    return np.ascontiguousarray(pixels[:, :, 2::-1])


def _unreadable(path: Path, error: Exception) -> RequestError:
    path = Path(path)
    if not path.is_file():
        return RequestError(f"There is no image {path}.")
    if path.stat().st_size == 0:
        return RequestError(f"{path} is empty; export or copy this image again.")
    if isinstance(error, PermissionError):
        return RequestError(f"{path} cannot be read ({error.strerror}).")
    return RequestError(f"{path} is truncated or not an image; export or copy it again.")


def _maps(camera: Camera) -> tuple[Array, Array]:
    intrinsics = (camera.fx, camera.fy, camera.cx, camera.cy)
    make = _cached_maps if camera.width * camera.height <= _CACHED_PIXELS else _make_maps
    return make(camera.width, camera.height, intrinsics, camera.distortion)


def _make_maps(
    width: int, height: int, intrinsics: tuple[float, ...], distortion: tuple[float, ...]
) -> tuple[Array, Array]:
    """Where each pixel of the undistorted plate is found in the filmed one, in OpenCV's fixed point."""
    fx, fy, cx, cy = intrinsics
    # OpenCV counts from the first pixel's centre, our coordinates from its corner.
    matrix = np.array([[fx, 0.0, cx - 0.5], [0.0, fy, cy - 0.5], [0.0, 0.0, 1.0]])
    return cv2.initUndistortRectifyMap(matrix, np.array(distortion), None, matrix, (width, height), cv2.CV_16SC2)


_cached_maps = lru_cache(maxsize=64)(_make_maps)
