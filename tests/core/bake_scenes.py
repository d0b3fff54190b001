"""Flat boards filmed by synthetic cameras, every pixel by the exact intersection of its rays: truth for bakes.

Each board is a rectangle parallel to the plane z = 0 with its own island in UV and its own colour as a function of UV.
Depends on no rasteriser, so a bake that errs as the rasteriser errs is found out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from topo4d_blender.core.capture.camera import Camera
from topo4d_blender.core.capture.capture import Capture
from topo4d_blender.core.take import Take, TakeRequest
from topo4d_blender.core.template import Template

Array = np.ndarray
_SAMPLES = 4  # each pixel is the mean of 4 x 4 rays


@dataclass(frozen=True)
class Board:
    """A rectangle at depth `z` (nearer to the cameras where larger) and what is painted on it."""

    box: tuple[float, float, float, float]  # left, bottom, right, top in the world
    z: float
    island: tuple[float, float, float, float]  # the same in UV
    colour: Callable[[Array, Array], Array]  # u, v -> RGB in 0..255, the last axis

    def to_uv(self, x: Array, y: Array) -> tuple[Array, Array]:
        left, bottom, right, top = self.box
        l, b, r, t = self.island
        return l + (x - left) / (right - left) * (r - l), b + (y - bottom) / (top - bottom) * (t - b)


def smooth(u: Array, v: Array) -> Array:
    """Waves a camera of 100 px resolves well, a different one in each channel."""
    waves = np.stack([np.sin(14 * u + 3 * v), np.cos(11 * v - 4 * u), np.sin(9 * (u + v))], axis=-1)
    return 130 + np.array([50, 40, 30]) * waves


def plain(*rgb: float) -> Callable[[Array, Array], Array]:
    return lambda u, v: np.broadcast_to(np.array(rgb, float), (*np.shape(u), 3))


def template_of(boards: list[Board], cells: int = 12) -> Template:
    """Every board as cells x cells quads."""
    vertices, uvs, quads = [], [], []
    for board in boards:
        left, bottom, right, top = board.box
        x, y = np.meshgrid(np.linspace(left, right, cells + 1), np.linspace(bottom, top, cells + 1))
        a = len(vertices) * (cells + 1) ** 2 + (np.arange(cells)[:, None] * (cells + 1) + np.arange(cells)).ravel()
        quads.append(np.stack([a, a + 1, a + cells + 2, a + cells + 1], axis=1))
        vertices.append(np.stack([x, y, np.full_like(x, board.z)], axis=-1).reshape(-1, 3))
        uvs.append(np.stack(board.to_uv(x, y), axis=-1).reshape(-1, 2))
    loops = np.concatenate(quads).ravel().astype(np.int32)
    starts = np.arange(0, len(loops) + 1, 4, dtype=np.int32)
    return Template(np.concatenate(vertices), loops, starts, np.concatenate(uvs)[loops].astype(np.float32))


def rig(count: int = 5, size: int = 100, spread_deg: float = 30.0, distance: float = 4.0) -> list[Camera]:
    """Cameras on a horizontal arc that look at the origin; the unit square around it fills most of each plate."""
    cameras = []
    for i, yaw in enumerate(np.deg2rad(np.linspace(-spread_deg, spread_deg, count))):
        centre = distance * np.array([np.sin(yaw), 0.1 * (i % 2), np.cos(yaw)])
        forward = -centre / np.linalg.norm(centre)
        right = np.cross(forward, [0.0, 1.0, 0.0])
        right /= np.linalg.norm(right)
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward])
        matrix[:3, 3] = -matrix[:3, :3] @ centre
        cameras.append(
            Camera(
                f"c{i}", size, size, 0.8 * size * distance, 0.8 * size * distance, size / 2 + 1, size / 2 - 2, matrix
            )
        )
    return cameras


def film(camera: Camera, boards: list[Board], background: float = 20.0) -> Array:
    """The plate of `camera`.  # [H, W, 3] float64, 0..255."""
    n = _SAMPLES
    u, v = np.meshgrid((np.arange(camera.width * n) + 0.5) / n, (np.arange(camera.height * n) + 0.5) / n)
    rays = np.stack([(u - camera.cx) / camera.fx, (v - camera.cy) / camera.fy, np.ones_like(u)], axis=-1)
    rays = rays @ camera.rotation
    picture = np.full((*u.shape, 3), background)
    for board in sorted(boards, key=lambda b: b.z):
        reach = (board.z - camera.centre[2]) / rays[..., 2]
        x, y = (camera.centre[d] + reach * rays[..., d] for d in (0, 1))
        left, bottom, right, top = board.box
        hit = (x >= left) & (x <= right) & (y >= bottom) & (y <= top)
        picture[hit] = board.colour(*board.to_uv(x[hit], y[hit]))
    return picture.reshape(camera.height, n, camera.width, n, 3).mean(axis=(1, 3))


def make_take(
    folder: Path,
    boards: list[Board],
    cameras: list[Camera],
    frames: tuple[int, ...] = (1,),
    template: Template | None = None,
) -> tuple[Take, Capture]:
    """A solved take of `boards` that stand still, and the capture with its plates as .png."""
    template = template or template_of(boards)
    images: dict[int, dict[str, Path]] = {}
    for camera in cameras:
        plate = Image.fromarray(np.rint(film(camera, boards)).clip(0, 255).astype(np.uint8))
        for frame in frames:
            path = folder / "plates" / f"{frame:06d}" / f"{camera.name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            plate.save(path)
            images.setdefault(frame, {})[camera.name] = path
    take = Take.create(folder / "take", TakeRequest(str(folder / "capture.json"), frames, 1000.0), template)
    for frame in frames:
        take.write_geometry(frame, template.vertices, {})
    return take, Capture(folder / "capture.json", tuple(cameras), frames, 1000.0, images)


def truth(boards: list[Board], resolution: int, samples: int = 4) -> tuple[Array, Array]:
    """The map that a perfect bake gives [R, R, 3], each texel its own mean, and the board of each texel (-1: none)."""
    n = resolution * samples
    u, v = np.meshgrid((np.arange(n) + 0.5) / n, 1 - (np.arange(n) + 0.5) / n)
    picture, owner = np.zeros((n, n, 3)), np.full((n, n), -1)
    for i, board in enumerate(boards):
        left, bottom, right, top = board.island
        inside = (u >= left) & (u <= right) & (v >= bottom) & (v <= top)
        picture[inside], owner[inside] = board.colour(u[inside], v[inside]), i
    picture = picture.reshape(resolution, samples, resolution, samples, 3).mean(axis=(1, 3))
    blocks = (
        owner.reshape(resolution, samples, resolution, samples)
        .transpose(0, 2, 1, 3)
        .reshape(resolution, resolution, -1)
    )
    return picture, np.where((blocks == blocks[..., :1]).all(axis=2), blocks[..., 0], -1)
