"""Whether a mesh lies where the cameras look, and whether it is about as large as what they frame."""

from __future__ import annotations

import numpy as np

from ..capture import Camera
from .sight import inside

Array = np.ndarray
LEAST_SHARE = 0.15  # of the vertices that must lie in some picture
LEAST_PIXELS = 24  # across, in some picture
USUAL = 0.85  # of what the cameras frame, across: a head
FAR_OFF = 4.0  # times as large or as small as that: its size is spoken of
UNITS = {1.0: "millimetres", 10.0: "centimetres", 25.4: "inches", 1000.0: "metres"}  # millimetres in one
SURE = 2.0  # a unit that brings the mesh within this factor of the usual size may be its own


def out_of_view(vertices: Array, cameras: tuple[Camera, ...], unit_mm: float) -> str:
    """Why no camera can see enough of the mesh (a wrong unit, mostly); "" if one can."""
    shares, sizes = [], []
    for camera in cameras:
        pixels, depth = camera.undistorted().project(vertices)
        there = inside(camera, pixels, depth)
        shares.append(there.mean())
        sizes.append(np.ptp(pixels[there], axis=0).max() if there.any() else 0.0)
    if max(shares) < LEAST_SHARE:
        why = f"at most {100 * max(shares):.0f} % of it lies in any picture"
    elif max(sizes) < LEAST_PIXELS:
        why = f"it spans {max(sizes):.0f} px at most"
    else:
        return ""
    size = size_in_words(vertices, cameras, unit_mm)
    return f" ({why}{'; ' if size else ''}{size})"


def size_in_words(vertices: Array, cameras: tuple[Camera, ...], unit_mm: float) -> str:
    """That the mesh is far too large or small for what the cameras frame, and which unit it may be in; "" if not.

    `unit_mm` is the capture's.
    """
    framed = framed_size(cameras)
    size = float(np.ptp(vertices, axis=0).max())
    if framed is None or size <= 0:
        return ""
    ratio = size / (USUAL * framed)
    if 1 / FAR_OFF < ratio < FAR_OFF:
        return ""
    off = {mm: abs(np.log(ratio * mm / unit_mm)) for mm in UNITS if mm != unit_mm}
    likely = min(off, key=off.get)
    sure = off[likely] < np.log(SURE)
    if sure:
        ratio = unit_mm / likely
    times = max(ratio, 1 / ratio)
    number = f"{times:.4g}" if sure and times < 1000 else _about(times)
    text = f"it looks {number} times too {'large' if ratio > 1 else 'small'}"
    ours = UNITS.get(unit_mm, f"units of {unit_mm:g} mm")
    return f"{text}: is it in {UNITS[likely]}, and the capture in {ours}?" if sure else text


def framed_size(cameras: tuple[Camera, ...]) -> float | None:
    """How much the median camera shows, across, of the place that all cameras look at, capture units.

    None if that place is not known: one camera, or cameras that look past each other. It is the point nearest to all
    optical axes, by least squares.
    """
    centres = np.stack([camera.centre for camera in cameras])
    axes = np.stack([camera.rotation[2] for camera in cameras])
    across = np.eye(3) - axes[:, :, None] * axes[:, None]  # what of an offset lies across each axis
    total = across.sum(axis=0)
    if np.linalg.eigvalsh(total)[0] < 1e-3 * len(cameras):  # axes nearly parallel
        return None
    place = np.linalg.solve(total, (across @ centres[..., None]).sum(axis=0))[:, 0]
    depth = ((place - centres) * axes).sum(axis=1)
    if np.median(depth) <= 0:
        return None
    return float(np.median([d * max(c.width / c.fx, c.height / c.fy) for d, c in zip(depth, cameras, strict=True)]))


def _about(number: float) -> str:
    """One digit is all that is known of it."""
    rounded = float(f"{number:.0e}")
    return f"{rounded:,.0f}"
