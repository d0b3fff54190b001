"""Whether the tracker computes on a device what it computes on the processor: asked before a device is chosen unasked.

Drivers, cards and builds of torch are many, and were not all tried. A small sheet is solved on both, which takes a
second or two; a device that fails in any way or finds another place than the processor is not used.
"""

from __future__ import annotations

import cv2
import numpy as np

from ..capture import Camera
from ..template import Template
from .settings import TrackSettings
from .solver import Solution
from .torch_solver import TorchSolver

Array = np.ndarray
CELLS = 12
SIZES = ((64, 48), (64, 48), (56, 60))  # width, height px: two cameras of one size and one of another
APART = 0.05  # pixels


def tracks_on(device: str) -> tuple[bool, str]:
    """Whether the tracker works on `device` (a name of torch's), and if not why, in a few words."""
    try:
        apart = apart_on(device)
    except Exception as error:  # a driver fails in any way
        return False, f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
    return apart < APART, "" if apart < APART else f"it finds vertices {apart:.2g} px from where the processor does"


def apart_on(device: str) -> float:
    """How far, in pixels, a vertex of the sheet lies at most from where the processor finds it."""
    template, cameras = make_sheet(), tuple(make_camera(k, *size) for k, size in enumerate(SIZES))
    plates = [[make_plate(k, size, shift) for k, size in enumerate(SIZES)] for shift in (0, 1)]
    there, here = (_solve(template, cameras, plates, name).vertices for name in (device, "cpu"))
    views = [np.linalg.norm(c.project(there)[0] - c.project(here)[0], axis=1).max() for c in cameras]
    return float(max(views))


def _solve(template: Template, cameras: tuple[Camera, ...], plates: list[list[Array]], device: str) -> Solution:
    solver = TorchSolver(template, cameras, TrackSettings(), device)
    reference, now = (solver.pyramid(frame) for frame in plates)
    solver.remember(template.vertices, reference)
    return solver.solve(now, *[template.vertices] * 3)


def make_sheet() -> Template:
    """A bent sheet of quads over [-1, 1] x [-1, 1]."""
    y, x = np.meshgrid(*[np.linspace(-1, 1, CELLS + 1)] * 2, indexing="ij")
    vertices = np.stack([x.ravel(), y.ravel(), 0.3 * (x**2 + x * y).ravel()], axis=1)
    first = (np.arange(CELLS)[:, None] * (CELLS + 1) + np.arange(CELLS)).ravel()
    quads = np.stack([first, first + 1, first + CELLS + 2, first + CELLS + 1], axis=1).astype(np.int32)
    return Template(vertices, quads.ravel(), np.arange(0, quads.size + 1, 4, dtype=np.int32))


def make_camera(k: int, width: int, height: int) -> Camera:
    """Four units before the sheet, on an arc."""
    yaw = 0.4 * (k - 1)
    matrix = np.eye(4)
    matrix[:3, :3] = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    matrix[2, 3] = 4.0
    return Camera(f"{k}", width, height, 70.0, 70.0, width / 2, height / 2 + 1, matrix)


def make_plate(k: int, size: tuple[int, int], shift: int) -> Array:
    """Soft spots, moved by `shift` pixels."""
    width, height = size
    spots = np.random.default_rng(k).normal(0, 1.2, (height, width, 3)).astype(np.float32)
    plate = np.clip(0.5 + cv2.GaussianBlur(np.roll(spots, shift, axis=(0, 1)), (0, 0), 2.0), 0, 1)
    return np.rint(255 * plate).astype(np.float32) / np.float32(255)
