"""A frame's files: masters, proxies for the viewport and coverage, and the room they need before they are there."""

from __future__ import annotations

import shutil

import cv2
import numpy as np

from ..errors import StorageError
from ..take.maps import PROXY, MapRequest, Maps
from .formats import format_of, write_png

Array = np.ndarray
_PROXY_BYTES = 1.4  # a texel of an 8-bit PNG
_COVERAGE_BYTES = 0.4  # a texel: smooth but at its borders


def write_tile(maps: Maps, request: MapRequest, frame: int, tile: int | None, texture: Array, coverage: Array) -> None:
    """Write what belongs to one map: `texture` [R, R, 3] uint8 or uint16 (sRGB) and `coverage` [R, R] uint8.

    The master comes last, so that a master means that all is there. Raises StorageError.
    """
    write_png(maps.coverage(frame, tile), _shrunk(coverage))
    if not request.small:
        write_png(maps.proxy(frame, tile), _as_8_bit(_shrunk(texture)))
    format_of(request.format).write(maps.master(frame, tile), texture)


def require_room(maps: Maps, request: MapRequest, frames: list[int]) -> None:
    """Raise StorageError unless the take's disk has room for the maps of `frames`.

    Maps that will go before, because they were baked otherwise, count as room. Others are replaced one file after the
    other, so they count but for one.
    """
    tiles = len(request.tiles or (None,))
    small = min(request.resolution, PROXY) ** 2
    a_map = request.resolution**2 * format_of(request.format).bytes_a_texel + small * _COVERAGE_BYTES
    a_map += 0 if request.small else small * _PROXY_BYTES
    need = int(a_map * tiles * len(frames))
    to_go = maps.bytes_to_go(request)
    if not to_go and (there := maps.bytes_of(frames)):
        need = max(need - there, 0) + int(a_map)
    free = shutil.disk_usage(maps.folder).free + to_go
    if need > free:
        raise StorageError(
            f"The maps of {len(frames)} frame(s), {request.resolution} texels as {request.format}, need about "
            f"{_in_words(need)}, and the disk of {maps.folder} has {_in_words(free)} free; make room, or bake fewer "
            "frames (--frames 1-100:5), smaller maps (--resolution) or JPEG (--format jpeg)."
        )


def _shrunk(texels: Array) -> Array:
    if texels.shape[0] <= PROXY:
        return texels
    return cv2.resize(texels, (PROXY, PROXY), interpolation=cv2.INTER_AREA)


def _as_8_bit(texels: Array) -> Array:
    """Rounded, so that 65535 is 255."""
    if texels.dtype == np.uint8:
        return texels
    return ((texels.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _in_words(size: int) -> str:
    for unit, name in ((2**30, "GB"), (2**20, "MB")):
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size / 2**10:.0f} kB"
