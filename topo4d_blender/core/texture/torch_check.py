"""Whether a device bakes what the processor bakes: asked before it is chosen unasked, as track/torch_check.py does."""

from __future__ import annotations

import numpy as np

from ..template import Template
from ..track import torch_check as tracking
from .frame import Canvas
from .painter import Painter, open_painter
from .torch_painter import TorchPainter
from .uv import map_uv

Array = np.ndarray
RESOLUTION = 96
APART = 4  # levels of 255: rounding moves a texel by one
UNLIKE = 0.01  # share of the texels that may be others: rounding decides whether a pixel at a rim is trusted


def bakes_on(device: str) -> tuple[bool, str]:
    """Whether the bake works on `device` (a name of torch's), and if not why, in a few words."""
    try:
        unlike = unlike_on(device)
    except Exception as error:  # a driver fails in any way
        return False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return unlike < UNLIKE, "" if unlike < UNLIKE else f"{unlike:.1%} of its texels are not those of the processor"


def unlike_on(device: str) -> float:
    """The share of what either sees that only one of them sees, or that differs by more than APART levels."""
    (there, seen_there), (here, seen_here) = (_map(painter) for painter in (TorchPainter(device), open_painter("cpu")))
    either = (seen_there > 0) | (seen_here > 0)
    apart = np.abs(there.astype(np.int16) - here).max(axis=2) > APART
    unlike = ((seen_there > 0) != (seen_here > 0)) | apart
    return float(unlike[either].mean()) if either.any() else 1.0


def _map(painter: Painter) -> tuple[Array, Array]:
    """A sheet's map and its coverage, the map drawn and filled by the painter's own means."""
    sheet = tracking.make_sheet()
    loops = sheet.loops.reshape(-1, 4)[:, ::-1].ravel()  # the tracker does not ask which side it sees
    uv = (0.05 + 0.45 * (sheet.vertices[loops, :2] + 1)).astype(np.float32)
    template = Template(sheet.vertices, loops, sheet.face_starts, uv)
    cameras = [tracking.make_camera(k, *size) for k, size in enumerate(tracking.SIZES)]
    plates = [np.rint(255 * tracking.make_plate(k, size, 0)).astype(np.uint8) for k, size in enumerate(tracking.SIZES)]
    canvas = Canvas.of(template, RESOLUTION, map_uv(template, RESOLUTION, device=painter.device))
    given = [(k, plate, None) for k, plate in enumerate(plates)]
    solved = painter.solve(canvas, template.vertices, cameras, given, lambda: None)
    texture, coverage = painter.paint(canvas, solved)
    painter.fill(texture, canvas)
    return texture, coverage
