"""Values of a picture between its pixels, for any number of places."""

from __future__ import annotations

import cv2
import numpy as np

Array = np.ndarray
_WIDE = 256  # places side by side: cv2.remap knows neither rows nor columns beyond 32,766


def sample(picture: Array, pixels: Array) -> Array:
    """Bilinear values of `picture` at continuous `pixels` [N, 2], the first pixel's centre at 0.5: [N] or [N, C]."""
    if not len(pixels):
        return np.zeros((0, *picture.shape[2:]), np.float32)
    places = np.zeros((-(-len(pixels) // _WIDE) * _WIDE, 2), np.float32)
    places[: len(pixels)] = pixels - 0.5
    values = cv2.remap(picture, places.reshape(-1, _WIDE, 2), None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return values.reshape(-1, *picture.shape[2:])[: len(pixels)]
