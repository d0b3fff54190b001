"""The plates of one frame and what each camera sees of the mesh, side by side in flat arrays for the kernels.

A plate is cropped to where the mesh lies in it. Visibility is a z-buffer at the plate's own size, quantised to 16 bits
over the mesh's depth range (65,533 steps: 10 um on a head half a metre deep). Code 0 means "trust nothing here":
background, a masked pixel, or one within the margin of a jump in depth, where blur and small errors of the geometry or
calibration mix two surfaces. Memory: 5 bytes a plate pixel inside the crop.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numba as nb
import numpy as np

from ..capture import Camera
from ..raster import depth_buffer

Array = np.ndarray
MARGIN_PX = 1.5  # the least distance to a jump in depth; the reach of a plate's blur
MARGIN_EDGES = 0.25  # the same in edge lengths: how far the geometry may be off
JUMP_EDGES = 0.5  # a jump in depth, beside what a surface 75 degrees aslant (4 px a px) does within a pixel
TOLERANCE_EDGES = 0.1  # a point this far behind the z-buffer still is on the surface
LEVELS = 65533


@dataclass
class Views:
    """Every camera of one frame. `add` fills one at a time; the arrays may then be given to a kernel."""

    cameras: list[Camera]
    boxes: Array  # [K, 4] int64: left, top, width, height of the crop, px
    projections: Array  # [K, 3, 4] float64: world to homogeneous pixels of the crop
    centres: Array  # [K, 3] float64
    starts: Array  # [K] int64: where each crop begins, in pixels
    depth_range: Array  # [K, 2] float64: nearest depth and the depth of one step
    tolerance: float  # capture units
    pixels: Array = field(repr=False)  # [3 N] uint8: the crops one after the other
    codes: Array = field(repr=False)  # [N] uint16
    present: Array = field(repr=False)  # [K] bool: the plate was there and readable

    def crop(self, k: int) -> Array:
        """The cropped plate of camera `k`.  # [H, W, 3] uint8, a view."""
        _, _, width, height = self.boxes[k]
        start = self.starts[k]
        return self.pixels[3 * start : 3 * (start + width * height)].reshape(height, width, 3)

    def codes_of(self, k: int) -> Array:
        """The visibility codes of camera `k`.  # [H, W] uint16, a view."""
        _, _, width, height = self.boxes[k]
        return self.codes[self.starts[k] : self.starts[k] + width * height].reshape(height, width)


def edge_length(vertices: Array, edges: Array) -> float:
    """The median edge length of the mesh: the yardstick of every tolerance.  # capture units."""
    return float(np.median(np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)))


def frame_views(cameras: list[Camera], vertices: Array, edge: float) -> Views:
    """Room for the plates of `cameras` (pinhole), cropped to `vertices` [V, 3]; `edge` is the mesh's edge length."""
    count = len(cameras)
    boxes = np.zeros((count, 4), np.int64)
    projections, centres, depth_range = np.zeros((count, 3, 4)), np.zeros((count, 3)), np.ones((count, 2))
    for k, camera in enumerate(cameras):
        boxes[k] = _crop_box(camera, vertices)
        shift = np.array([[1.0, 0.0, -boxes[k, 0]], [0.0, 1.0, -boxes[k, 1]], [0.0, 0.0, 1.0]])
        projections[k] = shift @ camera.matrix @ camera.world_to_camera[:3]
        centres[k] = camera.centre
        depth = vertices @ camera.rotation[2] + camera.translation[2]
        near, far = max(float(depth.min()), 0.0), float(depth.max())
        depth_range[k] = near, max(far - near, 1e-9) / LEVELS
    sizes = boxes[:, 2] * boxes[:, 3]
    starts = np.concatenate([[0], np.cumsum(sizes)])
    return Views(
        cameras=list(cameras),
        boxes=boxes,
        projections=projections,
        centres=centres,
        starts=starts[:-1].astype(np.int64),
        depth_range=depth_range,
        tolerance=TOLERANCE_EDGES * edge,
        pixels=np.empty(3 * int(starts[-1]), np.uint8),
        codes=np.zeros(int(starts[-1]), np.uint16),
        present=np.zeros(count, bool),
    )


def add_plate(
    views: Views, k: int, plate: Array, mask: Array | None, vertices: Array, triangles: Array, edge: float
) -> None:
    """Take in the plate [H, W, 3] uint8 or uint16 of camera `k` and find what it sees of the mesh.

    `mask` [H, W], where given, is zero on pixels to be ignored.
    """
    left, top, width, height = views.boxes[k]
    if width == 0 or height == 0:
        return
    part = plate[top : top + height, left : left + width]
    views.crop(k)[:] = part if part.dtype == np.uint8 else (part >> 8).astype(np.uint8)
    pixels, depth = project_onto(views, k, vertices)
    if not np.median(depth) > 0:  # the mesh lies behind this camera
        return
    zbuf = depth_buffer(pixels, depth, triangles, int(width), int(height))
    distrusted = _near_jumps(zbuf, *jump_and_margin(views.cameras[k], depth, edge))
    if mask is not None:
        distrusted |= mask[top : top + height, left : left + width] == 0
    _encode(zbuf, distrusted, views.depth_range[k], views.codes_of(k))
    views.present[k] = True


def project_onto(views: Views, k: int, vertices: Array) -> tuple[Array, Array]:
    """Where `vertices` [V, 3] lie in the crop of camera `k`, px [V, 2], and their depths [V]."""
    homogeneous = vertices @ views.projections[k, :, :3].T + views.projections[k, :, 3]
    depth = homogeneous[:, 2]
    with np.errstate(divide="ignore", invalid="ignore"):
        return homogeneous[:, :2] / depth[:, None], depth


def jump_and_margin(camera: Camera, depth: Array, edge: float) -> tuple[float, float]:
    """From which step on depth jumps, capture units, and how far around nothing is trusted, px; at a mesh's `depth`."""
    per_px = float(np.median(np.maximum(depth, 0))) / ((camera.fx + camera.fy) / 2)  # what a pixel spans there
    return JUMP_EDGES * edge + 4 * per_px, max(MARGIN_PX, MARGIN_EDGES * edge / per_px)


def _crop_box(camera: Camera, vertices: Array) -> tuple[int, int, int, int]:
    pixels, depth = camera.project(vertices)
    pixels = pixels[depth > 0]
    if len(pixels) == 0:
        return 0, 0, 0, 0
    size = np.array([camera.width, camera.height])
    low = np.clip(np.floor(pixels.min(axis=0)) - 4, 0, size)
    high = np.clip(np.ceil(pixels.max(axis=0)) + 4, 0, size)
    width, height = (high - low).astype(int)
    return (int(low[0]), int(low[1]), int(width), int(height)) if width > 3 and height > 3 else (0, 0, 0, 0)


def _near_jumps(zbuf: Array, jump: float, margin: float) -> Array:
    """Pixels within `margin` px of a jump in depth.  # [H, W] bool."""
    edge = np.zeros(zbuf.shape, np.uint8)
    _jumps(zbuf, np.float32(jump), edge)
    reach = int(np.ceil(margin - 0.5))
    if reach > 0:
        edge = cv2.dilate(edge, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1)))
    return edge.view(bool)


@nb.njit(parallel=True, cache=True)
def _jumps(zbuf, jump, edge):
    """1 to `edge` at pixels beside which depth jumps; background, which is infinite, is level with background."""
    height, width = zbuf.shape
    for y in nb.prange(height):
        for x in range(width):
            z = zbuf[y, x]
            for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
                row, column = y + dy, x + dx
                if 0 <= row < height and 0 <= column < width and abs(zbuf[row, column] - z) > jump:
                    edge[y, x] = 1


@nb.njit(parallel=True, cache=True)
def _encode(zbuf, distrusted, depth_range, out):
    near, step = depth_range[0], depth_range[1]
    for y in nb.prange(zbuf.shape[0]):
        for x in range(zbuf.shape[1]):
            z = zbuf[y, x]
            if distrusted[y, x] or not np.isfinite(z):
                out[y, x] = 0
            else:
                out[y, x] = 1 + min(max(int((z - near) / step + 0.5), 0), LEVELS)
