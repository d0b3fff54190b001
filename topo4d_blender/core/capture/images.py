"""Plates as arrays: any size, 8 or 16 bit, gray, RGB or RGBA in; RGB, undistorted, out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .camera import Camera


def read_plate(path: Path, camera: Camera | None = None) -> np.ndarray:
    """The picture at `path` as uint8 or uint16 RGB [H, W, 3], its lens distortion (if `camera` is given) taken out.

    Raises RequestError naming the file if it is empty, truncated or not a picture, or not of `camera`'s size.
    """
    raise NotImplementedError
