"""What each camera can see of the mesh where it now stands: z-buffers and the distance to occluding edges."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np

from ..raster import depth_buffers
from .kernels import see_pairs
from .pyramid import LevelCameras

Array = np.ndarray
_THREADS = ThreadPoolExecutor(os.cpu_count())


@dataclass(frozen=True)
class DepthMaps:
    """Z-buffers of all cameras, in one flat buffer laid out like the level's plates."""

    cameras: LevelCameras
    depth: Array  # [pixels] float32, infinite where no surface is
    distance: Array  # [pixels] float32: pixels to the nearest occluding edge
    tolerance: float  # capture units


def render_depth(vertices: Array, triangles: Array, cameras: LevelCameras, edge: float) -> DepthMaps:
    """Z-buffers of the mesh; `edge` is its median edge length, the unit of every depth comparison."""
    points = np.einsum("kij,vj->kvi", cameras.rotations, vertices) + cameras.translations[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        pixels = points[..., :2] / points[..., 2:] * cameras.intrinsics[:, None, :2] + cameras.intrinsics[:, None, 2:]
    z = points[..., 2].astype(np.float32)
    depth = depth_buffers(pixels.astype(np.float32), z, triangles, cameras.sizes, cameras.offsets)
    distance = np.empty(cameras.pixels, np.float32)

    def measure(k: int) -> None:
        # The depth a surface seen at the steepest useful angle (about 75 degrees) spans over one pixel is no edge.
        pixel = np.median(z[k]) / cameras.intrinsics[k, 0]
        cameras.view(distance, k)[:] = _distance_to_edges(cameras.view(depth, k), max(2.0 * edge, 4.0 * pixel))

    list(_THREADS.map(measure, range(len(cameras.sizes))))
    return DepthMaps(cameras, depth, distance, 2.0 * edge)


def _distance_to_edges(depth: Array, jump: float) -> Array:
    """Pixels from each pixel to the nearest one where depth jumps by more than `jump` (or surface ends).  # [H, W]."""
    z = np.where(np.isfinite(depth), depth, np.float32(1e18))
    smooth = np.ones(z.shape, np.uint8)
    across = np.abs(z[:, 1:] - z[:, :-1]) > jump
    down = np.abs(z[1:] - z[:-1]) > jump
    smooth[:, 1:][across] = 0
    smooth[:, :-1][across] = 0
    smooth[1:][down] = 0
    smooth[:-1][down] = 0
    return cv2.distanceTransform(smooth, cv2.DIST_L2, cv2.DIST_MASK_3)


def pair_visibility(
    maps: DepthMaps, points: Array, normals: Array, pair_starts: Array, pair_camera: Array, reach: float, grazing: float
) -> Array:
    """How well each pair's camera sees its sample, 0..1; see `kernels.see_pairs`.  # [P] float32."""
    c = maps.cameras
    weight = np.empty(len(pair_camera), np.float32)
    see_pairs(
        points, normals, pair_starts, pair_camera, c.rotations, c.translations, c.centres, c.intrinsics, c.sizes,
        c.offsets, maps.depth, maps.distance, reach, maps.tolerance, grazing, weight,
    )  # fmt: skip
    return weight
