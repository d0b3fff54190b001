"""The formats of a map: what its texels hold, and how they go into a file with their colour space.

A map is solved as sRGB in 8 or 16 bits. PNG says so by its sRGB chunk, JPEG and TIFF by an ICC profile. EXR holds light
instead: the same values taken through the inverse of the sRGB curve (IEC 61966-2-1), as half floats, with the primaries
of Rec. 709 named in its header.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms

from ..errors import RequestError, WorkError
from ..files import atomic_file, atomic_write

Array = np.ndarray
JPEG_QUALITY = 95
_REC_709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)  # x, y of red, green, blue and white
_ROWS = 256  # of a map are taken to light at once
_AFTER_HEADER = 33  # where a PNG's first chunk ends: 8 bytes of signature, 25 of IHDR


@dataclass(frozen=True)
class Format:
    """How masters are written."""

    texels: type  # np.uint8 or np.uint16: what is solved and handed to `write`
    bytes_a_texel: float  # in the file, measured on skin with grain; a guess for the disk, not a promise
    write: Callable[[Path, Array], None]  # whole or not at all; raises StorageError


def format_of(name: str) -> Format:
    """The format called `name`. Raises RequestError if there is none."""
    if name not in FORMATS:
        raise RequestError(f"Maps are not written as {name!r}; choose one of {', '.join(FORMATS)}.")
    return FORMATS[name]


def write_png(path: Path, texels: Array) -> None:
    """`texels` [H, W, 3] RGB or [H, W] gray, uint8 or uint16, as PNG; sRGB where it has colour."""
    colour = texels.ndim == 3
    # Run lengths after the row filter: grain has no repetitions worth looking for, and this is the fastest way.
    options = [cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE]
    done, content = cv2.imencode(".png", cv2.cvtColor(texels, cv2.COLOR_RGB2BGR) if colour else texels, options)
    if not done:
        raise WorkError(f"{path} could not be encoded as PNG.")
    content = memoryview(content)

    def write(file) -> None:
        file.write(content[:_AFTER_HEADER])
        if colour:
            file.write(_chunk(b"sRGB", b"\0"))  # perceptual intent
        file.write(content[_AFTER_HEADER:])

    atomic_write(path, write)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _write_jpeg(path: Path, texels: Array) -> None:
    options = {"quality": JPEG_QUALITY, "subsampling": 0, "icc_profile": _srgb_profile()}
    atomic_write(path, lambda file: Image.fromarray(texels).save(file, "JPEG", **options))


def _write_tiff(path: Path, texels: Array) -> None:
    import tifffile

    # Not compressed: grain in 16 bits shrinks by a sixth alone, and every program reads it.
    options = {"photometric": "rgb", "iccprofile": _srgb_profile(), "metadata": None, "software": False}
    atomic_write(path, lambda file: tifffile.imwrite(file, texels, **options))


def _write_exr(path: Path, texels: Array) -> None:
    import OpenEXR

    table = srgb_to_linear(np.arange(65536) / 65535).astype(np.float16)
    light = np.empty(texels.shape, np.float16)
    for row in range(0, len(texels), _ROWS):  # looking up makes indices of 8 bytes
        light[row : row + _ROWS] = table[texels[row : row + _ROWS]]
    header = {
        "compression": OpenEXR.PIZ_COMPRESSION,  # the smallest and fastest of the lossless ones for grain
        "type": OpenEXR.scanlineimage,
        "chromaticities": _REC_709,
    }
    atomic_file(path, lambda beside: OpenEXR.File(header, {"RGB": light}).write(str(beside)))


def srgb_to_linear(values: Array) -> Array:
    """Light in 0..1 from sRGB values in 0..1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@cache
def _srgb_profile() -> bytes:
    """The ICC profile of sRGB; its date of creation is fixed, so that one map has the same bytes every time."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return profile[:24] + struct.pack(">6H", 2000, 1, 1, 0, 0, 0) + profile[36:]


FORMATS = {
    "png": Format(np.uint8, 1.4, write_png),
    "png16": Format(np.uint16, 4.9, write_png),
    "jpeg": Format(np.uint8, 0.5, _write_jpeg),
    "tiff": Format(np.uint16, 6.0, _write_tiff),
    "exr": Format(np.uint16, 3.0, _write_exr),
}
