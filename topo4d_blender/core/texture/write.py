"""Texture files: PNG masters and their proxies, sRGB, each there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

from ..files import atomic_write

PROXY = 2048  # texels along a side of the viewport's copy


def write_texture(master: Path, proxy: Path, texture: np.ndarray) -> None:
    """Write `texture` [R, R, 3] uint8 (sRGB) and its proxy; the master last, so that a master means both are there.

    Raises StorageError if the disk is full or not writable.
    """
    image = Image.fromarray(texture)
    small = image
    if texture.shape[0] > PROXY:
        small = image.resize((PROXY, PROXY), Image.Resampling.LANCZOS, reducing_gap=2.0)
    _write_png(proxy, small)
    _write_png(master, image)


def texture_size(path: Path) -> tuple[int, int] | None:
    """Width and height in texels of a texture on disk; None if it cannot be read. Reads the header alone."""
    try:
        with Image.open(path) as image:
            return image.size
    except OSError:
        return None


def _write_png(path: Path, image: Image.Image) -> None:
    info = PngImagePlugin.PngInfo()
    info.add(b"sRGB", b"\0")  # the colour space, said in the file: perceptual intent
    atomic_write(path, lambda file: image.save(file, "PNG", compress_level=1, pnginfo=info))
