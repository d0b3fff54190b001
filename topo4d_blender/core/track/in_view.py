"""Whether a mesh lies where the cameras look."""

from __future__ import annotations

import numpy as np

from ..capture import Camera

Array = np.ndarray
LEAST_SHARE = 0.15  # of the vertices that must lie in some picture
LEAST_PIXELS = 24  # across, in some picture


def out_of_view(vertices: Array, cameras: tuple[Camera, ...]) -> str:
    """Why no camera can see enough of the mesh (a wrong unit, mostly); "" if one can."""
    shares, sizes = [], []
    for camera in cameras:
        pixels, depth = camera.undistorted().project(vertices)
        inside = (depth > 0) & (pixels > 0).all(axis=1) & (pixels < (camera.width, camera.height)).all(axis=1)
        shares.append(inside.mean())
        sizes.append(np.ptp(pixels[inside], axis=0).max() if inside.any() else 0.0)
    if max(shares) < LEAST_SHARE:
        return f" (at most {100 * max(shares):.0f} % of it lies in any picture)"
    if max(sizes) < LEAST_PIXELS:
        return f" (it is {max(sizes):.0f} px small)"
    return ""
